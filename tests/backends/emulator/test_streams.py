"""Streams: reshaped, framed, cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.emulator.answers import Part
from backends.emulator.aws import BEDROCK, SAGEMAKER
from backends.emulator.faults import ENGINE, Effects, Fault, effects
from backends.emulator.streams import Pace, framed, raw, reshape

CHUNKS = (b"one", b"two", b"three")
HOW = ["two-events-in-one-part", "one-event-over-two-parts", "split-utf8"]


def faulty(service: str, name: str, **parameters: Any) -> Effects:
    return effects([Fault.model_validate({"name": name, **parameters})], [1], service, 7, "m")


def values(fault: Fault) -> dict[str, object]:
    return {"Message" if fault.name[0].isupper() else "message": "said"}


def payloads(parts: tuple[Part, ...]) -> list[bytes]:
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(part.data for part in parts))
    return [event.payload for event in buffer]


@settings(max_examples=100)
@given(st.lists(st.binary(min_size=1, max_size=20)), st.lists(st.sampled_from(HOW), max_size=3))
def test_reshaping_keeps_the_bytes(chunks: list[bytes], how: list[str]) -> None:
    """Whatever the pieces, concatenated they are the same."""
    assert b"".join(reshape(chunks, how)) == b"".join(chunks)


def test_reshaping() -> None:
    """Pairs, halves at whole characters, and one split character."""
    assert reshape(CHUNKS, [HOW[0]]) == (b"onetwo", b"three")
    halves = reshape(["naïve".encode()], [HOW[1]])
    assert [half.decode() for half in halves] == ["naï", "ve"]
    first, second = reshape([b"a", "naïve".encode()], [HOW[2]])[1:]
    assert (first, second) == (b"na\xc3", b"\xafve")
    assert reshape([b"ascii"], [HOW[2]]) == (b"ascii",)
    assert reshape([b"x"], [HOW[1]]) == (b"x",)


def test_frames_have_their_waits() -> None:
    """The first byte's wait, then one for each part."""
    parts, ending = framed(SAGEMAKER, CHUNKS, Effects(), Pace(2.0, 0.5), values)
    assert payloads(parts) == list(CHUNKS)
    assert ([part.wait for part in parts], ending) == ([2.0, 0.5, 0.5], "clean")


@pytest.mark.parametrize(("at", "kept"), [(None, 1), (0, 0), (2, 2), (9, 3)])
def test_an_exception_comes_after_the_parts_said(at: int | None, kept: int) -> None:
    """In-stream errors end the stream in an exception frame, by default after one part."""
    after = {} if at is None else {"after": {"part": at}}
    parts, ending = framed(SAGEMAKER, CHUNKS, faulty(SAGEMAKER, "ModelStreamError", **after), Pace(0, 0), values)
    found = payloads(parts)
    assert found[:-1] == list(CHUNKS[:kept])
    assert json.loads(found[-1]) == {"Message": "said"}
    assert ending == "clean"


def test_an_unmodelled_error_has_code_and_message() -> None:
    """Its frame has no payload."""
    fault = faulty(SAGEMAKER, "unmodelled-stream-error", error_code="Odd")
    parts, _ = framed(SAGEMAKER, CHUNKS, fault, Pace(0, 0), values)
    assert b"Odd" in parts[-1].data
    assert len(parts) == 2


@pytest.mark.parametrize(
    ("end", "count", "ending"),
    [("clean", 2, "clean"), ("half-frame", 3, "clean"), ("close", 2, "close"), ("reset", 2, "reset")],
)
def test_cuts(end: str, count: int, ending: str) -> None:
    """After N parts: nothing, half of the next frame, or a broken connection."""
    fault = faulty(SAGEMAKER, "cut-stream", after={"part": 2}, end=end)
    parts, how = framed(SAGEMAKER, CHUNKS, fault, Pace(0, 0), values)
    assert (len(parts), how) == (count, ending)
    whole, _ = framed(SAGEMAKER, CHUNKS, Effects(), Pace(0, 0), values)
    assert parts[:2] == whole[:2]
    if end == "half-frame":
        assert parts[2].data == whole[2].data[: len(whole[2].data) // 2]


def test_a_half_frame_after_the_end_is_half_of_the_last() -> None:
    """Cutting behind the last part still leaves a broken frame."""
    parts, _ = framed(
        SAGEMAKER, CHUNKS, faulty(SAGEMAKER, "cut-stream", after={"part": 9}, end="half-frame"), Pace(0, 0), values
    )
    assert len(parts) == 4


def test_a_stream_that_is_too_long_ends_in_the_services_own_error() -> None:
    """Eight minutes at SageMaker: ModelInvocationTimeExceeded, at the limit and not later."""
    parts, _ = framed(SAGEMAKER, CHUNKS, Effects(), Pace(100, 300, limit=480), values)
    assert [part.wait for part in parts] == [100, 300, 80]
    assert json.loads(payloads(parts)[-1])["ErrorCode"] == "ModelInvocationTimeExceeded"
    late, _ = framed(BEDROCK, CHUNKS, Effects(), Pace(10, 0, limit=5), values)
    assert b"modelTimeoutException" in late[0].data
    kept, _ = framed(SAGEMAKER, CHUNKS, Effects(), Pace(1, 1, limit=480), values)
    assert len(kept) == 3


def test_raw_streams_break_the_same_ways() -> None:
    """An engine's SSE can be cut, or carry an error object before [DONE]."""
    parts, ending = raw(CHUNKS, faulty(ENGINE, "cut-stream", end="close"), Pace(0, 0))
    assert ([part.data for part in parts], ending) == ([b"one"], "close")
    parts, ending = raw(CHUNKS, faulty(ENGINE, "sse-error", message="oops"), Pace(0, 0))
    assert [part.data for part in parts][1:] == [
        b'data: {"error":{"message":"oops","type":"InternalServerError","param":null,"code":500}}\n\n',
        b"data: [DONE]\n\n",
    ]
    assert [part.data for part in raw(CHUNKS, Effects(), Pace(0, 0))[0]] == list(CHUNKS)
