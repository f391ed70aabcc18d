"""The SageMaker Runtime face, driven by boto3's client."""

from __future__ import annotations

import json
import re
import threading
from contextlib import closing
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError

from backends.emulator.aws import SAGEMAKER, errors_of, modelled_errors
from backends.emulator.clock import Clock
from tests.standins import Standin, config_of, emulator_in_thread, with_model

CHAT = {"messages": [{"role": "user", "content": "hello there"}], "max_tokens": 4}
BODY, STREAM = json.dumps(CHAT), json.dumps({**CHAT, "stream": True})
SERVICE = "sagemaker-runtime"


def invoke(standin: Standin, endpoint: str = "dedicated", body: Any = BODY, **members: Any) -> Any:
    return standin.client(SERVICE).invoke_endpoint(EndpointName=endpoint, Body=body, **members)


def stream(standin: Standin, endpoint: str = "dedicated", body: Any = STREAM, **members: Any) -> list[bytes]:
    answer = standin.client(SERVICE).invoke_endpoint_with_response_stream(EndpointName=endpoint, Body=body, **members)
    with closing(answer["Body"]) as events:
        return [event["PayloadPart"]["Bytes"] for event in events]


def refused(standin: Standin, *arguments: Any, how: Any = invoke, **members: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as found:
        how(standin, *arguments, **members)
    response: dict[str, Any] = found.value.response
    return response


def message(response: dict[str, Any]) -> str:
    return str(response["Error"]["Message"])


def test_four_cells(standin: Standin) -> None:
    """The body makes the container stream, the URL makes the frames: the concatenated bytes are the same either way."""
    plain, collected = invoke(standin), invoke(standin, body=STREAM)
    assert (plain["ContentType"], plain["InvokedProductionVariant"]) == ("application/json", "AllTraffic")
    assert collected["ContentType"].startswith("text/event-stream")
    whole = json.loads(plain["Body"].read())
    events = collected["Body"].read()
    assert events.endswith(b"data: [DONE]\n\n")
    framed = stream(standin)
    assert all(part.startswith(b"data: ") and part.endswith(b"\n\n") for part in framed)
    assert _text(b"".join(framed)) == _text(events) == whole["choices"][0]["message"]["content"]
    (one,) = stream(standin, body=BODY)
    assert json.loads(one)["choices"] == whole["choices"]


def _text(events: bytes) -> str:
    values = [json.loads(line[6:]) for line in events.decode().splitlines() if line.startswith("data: {")]
    return "".join(value["choices"][0]["delta"]["content"] for value in values)


def test_stream_answers_have_the_modelled_headers(standin: Standin) -> None:
    """HTTP's own content type is the event stream's; the container's travels in its own header."""
    client = standin.client(SERVICE)
    answer = client.invoke_endpoint_with_response_stream(
        EndpointName="dedicated", Body=STREAM, ContentType="application/json"
    )
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["content-type"] == "application/vnd.amazon.eventstream"
    assert answer["ContentType"].startswith("text/event-stream")
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert re.fullmatch(r"[0-9a-f-]{36}", answer["ResponseMetadata"]["RequestId"])
    answer["Body"].close()


def test_usage_counts_the_words() -> None:
    """prompt and completion tokens are the words of prompt and answer, and max_tokens is honoured."""
    with emulator_in_thread() as standin:
        answer = json.loads(invoke(standin)["Body"].read())
    assert answer["usage"]["prompt_tokens"] == 2
    assert answer["usage"]["completion_tokens"] == len(answer["choices"][0]["message"]["content"].split()) == 4
    assert answer["choices"][0]["finish_reason"] == "length"


def test_echo_is_byte_for_byte(standin: Standin) -> None:
    """Opaque bytes, content type and custom attributes come back on both operations."""
    body = bytes(range(256)) * 1000
    answer = invoke(standin, "echo", body, ContentType="x/y", CustomAttributes="a=b")
    assert (answer["Body"].read(), answer["ContentType"], answer["CustomAttributes"]) == (body, "x/y", "a=b")
    assert b"".join(stream(standin, "echo", body, CustomAttributes="a=b")) == body


@pytest.mark.parametrize(
    ("endpoint", "members", "said"),
    [
        ("nope", {}, r"^Endpoint nope of account 123456789012 not found\.$"),
        ("shared", {}, "^Inference Component Name header is required for endpoints to which you plan to deploy"),
        ("dedicated", {"InferenceComponentName": "x"}, "^Inference Component Name header is not allowed for endpoints"),
        ("shared", {"InferenceComponentName": "x"}, "^Inference Component x of account 123456789012 not found"),
        ("dedicated", {"TargetVariant": "Other"}, "^Variant Other of endpoint dedicated not found"),
        ("bad/name", {}, "failed to satisfy constraint: Member must satisfy regular expression pattern"),
        ("e" * 64, {}, "Member must have length less than or equal to 63"),
        ("dedicated", {"InferenceId": "i" * 65}, "'inferenceId' failed to satisfy"),
    ],
)
def test_refusals_have_the_texts_that_clients_match(
    standin: Standin, endpoint: str, members: dict[str, str], said: str
) -> None:
    """ValidationError, status 400, AWS's own words."""
    response = refused(standin, endpoint, **members)
    assert response["Error"]["Code"] == "ValidationError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert re.search(said, message(response))


def test_an_empty_name_is_a_validation_error(standin: Standin) -> None:
    """`/endpoints//invocations` is the operation with an empty name, not an unknown path."""
    status, headers, _ = standin.http("POST", "/endpoints//invocations", b"x")
    assert (status, headers["x-amzn-errortype"]) == (403, "MissingAuthenticationTokenException")
    with emulator_in_thread(config_of(signatures="off")) as open_:
        status, headers, body = open_.http("POST", "/endpoints//invocations", b"x")
        assert (status, headers["x-amzn-errortype"]) == (400, "ValidationError")
        assert b"endpointName" in body


def test_a_session_can_not_be_opened_on_a_stream(standin: Standin) -> None:
    """NEW_SESSION is for the unary operation."""
    assert refused(standin, how=stream, SessionId="NEW_SESSION")["Error"]["Code"] == "ValidationError"


def test_sessions_travel_in_the_modelled_members(standin: Standin) -> None:
    """Opened with NEW_SESSION, closed with the id."""
    answer = invoke(standin, body='{"requestType":"NEW_SESSION"}', SessionId="NEW_SESSION")
    session = answer["NewSessionId"].partition(";")[0]
    assert "; Expires=" in answer["NewSessionId"]
    closed = invoke(standin, body='{"requestType":"CLOSE"}', SessionId=session)
    assert closed["ClosedSessionId"] == session


def test_a_body_above_the_limit_is_413() -> None:
    """The limit is the configured one; at the limit it passes."""
    with emulator_in_thread(config_of(limits={"sagemaker_body": 1000, "bedrock_body": 1000})) as standin:
        assert invoke(standin, "echo", bytes(1000))["Body"].read() == bytes(1000)
        response = refused(standin, "echo", bytes(1001))
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_a_containers_refusal_is_a_model_error(standin: Standin) -> None:
    """424 with the container's status and body, the log stream and the sentence that clients parse."""
    response = refused(standin, body="{")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", 400)
    assert json.loads(response["OriginalMessage"])["error"]["type"] == "BadRequestError"
    assert message(response).startswith('Received client error (400) from primary with message "')
    assert (
        response["LogStreamArn"] == "arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/Endpoints/dedicated"
    )
    assert refused(standin, body="{", how=stream)["Error"]["Code"] == "ModelError"


@pytest.mark.parametrize("name", modelled_errors(SAGEMAKER))
@pytest.mark.parametrize("how", [invoke, stream])
def test_every_modelled_error_comes_typed(standin: Standin, name: str, how: Any) -> None:
    """boto3 reads code, status and message of each, on both operations."""
    standin.set_faults("dedicated", {"name": name, "message": "because"})
    response = refused(standin, how=how)
    assert response["Error"] == {"Code": name, "Message": "because"}
    assert response["ResponseMetadata"]["HTTPStatusCode"] == errors_of(SAGEMAKER)[name].status
    assert response["ResponseMetadata"]["HTTPHeaders"]["x-amzn-errortype"] == name


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ({"name": "ThrottlingException", "status": 400}, "ThrottlingException", 400),
        ({"name": "AccessDeniedException"}, "AccessDeniedException", 403),
        ({"name": "413"}, "RequestEntityTooLargeException", 413),
        ({"name": "no-capacity"}, "ValidationError", 400),
        ({"name": "unknown-endpoint"}, "ValidationError", 400),
        ({"name": "model-timeout"}, "ModelError", 424),
        ({"name": "ModelError", "status": 500}, "ModelError", 500),
        ({"name": "html-502"}, "502", 502),
        ({"name": "html-503"}, "503", 503),
        ({"name": "html-504"}, "504", 504),
        ({"name": "empty-503"}, "503", 503),
    ],
)
def test_other_errors_on_demand(standin: Standin, fault: dict[str, Any], code: str, status: int) -> None:
    """What the service sends without modelling it, and what gateways send."""
    standin.set_faults("dedicated", fault)
    response = refused(standin)
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


