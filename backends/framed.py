"""The body of an answer in event-stream frames, taken out of them as it arrives.

Strategy: one object with one coroutine a piece. Frames that arrive together are read together, and what they hold waits
until it is asked for; a failure waits behind the pieces that came before it. Promises: no piece is empty; a damaged,
broken or unfinished stream ends in a BackendError and never in a clean end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable

from policies.facts import FailureFacts
from policies.table import Target

from .errors import BackendError, Said
from .http.transport import Incoming, TransportError
from .tail import Tail
from .wire.eventstream import Decoder, EventStreamError, Frame
from .wire.sagemaker import STREAM_BROKEN
from .wire.verdicts import GARBLED

Piece = bytes | tuple[FailureFacts, Said]
"""What a frame came to: bytes for the client (b"": none), or the failure it told of."""

_BROKEN = Said(502, "The stream of the model's answer broke.", "ModelStreamError", error_code=STREAM_BROKEN)


class FramedPieces:
    """`ByteStream`: the pieces that the frames of an answer hold. Closing it frees the answer's connection."""

    __slots__ = (
        "_closed",
        "_decoder",
        "_failure",
        "_finish",
        "_incoming",
        "_joins",
        "_over",
        "_read",
        "_tail",
        "_target",
        "_waiting",
    )

    def __init__(
        self,
        incoming: Incoming,
        target: Target,
        read: Callable[[Frame], Piece],
        finish: Callable[[], Piece],
        *,
        joins: bool = False,
        tail: Tail | None = None,
    ) -> None:
        """`finish` gives what belongs behind the last frame.

        `joins`: frames that arrive together are one piece, since the body's own form says where its parts end. `tail`:
        the stream is broken where its frames end without the mark that `tail` looks for.
        """
        self._incoming = incoming
        self._target = target
        self._read = read
        self._finish = finish
        self._joins = joins
        self._tail = tail
        self._decoder = Decoder()
        self._waiting: deque[bytes] = deque()
        self._failure: BackendError | None = None
        self._over = False
        self._closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        waiting = self._waiting
        while not waiting:
            if self._failure is not None:
                failure, self._failure, self._over = self._failure, None, True
                raise failure
            if self._over:
                raise StopAsyncIteration
            try:
                chunk = await self._incoming.piece()
            except TransportError as error:
                self._over = True
                raise BackendError(error.facts, self._target, error.cause) from error
            try:
                if chunk:
                    self._feed(chunk)
                else:
                    self._end()
            except EventStreamError as error:
                self._failure = BackendError(GARBLED, self._target, str(error), _BROKEN)
        return waiting.popleft()

    def put_back(self, piece: bytes) -> None:
        """See `Pieces`."""
        if piece:
            self._waiting.appendleft(piece)

    async def aclose(self) -> None:
        self._over = True
        self._failure = None
        self._waiting.clear()
        if not self._closed:
            self._closed = True
            await self._incoming.aclose()

    def _feed(self, chunk: bytes) -> None:
        """Have what its frames hold wait, up to the first that tells of a failure."""
        found: list[bytes] = []
        for frame in self._decoder.feed(chunk):
            piece = self._read(frame)
            if not isinstance(piece, bytes):
                self._failure = self._told(*piece)
                break
            if piece:
                found.append(piece)
        if self._joins and len(found) > 1:
            found = [b"".join(found)]
        if self._tail is not None:
            for each in found:
                self._tail.feed(each)
        self._waiting.extend(found)
        if self._failure is None:
            self._decoder.check()  # what is broken is told now: the next chunk may never come

    def _end(self) -> None:
        self._over = True
        self._decoder.finish()
        if self._tail is not None:
            self._tail.finish(self._target)
        piece = self._finish()
        if not isinstance(piece, bytes):
            raise self._told(*piece)
        if piece:
            self._waiting.append(piece)

    def _told(self, facts: FailureFacts, said: Said) -> BackendError:
        return BackendError(
            facts, self._target, f"the stream ended with {said.type or 'a piece of another form'}", said
        )
