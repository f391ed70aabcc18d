"""The order of things at the desk, seen from outside."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.eventstream import ChecksumMismatch
from botocore.exceptions import ClientError, EventStreamError

from backends.emulator.clock import Clock
from tests.standins import IMPORT_ARN, Standin, config_of, emulator_in_thread, with_model

CHAT = {"messages": [{"role": "user", "content": "hello there"}], "max_tokens": 4}
BODY, STREAM = json.dumps(CHAT), json.dumps({**CHAT, "stream": True})


def parts(standin: Standin, body: str = STREAM) -> list[bytes]:
    client = standin.client("sagemaker-runtime")
    answer = client.invoke_endpoint_with_response_stream(EndpointName="dedicated", Body=body)
    try:
        return [event["PayloadPart"]["Bytes"] for event in answer["Body"]]
    finally:
        answer["Body"].close()


def ledger(standin: Standin, model: str = "dedicated") -> Any:
    return standin.control("GET", "ledger")[1][model]


def test_a_fault_strikes_before_a_model_runs(standin: Standin) -> None:
    """An answered fault books nothing, and wakes no cold model."""
    standin.set_faults("dedicated", {"name": "InternalFailure", "first": 1})
    client = standin.client("sagemaker-runtime")
    with pytest.raises(ClientError):
        client.invoke_endpoint(EndpointName="dedicated", Body=BODY)
    assert ledger(standin)["calls"] == 0
    assert client.invoke_endpoint(EndpointName="dedicated", Body=BODY)["Body"].read()
    assert ledger(standin)["calls"] == 1
    assert [call["faults"] for call in standin.control("GET", "calls")[1]] == [["InternalFailure"], []]


def test_a_container_that_refuses_is_not_a_success(standin: Standin) -> None:
    """It had a place, and is booked as failed."""
    with pytest.raises(ClientError):
        standin.client("sagemaker-runtime").invoke_endpoint(EndpointName="dedicated", Body="{")
    assert (ledger(standin)["calls"], ledger(standin)["failed"]) == (0, 1)


@pytest.mark.parametrize(
    ("content", "body"),
    [
        ("json", b'{"status":"loading"}'),
        ("html", b"<html><body>It works!</body></html>"),
        ("empty", b""),
        ("cut-json", b'{"id":"chatcmpl-0","choices":[{"index":0,"mess'),
    ],
)
def test_garbage_comes_with_status_200(standin: Standin, content: str, body: bytes) -> None:
    """On every service, and on a stream instead of frames."""
    for model in ("dedicated", "imported"):
        standin.set_faults(model, {"name": "garbage-200", "content": content})
    sagemaker, bedrock = standin.client("sagemaker-runtime"), standin.client("bedrock-runtime")
    assert sagemaker.invoke_endpoint(EndpointName="dedicated", Body=BODY)["Body"].read() == body
    assert bedrock.invoke_model(modelId=IMPORT_ARN, body=BODY)["body"].read() == body
    answer = sagemaker.invoke_endpoint_with_response_stream(EndpointName="dedicated", Body=STREAM)
    kind = answer["ResponseMetadata"]["HTTPHeaders"]["content-type"]
    assert kind == ("text/html" if content == "html" else "application/json")
    answer["Body"].close()


def test_reshaped_streams_keep_their_bytes(standin: Standin) -> None:
    """The three ways to misplace part boundaries: pairs, halves, a split character."""
    plain = b"".join(parts(standin))
    count = len(parts(standin))

    def text(data: bytes) -> bytes:
        return b"".join(line for line in data.splitlines(keepends=True) if b'"content"' in line).split(b'"created"')[0]

    standin.set_faults("dedicated", "two-events-in-one-part")
    paired = parts(standin)
    assert len(paired) == (count + 1) // 2
    standin.set_faults("dedicated", "one-event-over-two-parts")
    halved = parts(standin)
    assert len(halved) == 2 * count
    assert not any(part.endswith(b"\n\n") for part in halved[::2])
    assert len(b"".join(paired)) == len(b"".join(halved)) == len(plain)
    assert text(plain)[:4] == b"data"
    standin.set_faults("dedicated", "split-utf8")
    with pytest.raises(UnicodeDecodeError):
        [part.decode() for part in parts(standin)]
    assert b"".join(parts(standin)).decode()


def test_a_bad_crc_is_found_by_botocore(standin: Standin) -> None:
    """On both services, in the frame said."""
    standin.set_faults("dedicated", {"name": "bad-crc", "after": {"part": 1}})
    standin.set_faults("imported", {"name": "bad-crc", "where": "prelude"})
    with pytest.raises(ChecksumMismatch):
        parts(standin)
    answer = standin.client("bedrock-runtime").invoke_model_with_response_stream(modelId=IMPORT_ARN, body=BODY)
    with pytest.raises(ChecksumMismatch):
        list(answer["body"])
    answer["body"].close()


def test_an_unmodelled_stream_error(standin: Standin) -> None:
    """A frame of message-type error."""
    standin.set_faults("dedicated", {"name": "unmodelled-stream-error", "error_code": "Odd", "message": "words"})
    with pytest.raises(EventStreamError) as found:
        parts(standin)
    assert found.value.response["Error"] == {"Code": "Odd", "Message": "words"}


def test_bursts_let_the_other_calls_through(standin: Standin) -> None:
    """The first two calls get 503, the retry of a standard client the answer."""
    standin.set_faults("dedicated", {"name": "ServiceUnavailable", "first": 2})
    client = standin.client("sagemaker-runtime", attempts=3)
    answer = client.invoke_endpoint(EndpointName="dedicated", Body=BODY)
    assert answer["Body"].read()
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2
    calls = standin.control("GET", "calls")[1]
    ids = {value for call in calls for name, value in call["headers"] if name.lower() == "amz-sdk-invocation-id"}
    assert ([call["status"] for call in calls], len(ids)) == ([503, 503, 200], 1)


def test_latency_is_per_token_and_on_the_clock() -> None:
    """A unary answer takes first byte plus every token; the emulator's clock knows it to have passed."""
    clock = Clock()
    models = with_model("dedicated", latency={"first_byte": 0.01, "per_token": 0.005})
    with emulator_in_thread(config_of(models), clock=clock) as standin:
        before = clock.now()
        standin.client("sagemaker-runtime").invoke_endpoint(EndpointName="dedicated", Body=BODY)["Body"].read()
        assert clock.now() - before >= 0.03


def test_a_whole_answer_on_the_stream_url_waits_for_all_its_tokens() -> None:
    """A container that does not stream gives its first byte when it has everything."""
    clock = Clock()
    with emulator_in_thread(config_of(with_model("dedicated", latency={"per_token": 0.01})), clock=clock) as standin:
        before = clock.now()
        assert len(parts(standin, BODY)) == 1
        assert clock.now() - before >= 0.04


def test_a_containers_refusal_on_the_stream_is_an_http_error(standin: Standin) -> None:
    """Before the first frame errors are ordinary ones."""
    with pytest.raises(ClientError) as found:
        parts(standin, "{")
    assert found.value.response["Error"]["Code"] == "ModelError"
