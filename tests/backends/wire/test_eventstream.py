"""The event-stream codec: against published bytes, against botocore's decoder, and under any cut and any damage."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.wire.eventstream import (
    HEADERS_LIMIT,
    PAYLOAD_LIMIT,
    VALUE_LIMIT,
    Decoder,
    EventStreamError,
    Frame,
    encode,
    exception_frame,
    payload_part,
    payload_parts,
)

# Both accepted by botocore 1.43.117 and 1.44.5.
HELLO = bytes.fromhex(
    "0000006e000000595197ff150b3a6576656e742d7479706507000b5061796c6f6164506172740d3a636f6e74656e742d747970650700186170706c"
    "69636174696f6e2f6f637465742d73747265616d0d3a6d6573736167652d747970650700056576656e7468656c6c6f29738ab4"
)
BROKEN = bytes.fromhex(
    "000000980000005e0887cf4b0f3a657863657074696f6e2d747970650700104d6f64656c53747265616d4572726f720d3a636f6e74656e742d7479"
    "70650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74797065070009657863657074696f6e7b224d657373616765223a22"
    "6d222c224572726f72436f6465223a2253747265616d42726f6b656e227d5d2db3a1"
)
PART_HEADERS = {
    ":event-type": "PayloadPart",
    ":content-type": "application/octet-stream",
    ":message-type": "event",
}

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
VALUES = st.text(st.characters(codec="utf-8"), max_size=30)
HEADERS = st.dictionaries(NAMES, VALUES, max_size=4)
FRAMES = st.lists(st.tuples(HEADERS, st.binary(max_size=40)), min_size=1, max_size=4)


def decode(data: bytes) -> list[Frame]:
    """All frames of a whole stream."""
    decoder = Decoder()
    frames = decoder.feed(data)
    decoder.finish()
    return frames


def frame(block: bytes, payload: bytes = b"") -> bytes:
    """A frame with right checksums around any header block, by the specification's layout."""
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    body = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return body + struct.pack(">I", crc32(body))


def lengths(total: int, headers: int) -> bytes:
    """The start of a frame that announces these lengths, with its right checksum."""
    prelude = struct.pack(">II", total, headers)
    return prelude + struct.pack(">I", crc32(prelude))


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """`data` in pieces, cut at `places`."""
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(marks)]


def test_published_payload_part() -> None:
    """A PayloadPart is written to the byte as botocore accepts it, by the fast path and by the general one."""
    assert payload_part(b"hello") == HELLO
    assert encode(tuple(PART_HEADERS.items()), b"hello") == HELLO


def test_published_exception() -> None:
    """A ModelStreamError frame is written to the byte as botocore accepts it."""
    assert exception_frame("ModelStreamError", "m", "StreamBroken") == BROKEN


def test_an_exception_without_error_code() -> None:
    """InternalStreamFailure has no ErrorCode, so its frame names none."""
    (actual,) = decode(exception_frame("InternalStreamFailure", 'a "quoted" é', None))
    assert actual.payload == b'{"Message":"a \\"quoted\\" \\u00e9"}'
    assert actual.headers[":exception-type"] == "InternalStreamFailure"


@settings(max_examples=60)
@given(FRAMES)
def test_botocore_reads_what_is_written(frames: list[tuple[dict[str, str], bytes]]) -> None:
    """botocore's decoder finds the headers and payloads that were encoded, in order."""
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(encode(tuple(headers.items()), payload) for headers, payload in frames))
    assert [(message.headers, message.payload) for message in buffer] == frames


@pytest.mark.parametrize("size", [0, 1, 255, 256, 1023, 1024, 70_000])
def test_frames_written_together_are_those_written_one_by_one(size: int) -> None:
    """A part has the same bytes alone and among others, whatever its length, and botocore reads them all."""
    payloads = [b"first", bytes(size), b""]
    data = payload_parts(payloads)
    assert data == b"".join(map(payload_part, payloads))
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    assert [(message.headers, message.payload) for message in buffer] == [(PART_HEADERS, each) for each in payloads]


@settings(max_examples=100)
@given(FRAMES, st.lists(st.integers(0, 10_000), max_size=8))
def test_any_cut_gives_the_same_frames(frames: list[tuple[dict[str, str], bytes]], places: list[int]) -> None:
    """However the bytes are cut, the frames are those that were written."""
    data = b"".join(encode(tuple(headers.items()), payload) for headers, payload in frames)
    decoder = Decoder()
    actual = [each for piece in cut(data, places) for each in decoder.feed(piece)]
    decoder.finish()
    assert [(dict(each.headers), each.payload) for each in actual] == frames


