"""A sampled request on its way: what the client is answered is listened to while it passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from backends.base import ByteStream, Call, Reply
from backends.errors import BackendError
from backends.wire.comparison import Heard
from policies.table import Route

from .copies import Listening, heard_of
from .plans import Shadowing


class Taken:
    """One sampled request. It holds references to its body and to the pieces of its answer, and copies neither."""

    __slots__ = ("_now", "_offer", "began", "call", "heard", "held", "plan", "route", "spoiled")

    def __init__(
        self,
        plan: Shadowing,
        route: Route,
        call: Call,
        began: float,
        now: Callable[[], float],
        offer: Callable[[Taken], None],
    ) -> None:
        """`began` is when it was sent to the old target; `offer` takes it when it is done."""
        self.plan = plan
        self.route = route
        self.call = call
        self.began = began
        self._now = now
        self._offer = offer
        self.heard: Heard | None = None
        """What the client was answered, once all of it has passed."""
        self.spoiled: str | None = None
        """Why it is not compared, in one word."""
        self.held = len(call.body)
        """Bytes that are kept for it."""

    def watch(self, reply: Reply) -> Reply:
        """The reply to pass on instead of `reply`, which is the same but for being listened to."""
        if reply.new_session_id is not None or reply.closed_session_id is not None:
            self.spoiled = "session"
            return reply
        listening = Listening(reply, self.began, self._now)
        if reply.stream is None:
            self.heard = listening.heard()
            self.held += listening.size
            self.spoiled = None if self.heard is not None else "size"
            return reply
        return replace(reply, stream=_Watched(reply.stream, listening, self))

    def failed(self, error: BackendError) -> None:
        """The client is told a failure."""
        self.heard = heard_of(error)
        self.spoiled = None if self.heard is not None else "failure"

    def done(self) -> None:
        """Its answer was handed over, or given up. To be called once, whatever became of it."""
        self._offer(self)

    def over(self, listening: Listening) -> None:
        """The stream has ended as it should."""
        self.heard = listening.heard()
        self.spoiled = None if self.heard is not None else "size"


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
            if listening.piece(piece):
                self._taken.held += len(piece)
            else:
                self._listening, self._taken.spoiled = None, "size"
        return piece

    async def aclose(self) -> None:
        await self._inner.aclose()
