"""Checks of answers on the blocking URL, and of the two cells where URL and body disagree."""

from __future__ import annotations

from .checks import Check, Skipped, expect, expect_answer, happy, json_object
from .frames import frames
from .probe import Probe

GUIDE = "SageMaker developer guide"
MODEL = "botocore 1.44.5, sagemaker-runtime model"


async def _answers(probe: Probe) -> None:
    exchange = await probe.once("unary")
    expect_answer(exchange)
    expect(exchange.body, "the body is empty")


async def _request_id(probe: Probe) -> None:
    first, second = await happy(probe), await probe.ask()
    ids = [exchange.header("x-amzn-requestid") for exchange in (first, second)]
    expect(all(ids), "x-amzn-RequestId is missing")
    expect(ids[0] != ids[1], "two answers have the same x-amzn-RequestId")


async def _variant(probe: Probe) -> None:
    expect((await happy(probe)).header("x-amzn-invoked-production-variant"), "the header is missing or empty")


async def _content_type(probe: Probe) -> None:
    exchange = await happy(probe)
    expect(exchange.header("content-type"), "Content-Type is missing")
    named = (exchange.header("content-type") or "").split(";")[0]
    expect(named != "application/vnd.amazon.eventstream", "a blocking answer came in event-stream frames")


_SHAPES = {"openai-chat": "choices", "openai-completions": "choices", "lmi": "generated_text"}


async def _dialect(probe: Probe) -> None:
    key = _SHAPES.get(probe.subject.sample.dialect or "")
    if key is None:
        message = "no dialect with a JSON object as its answer was named (--dialect)"
        raise Skipped(message)
    expect(key in json_object(await happy(probe)), f"the answer is no JSON object with {key}")


async def _stream_body_on_unary(probe: Probe) -> None:
    if probe.subject.sample.streaming is None:
        message = "it is not known how this body asks for a stream (--dialect)"
        raise Skipped(message)
    await happy(probe)
    exchange = await probe.ask(body=probe.subject.sample.streaming)
    expect_answer(exchange)
    expect(not exchange.body.startswith(b"\x00\x00"), "the answer came in event-stream frames")
    if probe.subject.sample.dialect in ("openai-chat", "openai-completions", "tgi"):
        expect(b"data:" in exchange.body, "the body's `stream: true` did not reach the model: no SSE came")


async def _plain_body_on_stream(probe: Probe) -> None:
    await happy(probe)
    exchange = await probe.ask(stream=True)
    expect_answer(exchange)
    parts = [frame.payload for frame in frames(exchange) if frame.headers.get(":event-type") == "PayloadPart"]
    expect(b"".join(parts), "no PayloadPart came")
    if probe.subject.sample.streaming is not None:
        expect(not b"".join(parts).startswith(b"data:"), "the URL made the model stream, which only the body may")


ANSWERS = (
    Check(
        "unary-answers",
        "POST /endpoints/NAME/invocations answers 200 with the model's body, framed as it says.",
        MODEL,
        _answers,
    ),
    Check(
        "unary-request-id", "Every answer has an x-amzn-RequestId of its own.", "boto3 1.44.5, measured", _request_id
    ),
    Check("unary-variant", "An answer names the variant: x-Amzn-Invoked-Production-Variant.", MODEL, _variant),
    Check(
        "unary-content-type",
        "Content-Type is the model's own; a blocking answer is never an event stream.",
        MODEL,
        _content_type,
    ),
    Check("unary-dialect", "The answer is what the body's dialect promises.", "OpenAI's API; DJL's LMI", _dialect),
    Check(
        "cell-stream-body-unary-url",
        "A body that asks for a stream on the blocking URL gets the model's stream, without frames.",
        f"{GUIDE}: the body makes the model stream, the URL only frames",
        _stream_body_on_unary,
    ),
    Check(
        "cell-plain-body-stream-url",
        "A body that asks for no stream on the streaming URL gets the plain answer in PayloadParts.",
        f"{GUIDE}: the body makes the model stream, the URL only frames",
        _plain_body_on_stream,
    ),
)
"""In the order of the report."""
