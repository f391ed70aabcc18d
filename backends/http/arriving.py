"""An answer of an upstream as it arrives: what has come, who waits for it, and when the wait has been too long.

Strategy: pieces collect until their reader takes them, all at once. What is ahead of the reader is bounded by
`READ_AHEAD`: past it the connection is not read. Silence of the other side counts only while the connection is read, so
a reader that is behind is not taken for an upstream that says nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from policies.facts import FailureFacts, Fault

from ..base import Headers

if TYPE_CHECKING:
    from .connection import Connection

READ_AHEAD = 64 * 1024
"""Bytes of one answer that may wait for their reader before the socket is no longer read."""


class TransportError(Exception):
    """No whole answer came. `sent` is False when the request surely did not reach the other side."""

    def __init__(self, cause: str, *, sent: bool, timed_out: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.sent = sent
        self.timed_out = timed_out

    @property
    def facts(self) -> FailureFacts:
        """A request that never left is safe to repeat; one that did may have run."""
        return FailureFacts(Fault.NETWORK, retry_safe=None if self.sent else True, timed_out=self.timed_out)


class Answer:
    """The answer to one request, arriving. `headers` and `status` are set once `head` is done.

    What most answers never differ in stands on the class: it is not set for each.
    """

    status = 0
    complete = False
    """The last piece has arrived."""
    until_close = False
    """The answer ends where the connection does."""
    _waiting_bytes = 0
    _waiter: asyncio.Future[None] | None = None
    _error: TransportError | None = None
    _fields: Sequence[tuple[bytes, bytes]] = ()
    first: Mapping[bytes, bytes] = MappingProxyType({})
    """The first value of each field of the head, by its name in lower case."""

    def __init__(
        self, connection: Connection, pieces: list[bytes], deadline: float, first_byte: float, between: float
    ) -> None:
        """`pieces` is where the connection puts what arrives of the body."""
        loop = connection.loop
        self._connection = connection
        self.pieces = pieces
        self._deadline = deadline
        self._between = between
        self.due = first_byte if first_byte == math.inf else loop.time() + first_byte
        """When the next piece is late, on the loop's clock."""
        self.head: asyncio.Future[None] = loop.create_future()

    @property
    def headers(self) -> Headers:
        """All fields in their order; decoded when they are asked for, as most answers are read by a few of them."""
        return tuple((name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in self._fields)

    def header(self, name: str) -> str | None:
        """The first value of a header field; `name` in lower case."""
        value = self.first.get(name.encode("latin-1"))
        return None if value is None else value.decode("utf-8", "surrogateescape")

    def at_hand(self, limit: int) -> bytes | None:
        """The whole body where it has arrived already and is no longer than `limit`: the connection is then free.

        None otherwise, and nothing is taken. Most answers come in one piece with their head, and this spares them the
        three coroutines of `read` and `aclose`.
        """
        if not self.complete or self._error is not None:
            return None
        pieces, connection = self.pieces, self._connection
        if len(pieces) == 1:
            whole = pieces[0]
        elif sum(map(len, pieces)) <= limit:
            whole = b"".join(pieces)
        else:
            return None
        if len(whole) > limit:
            return None
        pieces.clear()
        if connection.paused:
            connection.resume()
        connection.release(self)
        return whole

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises TransportError when it breaks, is late, or is longer than `limit` bytes."""
        pieces: list[bytes] = []
        size = 0
        while size <= limit and (piece := await self.piece()):
            size += len(piece)
            pieces.append(piece)
        if size > limit:
            cause = f"the answer is longer than {limit} bytes"
            raise TransportError(cause, sent=True)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, in non-empty pieces. Raises TransportError when it breaks or is late."""
        while piece := await self.piece():
            yield piece

    async def piece(self) -> bytes:
        """All of the body that has arrived since, at least a byte; empty at its end. Raises as `chunks` does."""
        while not self.pieces:
            if self.complete:
                return b""
            if self._error is not None:
                raise self._error
            self._waiter = self._connection.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._taken()

    def _taken(self) -> bytes:
        """All that has arrived, at once: one turn through the layers above for many small chunks."""
        pieces = self.pieces
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._waiting_bytes = 0
        if self._connection.paused:
            self._connection.resume()
        return piece

    async def aclose(self) -> None:
        """Free the connection; one whose answer was not read to its end is closed, not reused."""
        self._connection.release(self)

    def free(self) -> None:
        """`aclose`, at once."""
        self._connection.release(self)

    def began(self, status: int, fields: Sequence[tuple[bytes, bytes]], first: Mapping[bytes, bytes]) -> None:
        """The head is here; `first` has the first value of each field by its name in lower case."""
        self.status = status
        self._fields = fields
        self.first = first
        if not self.head.done():
            self.head.set_result(None)

    def arrived(self, size: int) -> bool:
        """Pieces of the body are here, in so many bytes; True when the reader is too far behind for more."""
        self._waiting_bytes += size
        if self._between != math.inf or self.due != math.inf:
            before, self.due = self.due, self._connection.loop.time() + self._between
            if self.due < before:  # the wait for a first piece was the longer one
                self._connection.watch(min(self._deadline, self.due))
        self.wake()
        return self._waiting_bytes > READ_AHEAD

    def ended(self) -> None:
        """The last piece has arrived."""
        self.complete = True
        self.wake()

    def failed(self, error: TransportError) -> None:
        """No more will arrive; what has is still read first."""
        if self.complete or self._error is not None:
            self.wake()  # what ended it may have come with what spoils the connection
            return
        self._error = error
        if not self.head.done():
            self.head.set_exception(error)
        self.wake()

    def heard_again(self) -> None:
        """The socket is read again after a time in which it was not: what the other side was then is not known."""
        if self.due != math.inf:
            self.due = self._connection.loop.time() + self._between

    def looked_at(self, now: float) -> float | None:
        """When to look again; None once it has failed: the deadline passed, or nothing came for too long."""
        where = "while the answer was arriving" if self.head.done() else "before the answer began"
        if now >= self._deadline:
            cause = f"the deadline passed {where}"
        elif self.pieces:
            self.due = now + self._between  # the reader is behind, so nothing is known of the other side
            return min(self._deadline, self.due)
        elif now < self.due:
            return min(self._deadline, self.due)
        else:
            cause = f"the other side was silent for too long {where}"
        self.failed(TransportError(cause, sent=True, timed_out=True))
        return None

    def wake(self) -> None:
        """Tell who waits for a piece that there is one, or the end."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
