"""What is read from botocore's models."""

from __future__ import annotations

import re

import pytest

from backends.emulator.aws import (
    BEDROCK,
    SAGEMAKER,
    errors_of,
    modelled_errors,
    request_headers,
    response_header,
    stream_errors_of,
    violation,
)

INVOKE = "InvokeEndpoint"


def test_modelled_errors_have_their_status_and_their_message_field_first() -> None:
    """Statuses and fields are the service model's: 424 with three more fields, 530, capital Message."""
    found = errors_of(SAGEMAKER)
    assert modelled_errors(SAGEMAKER) == (
        "InternalDependencyException",
        "InternalFailure",
        "ModelError",
        "ModelNotReadyException",
        "ServiceUnavailable",
        "ValidationError",
    )
    assert found["ModelError"].status == 424
    assert set(found["ModelError"].fields) == {"Message", "OriginalStatusCode", "OriginalMessage", "LogStreamArn"}
    assert found["InternalDependencyException"].status == 530
    assert all(shape.fields[0] == "Message" for shape in found.values())


def test_bedrock_errors_have_a_small_message() -> None:
    """Bedrock's shapes spell the field `message`; conflicts and quotas are 400, not ready is 429."""
    found = errors_of(BEDROCK)
    assert all(shape.fields[0] == "message" for shape in found.values())
    statuses = {"ModelTimeoutException": 408, "ServiceQuotaExceededException": 400, "ModelNotReadyException": 429}
    assert {name: found[name].status for name in statuses} == statuses
    assert {"ModelErrorException", "ThrottlingException"} <= set(modelled_errors(BEDROCK))
    assert "ExpiredTokenException" not in modelled_errors(BEDROCK)


def test_stream_errors_are_named_as_on_the_wire() -> None:
    """`:exception-type` is PascalCase at SageMaker, camelCase at Bedrock; not-ready can't come in a stream."""
    assert stream_errors_of(SAGEMAKER)["ModelStreamError"].fields == ("Message", "ErrorCode")
    assert set(stream_errors_of(SAGEMAKER)) == {"ModelStreamError", "InternalStreamFailure"}
    assert "modelStreamErrorException" in stream_errors_of(BEDROCK)
    assert "modelNotReadyException" not in stream_errors_of(BEDROCK)


def test_the_stream_operation_has_another_accept_header() -> None:
    """The members' headers are read per operation: Accept moves to X-Amzn-SageMaker-Accept on the stream."""
    assert request_headers(SAGEMAKER, INVOKE)["accept"] == "Accept"
    stream = request_headers(SAGEMAKER, "InvokeEndpointWithResponseStream")
    assert stream["x-amzn-sagemaker-accept"] == "Accept"
    assert "accept" not in stream
    variant = response_header(SAGEMAKER, INVOKE, "InvokedProductionVariant")
    assert variant == "x-Amzn-Invoked-Production-Variant"


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("EndpointName", "good-name", None),
        ("EndpointName", "", "greater than or equal|regular expression"),
        ("EndpointName", "bad/name", "'endpointName' failed.*regular expression pattern"),
        ("EndpointName", "a" * 64, "less than or equal to 63"),
        ("SessionId", "NEW_SESSION", None),
        ("InferenceId", "", "greater than or equal to 1"),
        ("CustomAttributes", "trace=1", None),
    ],
)
def test_violations_are_the_models_constraints(member: str, value: str, said: str | None) -> None:
    """No SDK checks patterns and lengths, so the service must, in its own wording."""
    found = violation(SAGEMAKER, INVOKE, member, value)
    if said is None:
        assert found is None
    else:
        assert found is not None
        assert re.search(said, found)


def test_a_sensitive_value_is_not_repeated() -> None:
    """CustomAttributes is sensitive in the model: the message names the place and not the value."""
    found = violation(SAGEMAKER, INVOKE, "CustomAttributes", "sécret")
    assert found is not None
    assert "cret" not in found
    assert "customAttributes" in found


def test_an_enum_is_a_constraint() -> None:
    """Bedrock's Trace takes three words only."""
    assert violation(BEDROCK, "InvokeModel", "trace", "ENABLED") is None
    assert "enum value set" in str(violation(BEDROCK, "InvokeModel", "trace", "MAYBE"))
