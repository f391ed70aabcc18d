"""Checks of errors: their shape, the texts that clients match, what is validated, and what is not offered."""

from __future__ import annotations

import re
from functools import partial

from backends.wire.sagemaker import FIELDS, Field, Kind

from .checks import (
    Check,
    Skipped,
    Unverifiable,
    error_text,
    error_type,
    expect,
    expect_refusal,
    json_object,
    shown,
)
from .probe import COMPONENT, Probe
from .wire import Exchange

MODEL = "botocore 1.44.5, sagemaker-runtime model"
WIRE = "boto3 1.44.5, measured"
ISSUES = "answers of AWS quoted in its issue trackers"
NOWHERE = "pointsman-conformance-nowhere"
"""An endpoint that there is not."""
MARK = "conformance-mark"
MIB = 1024 * 1024


async def _refused(probe: Probe) -> Exchange:
    """The answer for an endpoint that there is not. Raises Unverifiable where the caller may not ask for it."""
    if "refusal" not in probe.shared:
        probe.shared["refusal"] = await probe.ask(path=probe.subject.path(endpoint=NOWHERE), component=False)
        exchange = probe.shared["refusal"]
    else:
        exchange = probe.note(probe.shared["refusal"])
    if exchange.status in (401, 403):
        message = f"the caller is not allowed to ask for other endpoints ({shown(exchange)})"
        raise Unverifiable(message)
    if exchange.status == 200:
        message = "an endpoint that there is not has answered; see unknown-endpoint"
        raise Skipped(message)
    return exchange


async def _unknown_endpoint(probe: Probe) -> None:
    exchange = await probe.ask(path=probe.subject.path(endpoint=NOWHERE), component=False)
    probe.shared.setdefault("refusal", exchange)
    expect_refusal(exchange)
    text = rf"Endpoint {NOWHERE} of account \d{{12}} not found\."
    expect(re.fullmatch(text, error_text(exchange)), "the text is not `Endpoint NAME of account ACCOUNT not found.`")


async def _type_header(probe: Probe) -> None:
    exchange = await _refused(probe)
    expect(exchange.header("x-amzn-errortype"), "x-amzn-ErrorType is missing: SDKs then know no type, or guess one")


async def _message(probe: Probe) -> None:
    document = json_object(await _refused(probe))
    expect(document, "the body is no JSON object")
    expect(isinstance(document.get("Message"), str), "the text does not stand under `Message`, with a capital M")


async def _error_head(probe: Probe) -> None:
    exchange = await _refused(probe)
    expect(exchange.header("x-amzn-requestid"), "x-amzn-RequestId is missing")
    named = (exchange.header("content-type") or "nothing").split(";")[0]
    expect(named in ("application/json", "application/x-amz-json-1.1"), f"Content-Type is {named}")


async def _stream_refusal(probe: Probe) -> None:
    path = probe.subject.path(stream=True, endpoint=NOWHERE)
    expect_refusal(await probe.ask(path=path, stream=True, component=False))


async def _component_required(probe: Probe) -> None:
    if probe.subject.component is None:
        message = "the endpoint has no components (--component)"
        raise Skipped(message)
    for stream in (False, True):
        exchange = await probe.ask(stream=stream, component=False)
        expect_refusal(exchange)
        said = "Inference Component Name header is required for endpoints to which you plan to deploy"
        expect(error_text(exchange).startswith(said), f"the text does not begin with `{said}`")


async def _component_not_allowed(probe: Probe) -> None:
    if probe.subject.component is not None:
        message = "the endpoint has components (--component)"
        raise Skipped(message)
    exchange = await probe.ask(headers=((COMPONENT, "conformance"),))
    expect_refusal(exchange)
    said = "Inference Component Name header is not allowed for endpoints to which you dont plan to deploy"
    expect(error_text(exchange).startswith(said), f"the text does not begin with `{said}`")


