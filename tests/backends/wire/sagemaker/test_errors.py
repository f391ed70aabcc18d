"""Error answers: the texts that clients match, and the fields that SDKs read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.wire import sagemaker as wire
from backends.wire.sagemaker import ErrorReply

PLACE = {"region": "eu-central-1", "account": "123456789012", "endpoint": "my-ep"}
MODEL = ServiceModel(Loader().load_service_model("sagemaker-runtime", "service-2"), "sagemaker-runtime")

REPLIES: list[tuple[ErrorReply, int, str]] = [
    (wire.validation_error("m"), 400, "ValidationError"),
    (wire.unknown_operation("PUT"), 404, "UnknownOperationException"),
    (wire.endpoint_not_found("e", "1"), 400, "ValidationError"),
    (wire.component_required(), 400, "ValidationError"),
    (wire.component_not_allowed(), 400, "ValidationError"),
    (wire.component_no_capacity(), 400, "ValidationError"),
    (wire.unknown_component("c", "1"), 400, "ValidationError"),
    (wire.payload_too_large(10), 413, "413"),
    (wire.body_too_slow(), 408, "RequestTimeoutException"),
    (wire.model_error(500, "m", **PLACE), 424, "ModelError"),
    (wire.model_timeout(**PLACE), 424, "ModelError"),
    (wire.model_not_ready(), 429, "ModelNotReadyException"),
    (wire.throttled(), 429, "ThrottlingException"),
    (wire.service_unavailable(), 503, "ServiceUnavailable"),
    (wire.internal_failure(), 500, "InternalFailure"),
    (wire.internal_dependency(), 530, "InternalDependencyException"),
]


def parsed(reply: ErrorReply) -> dict[str, Any]:
    """What botocore makes of an error answer."""
    status, headers, body = wire.write_error(reply, "r-1")
    answer = {"status_code": status, "headers": {name.lower(): value for name, value in headers}, "body": body}
    shape = MODEL.operation_model("InvokeEndpoint").output_shape
    found: dict[str, Any] = create_parser("rest-json").parse(answer, shape)
    return found


@pytest.mark.parametrize(("reply", "status", "kind"), REPLIES, ids=lambda one: getattr(one, "message", one))
def test_every_error_is_typed_for_botocore(reply: ErrorReply, status: int, kind: str) -> None:
    """botocore finds code, message and request id of every error, and the statuses are those of the service model."""
    found = parsed(reply)
    assert (reply.status, found["Error"]["Code"], found["Error"]["Message"]) == (status, kind, reply.message)
    assert found["ResponseMetadata"]["RequestId"] == "r-1"
    modelled = {
        shape.name: shape.metadata["error"]["httpStatusCode"]
        for shape in MODEL.error_shapes
        if "error" in shape.metadata
    }
    assert modelled.get(kind, status) == status


def test_every_error_of_the_service_model_can_be_written() -> None:
    """No modelled HTTP error is missing from the constructors."""
    modelled = {shape.name for shape in MODEL.error_shapes if "error" in shape.metadata}
    assert modelled <= {kind for _, _, kind in REPLIES}


def test_the_head_is_what_both_sdks_need() -> None:
    """Type, request id and content type are there, and the message has its capital."""
    status, headers, body = wire.write_error(wire.validation_error("m"), "r-1")
    assert status == 400
    assert headers == (
        ("x-amzn-RequestId", "r-1"),
        ("x-amzn-ErrorType", "ValidationError"),
        ("Content-Type", "application/json"),
    )
    assert json.loads(body) == {"Message": "m"}


def test_texts_that_clients_match() -> None:
    """These strings stand in other people's code; a changed comma breaks them."""
    assert (
        wire.endpoint_not_found("my-ep", "123456789012").message == "Endpoint my-ep of account 123456789012 not found."
    )
    assert wire.component_required().message.startswith(
        "Inference Component Name header is required for endpoints to which you plan to deploy inference components."
    )
    assert wire.component_not_allowed().message == (
        "Inference Component Name header is not allowed for endpoints to which you dont plan to deploy inference "
        "components. Please remove the Inference Component Name header and try again."
    )
    assert wire.component_no_capacity().message == (
        "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress "
        "(if configured) or try to increase the capacity by invoking UpdateInferenceComponentRuntimeConfig API."
    )
    assert wire.unknown_component("ic", "1").message == "Inference Component ic of account 1 not found."
    assert "10 bytes" in wire.payload_too_large(10).message


