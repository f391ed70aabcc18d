"""What an endpoint's error answers and broken streams mean."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.loaders import Loader

from backends.errors import Said
from backends.wire.eventstream import Frame
from backends.wire.sagemaker import read_error, read_event
from backends.wire.verdicts import COMMON, MODEL_ERRORS, SAGEMAKER
from policies.facts import FailureFacts, Fault

MODEL: dict[str, Any] = Loader().load_service_model("sagemaker-runtime", "service-2")
JSON = ("Content-Type", "application/json")


def answer(kind: str, status: int, **fields: object) -> tuple[FailureFacts, Said]:
    return read_error(status, (JSON, ("x-amzn-ErrorType", kind)), json.dumps(fields).encode())


def test_every_error_of_the_service_model_has_a_meaning() -> None:
    """A new error in a newer service model fails here until someone decides what it means."""
    modelled = {name for name, shape in MODEL["shapes"].items() if shape.get("exception")}
    assert modelled <= SAGEMAKER.keys() | COMMON.keys() | MODEL_ERRORS


@pytest.mark.parametrize(
    ("kind", "status", "message", "facts"),
    [
        ("ValidationError", 400, "bad header", FailureFacts(Fault.CALLER, False)),
        ("ValidationError", 400, "Endpoint e of account 1 not found.", FailureFacts(Fault.CONFIG, True)),
        ("ValidationException", 400, "Inference Component ic not found", FailureFacts(Fault.CONFIG, True)),
        ("ValidationError", 400, "the word 'not found' elsewhere not found.", FailureFacts(Fault.CALLER, False)),
        (
            "ValidationError",
            400,
            "Inference Component Name header is required for endpoints to which",
            FailureFacts(Fault.CONFIG, True),
        ),
        (
            "ValidationError",
            400,
            "Inference Component has no capacity to process this request.",
            FailureFacts(Fault.PLATFORM, True, cold=True),
        ),
        ("ModelNotReadyException", 429, "m", FailureFacts(Fault.PLATFORM, True, cold=True)),
        ("ThrottlingException", 400, "Rate exceeded", FailureFacts(Fault.PLATFORM, True, throttled=True)),
        ("ThrottlingException", 429, "Rate exceeded", FailureFacts(Fault.PLATFORM, True, throttled=True)),
        ("AccessDeniedException", 403, "m", FailureFacts(Fault.CONFIG, True)),
        ("ExpiredTokenException", 403, "m", FailureFacts(Fault.CONFIG, True)),
        ("InvalidSignatureException", 403, "m", FailureFacts(Fault.CONFIG, True)),
        ("UnrecognizedClientException", 403, "m", FailureFacts(Fault.CONFIG, True)),
        ("ServiceUnavailable", 503, "m", FailureFacts(Fault.PLATFORM, True)),
        ("InternalFailure", 500, "m", FailureFacts(Fault.PLATFORM, None)),
        ("InternalDependencyException", 530, "m", FailureFacts(Fault.PLATFORM, None)),
        ("SomethingNew", 400, "m", FailureFacts(Fault.CALLER, False)),
        ("SomethingNew", 503, "m", FailureFacts(Fault.PLATFORM, True)),
    ],
)
def test_types_mean(kind: str, status: int, message: str, facts: FailureFacts) -> None:
    """The type decides, then the text of a ValidationError, then the status."""
    assert answer(kind, status, Message=message) == (facts, Said(status, message, kind))


@pytest.mark.parametrize(
    ("original", "facts"),
    [
        (400, FailureFacts(Fault.MODEL, False)),
        (404, FailureFacts(Fault.MODEL, False)),
        (429, FailureFacts(Fault.MODEL, True, throttled=True)),
        (500, FailureFacts(Fault.MODEL, None)),
        (502, FailureFacts(Fault.MODEL, None)),
        (503, FailureFacts(Fault.MODEL, True)),
        (0, FailureFacts(Fault.MODEL, None, timed_out=True)),
    ],
)
def test_a_model_error_is_unwrapped(original: int, facts: FailureFacts) -> None:
    """What counts is the container's status and text; log stream and code are kept for the client."""
    found = answer(
        "ModelError",
        424,
        Message="Received ...",
        OriginalStatusCode=original,
        OriginalMessage="text",
        LogStreamArn="arn:x",
        ErrorCode="C",
    )
    assert found == (facts, Said(original, "text", "ModelError", "arn:x", "C"))