async def _component_unknown(probe: Probe) -> None:
    if probe.subject.component is None:
        message = "the endpoint has no components (--component)"
        raise Skipped(message)
    expect_refusal(await probe.ask(headers=((COMPONENT, "conformance-nowhere"),), component=False))


async def _endpoint_names(probe: Probe) -> None:
    for name in ("-conformance-", "a" * 64, "a%20b"):
        expect_refusal(await probe.ask(path=probe.subject.path(endpoint=name), component=False))


async def _limit(probe: Probe, field: Field) -> None:
    for kind, name in field.wire.items():
        header = (name, "a" * (field.longest + 1))
        own = field.attribute == "component"
        exchange = await probe.ask(stream=kind is Kind.STREAM, headers=(header,), component=not own)
        expect_refusal(exchange)


async def _pattern(probe: Probe, field: Field) -> None:
    for kind, name in field.wire.items():
        own = field.attribute == "component"
        exchange = await probe.ask(stream=kind is Kind.STREAM, headers=((name, "-conformance-"),), component=not own)
        expect_refusal(exchange)


async def _new_session_on_stream(probe: Probe) -> None:
    expect_refusal(await probe.ask(stream=True, headers=(("X-Amzn-SageMaker-Session-Id", "NEW_SESSION"),)))


async def _silent(probe: Probe) -> None:
    header = ("X-Amzn-SageMaker-Custom-Attributes", MARK + "a" * 1024)
    exchange = await probe.ask(headers=(header,))
    expect_refusal(exchange)
    expect(MARK.encode() not in exchange.body, "the refusal repeats what the API calls sensitive")


async def _model_error(probe: Probe, stream: bool) -> None:
    if not probe.subject.sample.content_type.endswith("json"):
        message = "it is not known which body this model refuses"
        raise Skipped(message)
    exchange = await probe.ask(stream=stream, body=probe.subject.sample.broken)
    if exchange.status == 200:
        message = "the model takes any body, so it was not made to refuse one"
        raise Unverifiable(message)
    expect_refusal(exchange, 424, "ModelError")
    document = json_object(exchange)
    status = document.get("OriginalStatusCode")
    expect(isinstance(status, int) and not isinstance(status, bool), "OriginalStatusCode is no number")
    expect(isinstance(document.get("OriginalMessage"), str), "OriginalMessage is missing")
    expect(str(document.get("LogStreamArn", "")).startswith("arn:"), "LogStreamArn is no ARN")
    said = re.match(r"Received (client|server) error \((\d{1,3})\) from ", error_text(exchange))
    expect(said, "the text does not begin with `Received client error (STATUS) from `")
    expect(said and said[2] == str(status), "the text names another status than OriginalStatusCode")


async def _async(probe: Probe) -> None:
    exchange = await probe.ask(path=probe.subject.path().replace("/invocations", "/async-invocations"), bare=True)
    _typed(exchange, accepted=(202,))


async def _bidirectional(probe: Probe) -> None:
    path = probe.subject.path(stream=True).replace("-response-stream", "-bidirectional-stream")
    _typed(await probe.ask(path=path, bare=True))


async def _unknown_operation(probe: Probe) -> None:
    _typed(await probe.ask(path=probe.subject.path().replace("/invocations", "/conformance")))


async def _wrong_method(probe: Probe) -> None:
    _typed(await probe.ask(method="GET", body=b"", bare=True))


def _typed(exchange: Exchange, accepted: tuple[int, ...] = ()) -> None:
    if exchange.status in accepted:
        return
    expect(400 <= exchange.status < 500, f"an error of the caller is due, and {shown(exchange)} came")
    expect(error_type(exchange), f"{exchange.status} came without a type")


async def _sized(probe: Probe, size: int, refused: bool) -> None:
    if not probe.subject.heavy:
        message = f"{size // MIB} MiB would be sent; say --heavy"
        raise Skipped(message)
    exchange = await probe.ask(body=b" " * size)
    if refused:
        expect(exchange.status == 413, f"413 is due, and {shown(exchange)} came")
    else:
        expect(exchange.status != 413, "413 came")