def test_model_error_carries_the_status_chosen(standin: Standin) -> None:
    """OriginalStatusCode and OriginalMessage as asked; 5xx is the server's, and retry-after can be added."""
    fault = {"name": "ModelError", "original_status_code": 507, "original_message": "full", "retry_after_ms": 1500}
    standin.set_faults("dedicated", fault)
    response = refused(standin)
    assert (response["OriginalStatusCode"], response["OriginalMessage"]) == (507, "full")
    assert message(response).startswith('Received server error (507) from primary with message "full"')
    assert response["ResponseMetadata"]["HTTPHeaders"]["x-amz-retry-after"] == "1500"


@pytest.mark.parametrize("name", ["ModelStreamError", "InternalStreamFailure"])
def test_stream_errors_end_the_stream_typed(standin: Standin, name: str) -> None:
    """After two parts boto3 raises the modelled error."""
    standin.set_faults("dedicated", {"name": name, "after": {"part": 2}, "message": "broke"})
    with pytest.raises(EventStreamError) as found:
        stream(standin)
    assert found.value.response["Error"] == {"Code": name, "Message": "broke"}


def test_a_component_at_zero_has_no_capacity_until_it_has() -> None:
    """400 at once with the documented text; the first call starts it, and the clock brings it."""
    clock = Clock()
    clock.freeze()
    models = with_model("packed", cold={"starts": "cold", "restore": "9m"})
    with emulator_in_thread(config_of(models), clock=clock) as standin:
        response = refused(standin, "shared", InferenceComponentName="packed")
        assert message(response).startswith("Inference Component has no capacity to process this request.")
        standin.control("POST", "clock", {"advance": "9m"})
        assert invoke(standin, "shared", InferenceComponentName="packed")["Body"].read()


