"""Faults of streams: of connections, at each stage, of event-stream frames, and of server-sent events."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from zlib import crc32

from backends.emulator.aws import SAGEMAKER
from backends.emulator.frames import data_frame, error_frame, exception_frame, frame

from .broken_answers import AWAY, LATE, LOST, endless, saying
from .faults import CHUNKS, DONE, EVENTS, FRAMES, BrokenOff, CutUp, Fault, Streamed
from .upstream import Script, silence

FRAMED = b"Content-Type: application/vnd.amazon.eventstream\r\n"
HEADS = {
    "endpoint": FRAMED + b"X-Amzn-SageMaker-Content-Type: text/event-stream\r\n",
    "bedrock": FRAMED,
    "vllm": b"Content-Type: text/event-stream; charset=utf-8\r\n",
}
HEAD = b"HTTP/1.1 200 OK\r\n" + HEADS["endpoint"] + b"Transfer-Encoding: chunked\r\n\r\n"
SSE = HEAD.replace(HEADS["endpoint"], HEADS["vllm"])
BEDROCK = HEAD.replace(HEADS["endpoint"], HEADS["bedrock"])
END = b"0\r\n\r\n"
TWO = BrokenOff((EVENTS[0], EVENTS[1]))
LATE_AFTER_TWO = BrokenOff((EVENTS[0], EVENTS[1]), "ModelInvocationTimeExceeded")
PLATFORM = BrokenOff((EVENTS[0], EVENTS[1]), None, "InternalStreamFailure")
ALL = b"".join([*EVENTS, DONE])


def chunks(pieces: Sequence[bytes]) -> bytes:
    """Each piece as a chunk of HTTP."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def after_two(piece: bytes, end: bytes = END) -> Script:
    """Two parts, then `piece`, then `end`."""
    return saying(HEAD + chunks([*FRAMES[:2], piece]) + end)


def prelude(total: int) -> bytes:
    """The beginning of a frame that says it is `total` bytes long, with the right checksum."""
    lengths = struct.pack(">II", total, 0)
    return lengths + struct.pack(">I", crc32(lengths))


fault = functools.partial(Fault, stream=True, body=b'{"messages": [], "stream": true}')


CONNECTIONS = (
    fault("stream: refused connection", AWAY, silence, asked=0, place="refuses"),
    fault("stream: never answered", LATE, saying(), brief=True),
    fault("stream: silence before the first frame", LATE, saying(HEAD), target={"first_byte": "300ms"}),
    fault("stream: reset before the first frame", LOST, saying(HEAD, end="reset")),
    fault("stream: ends before the first frame", LOST, saying(HEAD + END), kept=1),
    fault("stream: reset after two frames", TWO, saying(HEAD + chunks(FRAMES[:2]), end="reset")),
    fault("stream: closed after two frames", TWO, saying(HEAD + chunks(FRAMES[:2]), end="close")),
    fault("stream: reset inside a frame", TWO, saying(HEAD + chunks([*FRAMES[:2], FRAMES[2][:40]]), end="reset")),
    fault(
        "stream: ends without its end mark", BrokenOff(tuple(EVENTS)), saying(HEAD + chunks(FRAMES[:3]) + END), kept=1
    ),
    fault(
        "stream: silence after two frames",
        LATE_AFTER_TWO,
        saying(HEAD + chunks(FRAMES[:2])),
        target={"between_chunks": "300ms"},
    ),
    fault(
        "stream: goes on past its deadline",
        LATE_AFTER_TWO,
        saying(HEAD + chunks(FRAMES[:2]), *[chunks([bytes([b])]) for b in FRAMES[2][:9]], pause=0.2),
        brief=True,
    ),
    fault(
        "stream: trickles byte by byte",
        Streamed(),
        saying(HEAD, *[chunks([bytes([b])]) for b in b"".join(FRAMES)], END),
        kept=1,
    ),
    fault("stream: all in one piece", Streamed(), saying(HEAD + chunks([b"".join(FRAMES)]) + END), kept=1),
)

FRAMING = (
    fault("frame: wrong checksum", TWO, after_two(data_frame(SAGEMAKER, EVENTS[2], "message")), kept=1),
    fault("frame: wrong checksum of its prelude", TWO, after_two(data_frame(SAGEMAKER, EVENTS[2], "prelude")), kept=1),
    fault("frame: cut, and a proper end", TWO, after_two(FRAMES[2][:-3]), kept=1),
    fault("frame: says that it has 4 GB", TWO, after_two(prelude(0xFFFFFFFF), end=b"")),
    fault("frame: says that it is too short", TWO, after_two(prelude(3), end=b"")),
    fault("frame: random bytes", TWO, after_two(bytes(range(256)) * 4), kept=1),
    fault(
        "frame: of a type that nobody knows",
        TWO,
        after_two(frame({":event-type": "What", ":message-type": "event"}, b"x")),
        kept=1,
    ),
    fault(
        "frame: an exception of the model",
        TWO,
        after_two(
            exception_frame(SAGEMAKER, "ModelStreamError", {"Message": "out of memory", "ErrorCode": "StreamBroken"})
        ),
        kept=1,
    ),
    fault(
        "frame: a failure of the platform",
        PLATFORM,
        after_two(exception_frame(SAGEMAKER, "InternalStreamFailure", {"Message": "bad day"})),
        kept=1,
    ),
    fault("frame: an error without a model of it", PLATFORM, after_two(error_frame("Oops", "bad day")), kept=1),
    fault(
        "frame: first one broken",
        LOST,
        saying(HEAD + chunks([data_frame(SAGEMAKER, EVENTS[0], "message")]) + END),
        kept=1,
    ),
    fault(
        "stream: answered with a page",
        LOST,
        saying(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"),
    ),
    fault("chunks of Bedrock: broken off", TWO, saying(BEDROCK + chunks(CHUNKS[:2]), end="reset"), kind="bedrock"),
)

EVENT_STREAMS = (
    fault("events: broken off", TWO, saying(SSE + chunks(EVENTS[:2]), end="reset"), kind="vllm"),
    fault(
        "events: half an event, and a proper end",
        TWO,
        saying(SSE + chunks([*EVENTS[:2], EVENTS[2][:9]]) + END),
        kind="vllm",
        kept=1,
    ),
    fault(
        "events: without their end mark",
        BrokenOff(tuple(EVENTS)),
        saying(SSE + chunks(EVENTS) + END),
        kind="vllm",
        kept=1,
    ),
    fault(
        "events: cut anywhere",
        Streamed(),
        saying(SSE, *[chunks([ALL[i : i + 7]]) for i in range(0, len(ALL), 7)], END),
        kind="vllm",
        kept=1,
    ),
    fault(
        "events: bytes that are no text",
        Streamed((b"data: \xff\xfe\n\n", DONE)),
        saying(SSE + chunks([b"data: \xff\xfe\n\n", DONE]) + END),
        kind="vllm",
        kept=1,
    ),
    fault("events: a line without end", CutUp(), endless(SSE, chunks([b"x" * 65536])), kind="vllm", brief=True),
    fault("events: silence", LATE, saying(SSE), kind="vllm", target={"first_byte": "300ms"}),
)

STREAMS = (*CONNECTIONS, *FRAMING, *EVENT_STREAMS)