def _checked(field: Field) -> str:
    name = field.wire.get(Kind.INVOKE) or field.wire[Kind.STREAM]
    return name.lower().removeprefix("x-amzn-sagemaker-")


_NAMED = {"target_variant", "target_container_hostname", "component", "session_id"}

REFUSALS = (
    Check(
        "unknown-endpoint",
        "An endpoint that there is not: 400 ValidationError, `Endpoint NAME of account ACCOUNT not found.`",
        ISSUES,
        _unknown_endpoint,
    ),
    Check("error-type", "An error names its type in x-amzn-ErrorType.", WIRE, _type_header),
    Check("error-message", "An error's text stands under `Message` in a JSON object.", MODEL, _message),
    Check("error-head", "An error is JSON and has an x-amzn-RequestId.", WIRE, _error_head),
    Check(
        "error-before-stream", "An error before the first byte of a stream is an HTTP error.", MODEL, _stream_refusal
    ),
    Check(
        "component-required",
        "An endpoint with components refuses a request that names none, in AWS's words.",
        ISSUES,
        _component_required,
    ),
    Check(
        "component-not-allowed",
        "An endpoint without components refuses a request that names one, in AWS's words.",
        ISSUES,
        _component_not_allowed,
    ),
    Check(
        "component-unknown",
        "A component that there is not is a ValidationError; its text is not known.",
        MODEL,
        _component_unknown,
    ),
    Check("endpoint-name", "A name that no endpoint can have is a ValidationError.", MODEL, _endpoint_names),
    *(
        Check(
            f"limit-{_checked(field)}",
            f"{field.member} has at most {field.longest} characters; more is a ValidationError.",
            MODEL,
            partial(_limit, field=field),
        )
        for field in FIELDS
    ),
    *(
        Check(
            f"pattern-{_checked(field)}",
            f"{field.member} begins and ends with a letter or digit; else it is a ValidationError.",
            MODEL,
            partial(_pattern, field=field),
        )
        for field in FIELDS
        if field.attribute in _NAMED
    ),
    Check(
        "new-session-on-stream",
        "A stream joins a session and can't open one: NEW_SESSION is refused.",
        MODEL,
        _new_session_on_stream,
    ),
    Check("sensitive", "A refusal does not repeat CustomAttributes, which the API calls sensitive.", MODEL, _silent),
    Check(
        "model-error",
        "What the model refuses is 424 ModelError with OriginalStatusCode, OriginalMessage and LogStreamArn.",
        f"{MODEL}; {ISSUES}",
        partial(_model_error, stream=False),
    ),
    Check(
        "model-error-stream",
        "The same on the streaming URL, as an HTTP error, since nothing of the stream was sent.",
        f"{MODEL}; {ISSUES}",
        partial(_model_error, stream=True),
    ),
    Check(
        "async", "InvokeEndpointAsync is accepted (202), or refused with a typed error of the caller.", MODEL, _async
    ),
    Check(
        "bidirectional",
        "InvokeEndpointWithBidirectionalStream over HTTP/1.1 is refused with a typed error of the caller.",
        "aws-sdk-sagemaker-runtime-http2 0.12.0: it is HTTP/2 only, on port 8443",
        _bidirectional,
    ),
    Check("unknown-operation", "A path that is no operation is a typed error of the caller.", WIRE, _unknown_operation),
    Check("wrong-method", "An operation asked for with GET is a typed error of the caller.", WIRE, _wrong_method),
    Check(
        "payload-6mib",
        "A body of 6 MiB, the size that SDKs are told, is not too large.",
        MODEL,
        partial(_sized, size=6 * MIB, refused=False),
    ),
    Check(
        "payload-limit",
        "A body of more than 25 MiB is 413. AWS documents 25 MB and not the answer.",
        "SageMaker developer guide, hosting FAQs",
        partial(_sized, size=25 * MIB + 1, refused=True),
        advice=True,
    ),
)
"""In the order of the report."""