def test_a_cold_serverless_endpoint_is_not_ready() -> None:
    """429 ModelNotReadyException; on the stream operation, which does not model it, 503."""
    with emulator_in_thread(config_of(with_model("dedicated", cold={"starts": "cold"}))) as standin:
        assert refused(standin)["Error"]["Code"] == "ModelNotReadyException"
        assert refused(standin, how=stream)["Error"]["Code"] == "ServiceUnavailable"


def test_a_full_model_throttles() -> None:
    """With one place and no queue, the call that comes while another is answered gets ThrottlingException."""
    clock = Clock()
    clock.freeze()
    models = with_model("dedicated", copies={"concurrency": 1, "queue": 0}, latency={"first_byte": 5})
    with emulator_in_thread(config_of(models), clock=clock) as standin:
        done: list[bytes] = []
        busy = threading.Thread(target=lambda: done.append(invoke(standin)["Body"].read()))
        busy.start()
        while not standin.control("GET", "models")[1]["dedicated"]["in_flight"]:
            pass
        assert refused(standin)["Error"]["Code"] == "ThrottlingException"
        standin.control("POST", "clock", {"advance": 5})
        busy.join(60)
        assert len(done) == 1


def test_an_answer_after_sixty_seconds_is_a_model_error_with_status_zero() -> None:
    """The front end gives the container 60 s; the text is the documented one."""
    clock = Clock()
    with emulator_in_thread(config_of(with_model("dedicated", latency={"first_byte": 61})), clock=clock) as standin:
        late: list[dict[str, Any]] = []
        caller = threading.Thread(target=lambda: late.append(refused(standin)))
        caller.start()
        while not standin.control("GET", "models")[1]["dedicated"]["in_flight"]:
            pass
        standin.control("POST", "clock", {"advance": 60})
        caller.join(60)
        assert late[0]["OriginalStatusCode"] == 0
        assert "Your invocation timed out while waiting for a response from container primary" in message(late[0])


def test_async_and_bidirectional_are_not_offered(standin: Standin) -> None:
    """A typed refusal that says so."""
    client = standin.client(SERVICE)
    with pytest.raises(ClientError, match="does not offer InvokeEndpointAsync"):
        client.invoke_endpoint_async(EndpointName="dedicated", InputLocation="s3://b/k")
    status, headers, _ = standin.http("POST", "/endpoints/dedicated/invocations-bidirectional-stream", b"")
    assert (status, headers["x-amzn-errortype"]) == (400, "ValidationError")
