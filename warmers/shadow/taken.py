"""A sampled request on its way: what the client is answered is listened to while it passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Protocol

from backends.base import ByteStream, Call, Reply
from backends.errors import BackendError
from backends.wire.comparison import Heard
from policies.table import Route

from .copies import Listening, heard_of
from .plans import Shadowing


class Keeper(Protocol):
    """Where sampled requests are put away, within limits."""

    def grew(self, size: int) -> bool:
        """So many bytes more are kept. False: that is more than there is room for; they are to be let go."""
        ...

    def offered(self, taken: Taken) -> None:
        """A sampled request is over for its client; what it holds is the keeper's now."""
        ...


class Taken:
    """One sampled request. It holds references to its body and to the pieces of its answer, and copies neither."""

    __slots__ = ("_keeper", "_now", "began", "call", "heard", "held", "plan", "route", "spoiled")

    def __init__(
        self,
        plan: Shadowing,
        route: Route,
        call: Call,
        began: float,
        now: Callable[[], float],
        keeper: Keeper,
    ) -> None:
        """`began` is when it was sent to the old target."""
        self.plan = plan
        self.route = route
        self.call = call
        self.began = began
        self._now = now
        self._keeper = keeper
        self.heard: Heard | None = None
        """What the client was answered, once all of it has passed."""
        self.spoiled: str | None = None
        """Why it is not compared, in one word."""
        self.held = 0
        """Bytes that are kept for it, as the keeper was told."""
        self.keep(len(call.body))

    def watch(self, reply: Reply) -> Reply:
        """The reply to pass on instead of `reply`, which is the same but for being listened to."""
        if reply.new_session_id is not None or reply.closed_session_id is not None:
            self.spoiled = "session"
            return reply
        listening = Listening(reply, self.began, self._now)
        if reply.stream is None:
            self.over(listening if self.keep(listening.size) else None)
            return reply
        return replace(reply, stream=_Watched(reply.stream, listening, self))

    def failed(self, error: BackendError) -> None:
        """The client is told a failure."""
        self.heard = heard_of(error)
        self.spoiled = None if self.heard is not None else "failure"

    def done(self) -> None:
        """Its answer was handed over, or given up. To be called once, whatever became of it."""
        self._keeper.offered(self)

    def keep(self, size: int) -> bool:
        """Count bytes that are kept; False, and it is not going to be compared, where there is no room for them."""
        self.held += size
        return self._keeper.grew(size)

    def over(self, listening: Listening | None) -> None:
        """The answer has ended as it should; None: it was let go on its way."""
        self.heard = None if listening is None else listening.heard()
        self.spoiled = None if self.heard is not None else "load" if listening is None else "size"


class _Watched:
    """`ByteStream`: passes on what comes, and remembers it as long as it may."""

    __slots__ = ("_inner", "_listening", "_pieces", "_taken")

    def __init__(self, inner: ByteStream, listening: Listening, taken: Taken) -> None:
        self._inner = inner
        self._pieces = aiter(inner)
        self._listening: Listening | None = listening
        self._taken = taken

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        listening = self._listening
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            if listening is not None:
                self._listening = None
                self._taken.over(listening)
            raise
        except BackendError:
            self._listening = None
            self._taken.spoiled = "failure"
            raise
        if listening is not None:
            whole = listening.piece(piece)
            if not whole or not self._taken.keep(len(piece)):
                listening.forget()
                self._listening, self._taken.spoiled = None, "load" if whole else "size"
        return piece

    async def aclose(self) -> None:
        await self._inner.aclose()
