"""A stream whose first piece is at hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from backends.errors import BackendError
from backends.streams import PrimedStream, end
from policies.facts import FailureFacts, Fault
from policies.table import Target, VllmSpec

BROKEN = BackendError(FailureFacts(Fault.NETWORK, None), Target("t", "vllm", VllmSpec(("http://h",), "m")), "broke")


class Upstream:
    """Pieces, and what became of them."""

    def __init__(self, *pieces: bytes | BackendError) -> None:
        self.pieces = pieces
        self.ended = False
        self.closed = 0

    async def rest(self) -> AsyncIterator[bytes]:
        try:
            for piece in self.pieces:
                if isinstance(piece, BackendError):
                    raise piece
                yield piece
        finally:
            self.ended = True

    async def close(self) -> None:
        self.closed += 1

    def stream(self, first: bytes) -> PrimedStream:
        return PrimedStream(first, self.rest(), self.close)


async def pieces_of(stream: PrimedStream) -> Sequence[bytes]:
    """Everything that a stream yields."""
    return [piece async for piece in stream]


async def test_first_then_rest_without_empty_pieces() -> None:
    """The first piece comes first, empty pieces are left out, and after the end there is nothing."""
    stream = Upstream(b"", b"two", b"", b"three", b"").stream(b"one")
    assert await pieces_of(stream) == [b"one", b"two", b"three"]
    assert await pieces_of(stream) == []


async def test_an_empty_body_yields_nothing() -> None:
    """A body without any piece is an empty stream."""
    assert await pieces_of(Upstream().stream(b"")) == []


async def test_a_failure_is_raised_once() -> None:
    """What breaks the upstream is raised where it broke; after it there is nothing."""
    stream = Upstream(BROKEN, b"never").stream(b"one")
    assert await anext(stream) == b"one"
    with pytest.raises(BackendError) as raised:
        await anext(stream)
    assert raised.value is BROKEN
    assert await pieces_of(stream) == []


async def test_closing_twice_closes_once() -> None:
    """The connection is freed by the first `aclose`, and nothing is yielded after it, the first piece included."""
    upstream = Upstream(b"two")
    stream = upstream.stream(b"one")
    await stream.aclose()
    await stream.aclose()
    assert upstream.closed == 1
    assert await pieces_of(stream) == []


async def test_a_stream_read_to_its_end_is_closed_too() -> None:
    """Reading to the end does not close by itself: the holder's `aclose` does."""
    upstream = Upstream(b"two")
    stream = upstream.stream(b"one")
    await pieces_of(stream)
    assert upstream.closed == 0
    await stream.aclose()
    assert upstream.closed == 1


async def test_an_iteration_is_ended() -> None:
    """Ending a generator runs its clean-up at once; an iterator of another kind is left alone."""
    upstream = Upstream(b"one", b"two")
    rest = upstream.rest()
    await anext(rest)
    await end(rest)
    assert upstream.ended
    stream = Upstream(b"two").stream(b"one")
    await end(stream)
    assert await anext(stream) == b"one"