def test_byte_by_byte_a_frame_is_out_with_its_last_byte() -> None:
    """A frame is delivered when its last byte is fed, neither before nor later."""
    decoder = Decoder()
    delivered = [at for at, byte in enumerate(HELLO + BROKEN) if decoder.feed(bytes((byte,)))]
    assert delivered == [len(HELLO) - 1, len(HELLO + BROKEN) - 1]


@settings(max_examples=100)
@given(st.integers(0, len(HELLO + BROKEN) - 1), st.integers(1, 255), st.lists(st.integers(0, 10_000), max_size=3))
def test_a_changed_byte_is_an_error(place: int, change: int, places: list[int]) -> None:
    """With any one byte changed, the frames before it come out and then there is an error, however it is cut."""
    data = bytearray(HELLO + BROKEN)
    data[place] ^= change
    decoder = Decoder()
    frames: list[Frame] = []

    def read() -> None:
        for piece in cut(bytes(data), places):
            frames.extend(decoder.feed(piece))
        decoder.finish()

    with pytest.raises(EventStreamError):
        read()
    assert [each.payload for each in frames] == ([b"hello"] if place >= len(HELLO) else [])


@pytest.mark.parametrize("place", range(len(HELLO)))
def test_a_changed_byte_in_a_frame_like_the_one_before_is_an_error(place: int) -> None:
    """What is known of a frame that was right says nothing of the next one's bytes."""
    data = bytearray(HELLO * 2)
    data[len(HELLO) + place] ^= 1
    decoder = Decoder()
    assert [each.payload for each in decoder.feed(bytes(data))] == [b"hello"]
    with pytest.raises(EventStreamError):
        decoder.finish()


def test_frames_that_all_begin_differently_are_read() -> None:
    """More kinds of frames than are remembered, some with heads too long to be, come out like any others."""
    headers = [{"number": str(number), "long": "x" * (number % 7 * 500)} for number in range(600)]
    data = b"".join(encode(tuple(each.items()), b"payload") for each in headers)
    assert [dict(each.headers) for each in decode(data * 2)] == headers * 2


@pytest.mark.parametrize("size", range(1, len(HELLO)))
def test_half_a_frame_at_the_end_is_an_error(size: int) -> None:
    """A stream that ends inside a frame is told from one that ends between frames, wherever it is cut off."""
    decoder = Decoder()
    assert len(decoder.feed(HELLO + HELLO[:size])) == 1
    with pytest.raises(EventStreamError, match=f"{size} bytes are left"):
        decoder.finish()


def test_an_empty_stream_is_a_stream() -> None:
    """No frame at all is a proper stream."""
    assert decode(b"") == []


def test_an_empty_payload_is_a_frame() -> None:
    """A PayloadPart without bytes is legal."""
    assert decode(payload_part(b"")) == [Frame(PART_HEADERS, b"")]


def test_damage_behind_a_frame_is_told_by_the_next_call() -> None:
    """Frames before the damage are delivered; the next call raises, and so does every one after it."""
    decoder = Decoder()
    decoder.check()
    assert len(decoder.feed(HELLO + b"data: not a frame\n\n")) == 1
    with pytest.raises(EventStreamError, match="not an event stream"):
        decoder.check()
    for _ in range(2):
        with pytest.raises(EventStreamError, match="not an event stream"):
            decoder.feed(b"")
    with pytest.raises(EventStreamError, match="not an event stream"):
        decoder.finish()


def test_a_wrong_checksum_at_the_end_is_named() -> None:
    """A payload changed under an unchanged checksum is refused."""
    with pytest.raises(EventStreamError, match="checksum of a frame is wrong"):
        decode(HELLO[:-5] + b"X" + HELLO[-4:])


@pytest.mark.parametrize(
    ("total", "headers", "text"),
    [
        (15, 0, "can't hold"),
        (0, 0, "can't hold"),
        (20, 5, "can't hold"),
        (16 + HEADERS_LIMIT + 1, HEADERS_LIMIT + 1, "of headers"),
        (16 + PAYLOAD_LIMIT + 1, 0, "of payload"),
        (2**32 - 1, 0, "of payload"),
    ],
)
def test_lengths_beyond_the_limits_are_refused_at_once(total: int, headers: int, text: str) -> None:
    """A frame that announces impossible lengths is refused before its bytes are collected."""
    with pytest.raises(EventStreamError, match=text):
        Decoder().feed(lengths(total, headers))


