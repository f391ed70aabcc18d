"""Bodies in event-stream frames: what of them reaches a client, and how each way to break is told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import BackendError, Said
from backends.framed import FramedPieces
from backends.http.transport import TransportError
from backends.tail import Tail
from backends.wire.eventstream import Frame, payload_part
from backends.wire.sagemaker import read_event
from policies.facts import FailureFacts, Fault
from policies.table import EndpointSpec, Target

from .upstream import Body

TARGET = Target("t", "endpoint", EndpointSpec("e"), region="eu-central-1")


def nothing_more() -> bytes:
    return b""


@settings(max_examples=50)
@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.integers(1, 30))
async def test_pieces_do_not_depend_on_chunks(parts: list[bytes], size: int) -> None:
    """However TCP cuts the frames, the same pieces come out."""
    data = b"".join(map(payload_part, parts))
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert [piece async for piece in FramedPieces(Body(*chunks), TARGET, read_event, nothing_more)] == parts


async def test_empty_pieces_are_left_out_and_the_end_may_add_one() -> None:
    """Keep-alive frames are nothing to a client; what finishes a body is its last piece."""
    data = payload_part(b"") + payload_part(b"a") + payload_part(b"")
    found = [piece async for piece in FramedPieces(Body(data), TARGET, read_event, lambda: b"end")]
    assert found == [b"a", b"end"]


@pytest.mark.parametrize(
    ("chunks", "cause"),
    [
        ((payload_part(b"a"), payload_part(b"b")[:-1]), "inside a frame"),
        ((payload_part(b"a"), payload_part(b"b")[:-1] + b"\x00"), "checksum"),
        ((payload_part(b"a"), b"data: plain text, no frames at all\n\n"), "checksum"),
        ((payload_part(b"a") + b"x" * 20, b"y"), "checksum"),
    ],
)
async def test_damage_is_never_a_clean_end(chunks: tuple[bytes, ...], cause: str) -> None:
    """What came before the damage is delivered, then the stream is broken."""
    stream = FramedPieces(Body(*chunks), TARGET, read_event, lambda: b"end")
    assert await anext(stream) == b"a"
    with pytest.raises(BackendError, match=cause) as caught:
        await anext(stream)
    assert caught.value.facts == FailureFacts(Fault.NETWORK, None)
    assert caught.value.said is not None
    assert (caught.value.said.type, caught.value.said.error_code) == ("ModelStreamError", "StreamBroken")


@pytest.mark.parametrize("joins", [False, True])
async def test_damage_behind_a_frame_does_not_wait_for_more(joins: bool) -> None:
    """An upstream that sends a broken frame and then falls silent is not waited for."""
    silent = TransportError("silent for too long", sent=True, timed_out=True)
    sent = Body(payload_part(b"a") + payload_part(b"b") + b"x" * 20, silent)
    stream = FramedPieces(sent, TARGET, read_event, lambda: b"end", joins=joins)
    for piece in [b"ab"] if joins else [b"a", b"b"]:
        assert await anext(stream) == piece
    with pytest.raises(BackendError, match="checksum"):
        await anext(stream)


@pytest.mark.parametrize("marked", [True, False])
async def test_a_stream_without_its_mark_is_broken(marked: bool) -> None:
    """A server that is stopped may close its connection properly, in the middle of an answer."""
    chunks = [payload_part(b"data: {}\n\n"), *([payload_part(b"data: [DONE]\n\n")] if marked else [])]
    stream = FramedPieces(Body(*chunks), TARGET, read_event, nothing_more, tail=Tail(marked=True))
    assert await anext(stream) == b"data: {}\n\n"
    if marked:
        assert [piece async for piece in stream] == [b"data: [DONE]\n\n"]
        return
    with pytest.raises(BackendError, match="without"):
        await anext(stream)


async def test_after_a_failure_or_a_close_nothing_more_comes() -> None:
    """Whoever asks again finds the end, not the failure once more."""
    broken = FramedPieces(Body(TransportError("cut", sent=True)), TARGET, read_event, nothing_more)
    with pytest.raises(BackendError, match="cut"):
        await anext(broken)
    closed = FramedPieces(Body(payload_part(b"a")), TARGET, read_event, nothing_more)
    await closed.aclose()
    assert [piece async for piece in broken] == [piece async for piece in closed] == []


async def test_a_lost_connection_keeps_its_facts() -> None:
    """A deadline in the middle of a stream stays a deadline."""
    broken = Body(payload_part(b"a"), TransportError("late", sent=True, timed_out=True))
    with pytest.raises(BackendError) as caught:
        _ = [piece async for piece in FramedPieces(broken, TARGET, read_event, nothing_more)]
    assert caught.value.facts.timed_out


@pytest.mark.parametrize("said", [Said(500, "m", "InternalStreamFailure"), Said(502, "m")])
async def test_what_a_frame_tells_ends_the_stream(said: Said) -> None:
    """The reader's verdict becomes the failure, at the end of the stream too."""
    facts = FailureFacts(Fault.PLATFORM, None)

    def read(_: Frame) -> tuple[FailureFacts, Said]:
        return facts, said

    for stream in (
        FramedPieces(Body(payload_part(b"a")), TARGET, read, nothing_more),
        FramedPieces(Body(payload_part(b"a")), TARGET, read_event, lambda: (facts, said)),
    ):
        with pytest.raises(BackendError, match="the stream ended with") as caught:
            _ = [piece async for piece in stream]
        assert (caught.value.facts, caught.value.said) == (facts, said)


async def test_closing_frees_the_connection_once() -> None:
    """However often it is closed, and whether or not it was read to its end."""
    body = Body(payload_part(b"a"))
    stream = FramedPieces(body, TARGET, read_event, nothing_more)
    assert [piece async for piece in stream] == [b"a"]
    await stream.aclose()
    await stream.aclose()
    assert body.closed == 1


async def test_a_piece_that_was_put_back_comes_next() -> None:
    """It is given once more, ahead of what came with it; an empty one is none."""
    stream = FramedPieces(Body(payload_part(b"a") + payload_part(b"b")), TARGET, read_event, nothing_more)
    stream.put_back(await anext(stream))
    stream.put_back(b"")
    assert [piece async for piece in stream] == [b"a", b"b"]
