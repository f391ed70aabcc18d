"""What Bedrock's errors mean, in answers and in streams."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.loaders import Loader

from backends.errors import Said
from backends.wire.bedrock import read_error, read_exception
from backends.wire.verdicts import BEDROCK, COMMON, MODEL_ERRORS
from policies.facts import FailureFacts, Fault

MODEL: dict[str, Any] = Loader().load_service_model("bedrock-runtime", "service-2")
ERRORS: dict[str, Any] = {name: shape for name, shape in MODEL["shapes"].items() if shape.get("exception")}


def answer(kind: str, status: int, **fields: object) -> tuple[FailureFacts, Said]:
    return read_error(status, (("x-amzn-ErrorType", kind),), json.dumps(fields).encode())


def test_every_error_of_the_service_model_has_a_meaning() -> None:
    """A new error in a newer service model fails here until someone decides what it means."""
    assert set(ERRORS) <= BEDROCK.keys() | COMMON.keys() | MODEL_ERRORS


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_type_and_status_agree_about_throttling_and_retries(name: str) -> None:
    """What the service model calls retryable here is what we call safe, unless the model may have run."""
    shape = ERRORS[name]
    facts = answer(name, shape["error"]["httpStatusCode"], message="m")[0]
    assert facts.cold is (name == "ModelNotReadyException")
    assert facts.throttled is (name == "ThrottlingException")
    if shape["error"]["httpStatusCode"] == 500:
        assert facts.retry_safe is None


@pytest.mark.parametrize(
    ("kind", "status", "facts", "said_status"),
    [
        ("ModelNotReadyException", 429, FailureFacts(Fault.PLATFORM, True, cold=True), 429),
        ("ThrottlingException", 429, FailureFacts(Fault.PLATFORM, True, throttled=True), 429),
        ("ValidationException", 400, FailureFacts(Fault.MODEL, False), 400),
        ("ModelTimeoutException", 408, FailureFacts(Fault.MODEL, None, timed_out=True), 0),
        ("AccessDeniedException", 403, FailureFacts(Fault.CONFIG, True), 403),
        ("ResourceNotFoundException", 404, FailureFacts(Fault.CONFIG, True), 404),
        ("ServiceQuotaExceededException", 400, FailureFacts(Fault.CONFIG, True), 400),
        ("InternalServerException", 500, FailureFacts(Fault.PLATFORM, None), 500),
        ("ServiceUnavailableException", 503, FailureFacts(Fault.PLATFORM, True), 503),
    ],
)
def test_types_mean(kind: str, status: int, facts: FailureFacts, said_status: int) -> None:
    """Where Bedrock speaks for the model, the status is the one a container would have given."""
    assert answer(kind, status, message="m") == (facts, Said(said_status, "m", kind))


@pytest.mark.parametrize(
    "text",
    [
        "The provided model identifier is invalid.",
        "This action doesn't support the model that you provided. Try again with a supported text or chat model.",
    ],
)
def test_a_refused_model_is_our_set_up(text: str) -> None:
    """A wrong ARN in the policy is not the client's mistake."""
    assert answer("ValidationException", 400, message=text)[0] == FailureFacts(Fault.CONFIG, True)


@pytest.mark.parametrize("kind", ["ModelErrorException", "ModelStreamErrorException"])
@pytest.mark.parametrize(
    ("original", "facts"),
    [
        (400, FailureFacts(Fault.MODEL, False)),
        (429, FailureFacts(Fault.MODEL, True, throttled=True)),
        (500, FailureFacts(Fault.MODEL, None)),
    ],
)
def test_a_models_own_error_is_unwrapped(kind: str, original: int, facts: FailureFacts) -> None:
    """What counts is what the model answered."""
    assert answer(kind, 424, message="m", originalStatusCode=original) == (facts, Said(original, "m", kind))


def test_a_models_own_words_come_first() -> None:
    """`originalMessage` is the model's; a status that is missing counts as a container's 500."""
    assert answer("ModelStreamErrorException", 424, message="m", originalMessage="own")[1] == Said(
        500, "own", "ModelStreamErrorException"
    )


def test_a_wait_is_part_of_the_facts() -> None:
    """Also when the model is not ready."""
    headers = (("x-amzn-ErrorType", "ModelNotReadyException"), ("x-amz-retry-after", "30000"))
    assert read_error(429, headers, b"")[0] == FailureFacts(Fault.PLATFORM, True, retry_after=30.0, cold=True)


def test_an_answer_without_a_type_is_judged_by_its_status() -> None:
    """A proxy in between, or a page of a load balancer."""
    assert read_error(503, (), b"<html>") == (FailureFacts(Fault.PLATFORM, True), Said(503, "HTTP 503"))
    assert read_error(408, (), b"") == (FailureFacts(Fault.MODEL, None, timed_out=True), Said(0, "HTTP 408"))


@pytest.mark.parametrize("member", [name for name in MODEL["shapes"]["ResponseStream"]["members"] if name != "chunk"])
def test_every_exception_of_a_stream_is_typed(member: str) -> None:
    """Each member of the service model's stream is known by its type, never by a default."""
    facts, said = read_exception({":exception-type": member}, b'{"message":"m"}')
    shape = MODEL["shapes"]["ResponseStream"]["members"][member]["shape"]
    assert (said.type, said.message) == (shape, "m")
    outside = answer(shape, ERRORS[shape]["error"]["httpStatusCode"], message="m")[0]
    assert (facts.fault, facts.throttled, facts.timed_out) == (outside.fault, outside.throttled, outside.timed_out)
    assert facts.retry_safe is (True if facts.throttled else False if shape == "ValidationException" else None)


def test_an_error_frame_says_its_words_in_headers() -> None:
    """The third message type of the framing has no body."""
    headers = {":error-code": "internalFailure", ":error-message": "m"}
    assert read_exception(headers, b"") == (FailureFacts(Fault.PLATFORM, None), Said(500, "m", "InternalFailure"))


def test_a_nameless_exception_is_a_failure_all_the_same() -> None:
    """A frame that says nothing is the platform's, and may have run."""
    assert read_exception({}, b"") == (FailureFacts(Fault.PLATFORM, None), Said(500, "HTTP 500"))