@pytest.mark.parametrize(
    ("message", "original"),
    [
        ('Received client error (413) from primary with message "x"', 413),
        ('Received server error (0) from model with message "x"', 0),
        ("something else", 500),
    ],
)
def test_a_model_error_without_fields_is_read_from_its_text(message: str, original: int) -> None:
    """Some gateways keep only the message; one without a status is a container's 500."""
    assert answer("ModelError", 424, Message=message)[1] == Said(original, message, "ModelError")


def test_a_model_error_needs_no_type() -> None:
    """A 424 whose type was lost on the way is known by its fields; odd field types are ignored."""
    body = json.dumps({"OriginalStatusCode": 404, "OriginalMessage": 7, "LogStreamArn": 7, "ErrorCode": 7})
    assert read_error(424, (JSON,), body.encode()) == (
        FailureFacts(Fault.MODEL, False),
        Said(404, "HTTP 424", "ModelError"),
    )


def test_a_load_balancers_page_is_not_repeated() -> None:
    """HTML says nothing to a client; the status does."""
    found = read_error(502, (("Content-Type", "text/html"),), b"<html>bad gateway</html>")
    assert found == (FailureFacts(Fault.PLATFORM, None), Said(502, "HTTP 502"))


def test_a_wait_is_part_of_the_facts() -> None:
    """What the other side asked for is known to the strategy."""
    headers = (("x-amzn-ErrorType", "ThrottlingException"), ("x-amz-retry-after", "1500"))
    assert read_error(429, headers, b"")[0].retry_after == 1.5
    model = (("x-amzn-ErrorType", "ModelError"), ("Retry-After", "2"))
    assert read_error(424, model, b'{"OriginalStatusCode":503}')[0].retry_after == 2


def event(payload: bytes = b"x", **headers: str) -> Frame:
    return Frame({f":{name.replace('_', '-')}": value for name, value in headers.items()}, payload)


def test_a_payload_part_is_its_bytes() -> None:
    """Data comes out as it is."""
    assert read_event(event(b"\x00\xff", message_type="event", event_type="PayloadPart")) == b"\x00\xff"


@pytest.mark.parametrize("frame", [event(message_type="event", event_type="Other"), event(message_type="new"), event()])
def test_unknown_frames_are_skipped(frame: Frame) -> None:
    """SDKs skip what they do not know, so that services may add events."""
    assert read_event(frame) == b""


@pytest.mark.parametrize(
    ("kind", "fields", "facts", "said"),
    [
        (
            "ModelStreamError",
            {"Message": "m", "ErrorCode": "StreamBroken"},
            FailureFacts(Fault.MODEL, None),
            Said(500, "m", "ModelStreamError", error_code="StreamBroken"),
        ),
        (
            "ModelStreamError",
            {"Message": "m", "ErrorCode": "ModelInvocationTimeExceeded"},
            FailureFacts(Fault.MODEL, None, timed_out=True),
            Said(0, "m", "ModelStreamError", error_code="ModelInvocationTimeExceeded"),
        ),
        (
            "InternalStreamFailure",
            {"message": "m"},
            FailureFacts(Fault.PLATFORM, None),
            Said(500, "m", "InternalStreamFailure"),
        ),
        (
            "ServiceUnavailable",
            {"Message": "m"},
            FailureFacts(Fault.PLATFORM, None),
            Said(500, "m", "ServiceUnavailable"),
        ),
        ("", {"Message": 7}, FailureFacts(Fault.PLATFORM, None), Said(500, "The stream broke.", None)),
    ],
)
def test_exception_frames_are_failures(kind: str, fields: dict[str, object], facts: FailureFacts, said: Said) -> None:
    """A stream that had begun has reached the model, so nothing told inside it is surely safe to repeat."""
    frame = event(json.dumps(fields).encode(), message_type="exception", exception_type=kind)
    assert read_event(frame) == (facts, said)


def test_an_unmodelled_error_frame_is_a_failure() -> None:
    """The third message type carries code and text in headers; throttling stays throttling."""
    frame = event(b"", message_type="error", error_code="ThrottlingException", error_message="slow")
    assert read_event(frame) == (
        FailureFacts(Fault.PLATFORM, True, throttled=True),
        Said(500, "slow", "ThrottlingException"),
    )
    assert read_event(event(b"", message_type="error")) == (FailureFacts(Fault.PLATFORM, None), Said(500, "", None))
