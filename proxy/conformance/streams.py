"""Checks of the streaming URL: the head, the frames, what one part holds, and how a stream ends."""

from __future__ import annotations

import json

from backends.wire.eventstream import EventStreamError, Frame

from .checks import Check, Skipped, Unverifiable, Violation, expect, expect_answer, happy_stream
from .frames import decoded, frames
from .probe import Probe

MODEL = "botocore 1.44.5, sagemaker-runtime model"
CLIENTS = "measured with several widely used clients, which parse each part by itself"


async def _answers(probe: Probe) -> None:
    exchange = await probe.once("stream", stream=True, body=probe.subject.sample.to_stream)
    expect_answer(exchange)


async def _head(probe: Probe) -> None:
    exchange = await happy_stream(probe)
    found = (exchange.header("content-type") or "nothing").split(";")[0]
    wanted = "application/vnd.amazon.eventstream"
    expect(found == wanted, f"Content-Type is {found} instead of {wanted}")
    for name in ("x-amzn-sagemaker-content-type", "x-amzn-invoked-production-variant", "x-amzn-requestid"):
        expect(exchange.header(name), f"{name} is missing")


async def _frames(probe: Probe) -> None:
    exchange = await happy_stream(probe)
    try:
        found = decoded(exchange)
    except EventStreamError as error:
        raise Violation(str(error)) from error
    expect(found, "there is not one frame")


async def _frame_headers(probe: Probe) -> None:
    for number, frame in enumerate(frames(await happy_stream(probe)), start=1):
        kind = frame.headers.get(":message-type")
        expect(kind in ("event", "exception", "error"), f"frame {number} has the :message-type {kind}")
        named = {"event": ":event-type", "exception": ":exception-type", "error": ":error-code"}[str(kind)]
        expect(frame.headers.get(named), f"frame {number}, an {kind}, has no {named}")
        if frame.headers.get(":event-type") in ("ModelStreamError", "InternalStreamFailure"):
            message = f"frame {number} tells of a failure as an event, which SDKs read as nothing"
            raise Violation(message)


async def _event_per_part(probe: Probe) -> None:
    parts, sse = await _events(probe)
    for number, part in enumerate(parts, start=1):
        try:
            part.decode()
        except UnicodeDecodeError as error:
            message = f"part {number} cuts a character"
            raise Violation(message) from error
        end, what = (b"\n\n", "SSE event") if sse else (b"\n", "JSON line")
        plain = part.replace(b"\r\n", b"\n")
        expect(plain.endswith(end) and plain.count(end) == 1, f"part {number} is not exactly one {what}")


async def _newline(probe: Probe) -> None:
    parts, _ = await _events(probe)
    expect(b"".join(parts).endswith(b"\n"), "the last line has no newline")


async def _complete(probe: Probe) -> None:
    dialect = probe.subject.sample.dialect
    if dialect not in ("openai-chat", "openai-completions", "tgi", "lmi"):
        message = "it is not known how a stream of this body ends (--dialect)"
        raise Skipped(message)
    found = frames(await happy_stream(probe))
    if found and found[-1].headers.get(":message-type") != "event":
        message = "this stream broke, and said so in an exception"
        raise Unverifiable(message)
    body = b"".join(_payloads(found)).rstrip()
    if dialect.startswith("openai"):
        whole = body.endswith((b"data: [DONE]", b"data:[DONE]"))
    else:
        last = body.replace(b"\r\n", b"\n").rpartition(b"\n")[2].removeprefix(b"data:")
        whole = _has_text(last)
    expect(whole, "the stream ends cleanly although the model's last event is missing; a failure must be an exception")


def _has_text(line: bytes) -> bool:
    try:
        document = json.loads(line)
    except ValueError:
        return False
    return isinstance(document, dict) and isinstance(document.get("generated_text"), str)


async def _ends(probe: Probe) -> None:
    expect((await happy_stream(probe)).whole, "the connection ended before the body did")


def _payloads(found: list[Frame]) -> list[bytes]:
    return [frame.payload for frame in found if frame.headers.get(":event-type") == "PayloadPart" and frame.payload]


async def _events(probe: Probe) -> tuple[list[bytes], bool]:
    """The parts of a stream of events, and whether they are SSE (else JSON lines)."""
    exchange = await happy_stream(probe)
    kind = (exchange.header("x-amzn-sagemaker-content-type") or "").split(";")[0].strip().lower()
    sse = kind == "text/event-stream"
    if not sse and kind not in ("application/jsonlines", "application/x-ndjson", "application/jsonl"):
        message = f"the model streams {kind or 'something without a type'}, neither SSE nor JSON lines"
        raise Skipped(message)
    return _payloads(frames(exchange)), sse


STREAMS = (
    Check("stream-answers", "POST /endpoints/NAME/invocations-response-stream answers 200.", MODEL, _answers),
    Check(
        "stream-head",
        "Content-Type is application/vnd.amazon.eventstream, and X-Amzn-SageMaker-Content-Type the model's own.",
        MODEL,
        _head,
    ),
    Check(
        "stream-frames",
        "The body is event-stream frames with right checksums, and ends between two of them.",
        "Smithy specification, Amazon Event Stream; botocore raises ChecksumMismatch, and misses half a frame",
        _frames,
    ),
    Check(
        "stream-frame-headers",
        "A frame says what it is; a failure is an exception, never an event.",
        "Smithy specification, Amazon Event Stream; boto3 1.44.5, measured",
        _frame_headers,
    ),
    Check("stream-ends", "The connection carries the body to its end.", "RFC 9112, section 8", _ends),
    Check(
        "stream-complete",
        "A stream that ends cleanly is the whole answer; one that broke ends in an exception.",
        f"{MODEL}: ModelStreamError, InternalStreamFailure",
        _complete,
    ),
    Check(
        "stream-event-per-part",
        "One SSE event or JSON line is one PayloadPart, of whole characters.",
        CLIENTS,
        _event_per_part,
        advice=True,
    ),
    Check(
        "stream-newline",
        "A stream of lines ends with a newline.",
        "measured: line iterators of the SageMaker SDK and LangChain never end otherwise",
        _newline,
        advice=True,
    ),
)
"""In the order of the report."""
