"""One copy of a request, asked of one target and heard to its end or to a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backends.base import Backend, Call, Reply
from backends.errors import BackendError
from backends.wire.comparison import Cadence, Heard
from backends.wire.comparison.heard import LONGEST_CADENCE
from policies.facts import Fault
from policies.table import Target

LONGEST = 2 * 1024**2
"""Bytes of an answer that are heard; of a longer one nothing is compared. A streamed token has some 250 bytes."""


@dataclass(frozen=True, slots=True)
class Copy:
    """What became of it."""

    target: Target
    seconds: float
    """Until its last byte, or its failure."""
    first: float
    """Until it was answered, or the first piece of a streamed answer had come."""
    heard: Heard | None = None
    """None: it is not to be compared, since it was too long or its failure says nothing about the model."""
    failure: BackendError | None = None

    @property
    def cold(self) -> bool:
        return self.failure is not None and self.failure.facts.cold


class Listening:
    """An answer as it comes in, within a limit of bytes."""

    __slots__ = ("_began", "_gaps", "_last", "_now", "_pieces", "first", "reply", "size")

    def __init__(self, reply: Reply, began: float, now: Callable[[], float]) -> None:
        self.reply = reply
        self._began = began
        self._now = now
        self._pieces: list[bytes] = []
        self._gaps: list[float] = []
        self._last = now()
        self.first: float | None = None
        """Seconds to the first piece of a stream."""
        self.size = len(reply.body)

    def piece(self, piece: bytes) -> bool:
        """One more piece of the stream. False: the limit is passed, and no piece is kept."""
        now = self._now()
        if self.first is None:
            self.first = now - self._began
        elif len(self._gaps) < LONGEST_CADENCE:
            self._gaps.append(now - self._last)
        self._last = now
        self.size += len(piece)
        if self.size > LONGEST:
            self.forget()
            return False
        self._pieces.append(piece)
        return True

    def forget(self) -> None:
        """Let go of what was kept."""
        self._pieces.clear()

    def heard(self) -> Heard | None:
        """The whole of it; None when it was too long."""
        reply = self.reply
        if self.size > LONGEST:
            return None
        streamed = reply.stream is not None
        return Heard(
            content_type=reply.content_type,
            attributes=reply.custom_attributes is not None,
            body=b"".join(self._pieces) if streamed else reply.body,
            cadence=Cadence(self.first or 0.0, tuple(self._gaps)) if streamed else None,
        )


def heard_of(error: BackendError) -> Heard | None:
    """What a failure says about the model; None when it says something about its hosting, or of the moment."""
    facts, said = error.facts, error.said
    if facts.fault not in (Fault.MODEL, Fault.CALLER) or facts.throttled or facts.timed_out or facts.cold or facts.shed:
        return None
    status = said.status if said is not None and said.status else 500
    return Heard(status=status, error=(said.type if said is not None else None) or facts.fault.value)


async def copied(
    backend: Backend, target: Target, call: Call, deadline: float, replica: int, now: Callable[[], float]
) -> Copy:
    """Ask the target and listen. Never raises BackendError: a failure is an outcome as well."""
    began = now()
    listening: Listening | None = None
    reply: Reply | None = None
    try:
        reply = await backend.invoke(target, call, deadline, replica)
        listening = Listening(reply, began, now)
        if reply.stream is not None:
            async for piece in reply.stream:
                if not listening.piece(piece):
                    break
        end = now() - began
        return Copy(target, end, end if listening.first is None else listening.first, listening.heard())
    except BackendError as error:
        end = now() - began
        if listening is None:
            return Copy(target, end, end, heard_of(error), error)
        heard = Heard(content_type=listening.reply.content_type, broken=True)
        return Copy(target, end, listening.first or end, heard, error)
    finally:
        if reply is not None and reply.stream is not None:
            await reply.stream.aclose()