@pytest.mark.parametrize(("total", "headers"), [(16 + HEADERS_LIMIT, HEADERS_LIMIT), (16 + PAYLOAD_LIMIT, 0), (16, 0)])
def test_lengths_at_the_limits_are_accepted(total: int, headers: int) -> None:
    """The limits themselves are allowed."""
    assert Decoder().feed(lengths(total, headers)) == []


def test_every_value_type_is_read_as_text() -> None:
    """All ten value types come out in their documented text, and botocore reads the same values."""
    values = {
        "yes": b"\x00",
        "no": b"\x01",
        "byte": b"\x02\xff",
        "short": b"\x03\x80\x00",
        "int": b"\x04\x00\x00\x00\x2a",
        "long": b"\x05\xff\xff\xff\xff\xff\xff\xff\xfe",
        "bytes": b"\x06\x00\x03\x00\xff\x10",
        "text": "\x07\x00\x03é!".encode(),
        "time": b"\x08\x00\x00\x01\x8b\xcf\xe5\x68\x00",
        "uuid": b"\x09" + bytes(range(16)),
    }
    data = frame(b"".join(bytes((len(name),)) + name.encode() + raw for name, raw in values.items()))
    expected = {
        "yes": "true",
        "no": "false",
        "byte": "-1",
        "short": "-32768",
        "int": "42",
        "long": "-2",
        "bytes": "AP8Q",
        "text": "é!",
        "time": "1700000000000",
        "uuid": "00010203-0405-0607-0809-0a0b0c0d0e0f",
    }
    assert decode(data) == [Frame(expected, b"")]
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    theirs = next(buffer).headers
    assert (theirs["byte"], theirs["short"], theirs["int"], theirs["long"], theirs["time"]) == (
        -1,
        -32768,
        42,
        -2,
        1700000000000,
    )


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (b"\x05ab", "longer than its frame"),
        (b"\x01a", "longer than its frame"),
        (b"\x01a\x07\x00", "longer than its frame"),
        (b"\x01a\x07\x00\x05abc", "longer than its frame"),
        (b"\x01a\x04\x00\x00", "longer than its frame"),
        (b"\x01a\x09" + bytes(15), "longer than its frame"),
        (b"\x01a\x0a", "unknown value type 10"),
        (b"\x00\x00", "without a name"),
        (b"\x01a\x00\x01a\x00", "given twice"),
        (b"\x01\xff\x00", "not UTF-8"),
        (b"\x01a\x07\x00\x01\xff", "not UTF-8"),
    ],
)
def test_bad_headers_are_refused(block: bytes, text: str) -> None:
    """A header block that breaks the layout is an error that says what is wrong, although its checksums are right."""
    with pytest.raises(EventStreamError, match=text):
        Decoder().feed(frame(block))


def test_many_kinds_of_headers_stay_right() -> None:
    """A stream with more different header blocks than a decoder remembers still gets each frame's own headers."""
    data = b"".join(encode((("n", str(number % 20)),), b"") for number in range(40))
    assert [each.headers["n"] for each in decode(data)] == [str(number % 20) for number in range(40)]


def test_headers_are_read_only() -> None:
    """Frames that share remembered headers can't change one another's."""
    (actual,) = decode(HELLO)
    with pytest.raises(TypeError):
        actual.headers["x"] = "y"  # type: ignore[index] # that is the point


@pytest.mark.parametrize(
    ("headers", "payload_size", "text"),
    [
        ((("", "v"),), 0, "header name has 0 bytes"),
        ((("n" * 256, "v"),), 0, "header name has 256 bytes"),
        ((("n", "v" * (VALUE_LIMIT + 1)),), 0, "the value of header 'n'"),
        ((("n", "1"), ("n", "2")), 0, "given twice"),
        (tuple((str(number), "v" * VALUE_LIMIT) for number in range(5)), 0, "the headers have"),
        ((), PAYLOAD_LIMIT + 1, "the payload has"),
    ],
)
def test_what_no_reader_would_accept_is_not_written(
    headers: tuple[tuple[str, str], ...], payload_size: int, text: str
) -> None:
    """A frame beyond a limit is an error here, not at the client."""
    with pytest.raises(EventStreamError, match=text):
        encode(headers, bytes(payload_size))


def test_a_long_frame_in_small_pieces_takes_linear_time() -> None:
    """A frame fed in 40,000 pieces is put together once, not once for every piece."""
    payload = bytes(range(256)) * 4_000
    data = payload_part(payload)
    decoder = Decoder()
    frames = [each for at in range(0, len(data), 26) for each in decoder.feed(data[at : at + 26])]
    assert [each.payload for each in frames] == [payload]