def test_a_models_client_error_reads_as_aws_writes_it() -> None:
    """The whole body of a 424 about a container's 404, as captured from AWS."""
    _, _, body = wire.write_error(wire.model_error(404, '{"error":"x"}', **PLACE), "r")
    assert json.loads(body) == {
        "ErrorCode": "CLIENT_ERROR_FROM_MODEL",
        "LogStreamArn": "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/sagemaker/Endpoints/my-ep",
        "Message": 'Received client error (404) from primary with message "{"error":"x"}". See '
        "https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1"
        "#logEventViewer:group=/aws/sagemaker/Endpoints/my-ep in account 123456789012 for more information.",
        "OriginalMessage": '{"error":"x"}',
        "OriginalStatusCode": 404,
    }


@pytest.mark.parametrize(
    ("status", "side"), [(399, "server"), (400, "client"), (499, "client"), (500, "server"), (0, "server")]
)
def test_only_4xx_is_the_callers_error(status: int, side: str) -> None:
    """Message and ErrorCode agree on whose error a container's answer was."""
    reply = wire.model_error(status, "m", **PLACE)
    assert reply.message.startswith(f'Received {side} error ({status}) from primary with message "m". See ')
    assert reply.error_code == f"{side.upper()}_ERROR_FROM_MODEL"


def test_what_an_upstream_said_is_kept() -> None:
    """Log stream and error code of the endpoint behind us win over ours."""
    reply = wire.model_error(500, "m", **PLACE, log_stream_arn="arn:x", error_code="CODE")
    assert (reply.log_stream_arn, reply.error_code) == ("arn:x", "CODE")


def test_a_deadline_is_an_original_status_of_zero() -> None:
    """A model that does not answer in time is told in the developer guide's words."""
    reply = wire.model_timeout(**PLACE)
    assert reply.original_status == 0
    assert reply.message.startswith(
        'Received server error (0) from primary with message "Your invocation timed out while waiting for a response '
        "from container primary. Review the latency metrics for each container in Amazon CloudWatch, resolve the "
        'issue, and try again.". See https://'
    )


def test_long_messages_are_cut_at_2048_and_keep_their_end() -> None:
    """The limit of the service model holds, and the link to the logs survives a long message of the model."""
    found = json.loads(wire.write_error(wire.model_error(500, "x" * 5000, **PLACE), "r")[2])
    assert (len(found["Message"]), len(found["OriginalMessage"])) == (2048, 2048)
    assert found["Message"].endswith("in account 123456789012 for more information.")
    assert found["OriginalMessage"].endswith("x...")


@pytest.mark.parametrize(
    ("seconds", "header", "milliseconds"), [(1.5, "2", "1500"), (0.0, "0", "0"), (-1.0, "0", "0"), (0.0001, "1", "1")]
)
def test_a_wait_is_told_to_old_and_new_clients(seconds: float, header: str, milliseconds: str) -> None:
    """Retry-After is in whole seconds, AWS's own header in milliseconds; neither is ever too early."""
    for reply in (wire.throttled(None, seconds), wire.service_unavailable(seconds), wire.model_not_ready(seconds)):
        headers = dict(wire.write_error(reply, "r")[1])
        assert (headers["Retry-After"], headers["x-amz-retry-after"]) == (header, milliseconds)


def test_callers_may_give_their_own_words() -> None:
    """Throttling and unavailability take a text, or have one."""
    assert wire.throttled().message == "Rate exceeded"
    assert wire.throttled("full").message == "full"
    assert wire.service_unavailable(None, "down").message == "down"


def test_a_wire_error_says_what_it_is() -> None:
    """In a log, the exception shows type and message."""
    assert str(wire.WireError(wire.validation_error("m"))) == "ValidationError: m"


@settings(max_examples=100)
@given(st.text(max_size=3000), st.integers(0, 599))
def test_any_text_of_a_model_can_be_written(text: str, status: int) -> None:
    """Whatever a container said, surrogates included, the answer is JSON within the model's limits."""
    surrogates = text + b"\xff".decode("utf-8", "surrogateescape")
    found = json.loads(wire.write_error(wire.model_error(status, surrogates, **PLACE), "r")[2])
    assert len(found["Message"]) <= 2048
    assert len(found["OriginalMessage"]) <= 2048
