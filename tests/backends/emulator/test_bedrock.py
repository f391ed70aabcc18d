"""The Bedrock Runtime face, driven by boto3's client."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError, EventStreamError

from backends.emulator.aws import BEDROCK, errors_of, modelled_errors, stream_errors_of
from backends.emulator.clock import Clock
from tests.standins import IMPORT_ARN, Standin, config_of, emulator_in_thread, with_model

CHAT = {"messages": [{"role": "user", "content": "hello there"}], "max_tokens": 4}
BODY = json.dumps(CHAT)
SERVICE = "bedrock-runtime"


def invoke(standin: Standin, body: Any = BODY, model: str = IMPORT_ARN, **members: Any) -> Any:
    return standin.client(SERVICE).invoke_model(modelId=model, body=body, **members)


def stream(standin: Standin, body: Any = BODY, model: str = IMPORT_ARN, **members: Any) -> list[bytes]:
    answer = standin.client(SERVICE).invoke_model_with_response_stream(modelId=model, body=body, **members)
    with closing(answer["body"]) as events:
        return [event["chunk"]["bytes"] for event in events]


def refused(standin: Standin, *arguments: Any, how: Any = invoke, **members: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as found:
        how(standin, *arguments, **members)
    response: dict[str, Any] = found.value.response
    return response


def test_unary_and_stream_say_the_same(standin: Standin) -> None:
    """A stream is JSON objects without `data:` and [DONE]; the last one carries the invocation's metrics."""
    answer = invoke(standin)
    whole = json.loads(answer["body"].read())
    assert whole["model"] == "123456789012-standin00001"
    objects = [json.loads(chunk) for chunk in stream(standin)]
    text = "".join(value["choices"][0]["delta"]["content"] for value in objects)
    assert text == whole["choices"][0]["message"]["content"]
    metrics = objects[-1]["amazon-bedrock-invocationMetrics"]
    assert (metrics["inputTokenCount"], metrics["outputTokenCount"]) == (2, 4)
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["x-amzn-bedrock-input-token-count"], headers["x-amzn-bedrock-output-token-count"]) == ("2", "4")


def test_the_url_decides_and_not_the_body(standin: Standin) -> None:
    """`stream: true` on the unary URL is ignored."""
    assert (
        json.loads(invoke(standin, json.dumps({**CHAT, "stream": True}))["body"].read())["object"] == "chat.completion"
    )


def test_formats_follow_the_body(standin: Standin) -> None:
    """`messages` chat, `prompt` with max_tokens completion, `prompt` native."""
    completion = json.loads(invoke(standin, '{"prompt": "a", "max_tokens": 2}')["body"].read())
    native = json.loads(invoke(standin, '{"prompt": "a", "max_gen_len": 2}')["body"].read())
    assert completion["object"] == "text_completion"
    assert (native["generation"], native["stop_reason"]) == (completion["choices"][0]["text"], "length")
    chunks = [json.loads(chunk) for chunk in stream(standin, '{"prompt": "a", "max_gen_len": 2}')]
    assert "".join(chunk["generation"] for chunk in chunks) == native["generation"]


def test_an_old_import_speaks_its_native_format_alone() -> None:
    """With dialect bedrock-completion `messages` are refused."""
    with emulator_in_thread(config_of(with_model("imported", dialect="bedrock-completion"))) as standin:
        assert "generation" in json.loads(invoke(standin, '{"prompt": "a", "max_tokens": 2}')["body"].read())
        assert refused(standin)["Error"]["Code"] == "ValidationException"


@pytest.mark.parametrize("safe", ["", ":", ":~-"])
def test_the_arn_is_found_in_any_encoding(safe: str) -> None:
    """boto3 encodes the colons, others don't; an unencoded slash is another path."""
    with emulator_in_thread(config_of(signatures="off")) as standin:
        status, _, body = standin.http("POST", f"/model/{quote(IMPORT_ARN, safe=safe)}/invoke", BODY.encode())
        assert status == 200
        assert b"chat.completion" in body
        status, headers, _ = standin.http("POST", f"/model/{IMPORT_ARN}/invoke", BODY.encode())
        assert (status, headers["x-amzn-errortype"]) == (404, "UnknownOperationException")


def test_stream_headers(standin: Standin) -> None:
    """The model's content type is in Bedrock's own header."""
    answer = standin.client(SERVICE).invoke_model_with_response_stream(modelId=IMPORT_ARN, body=BODY)
    assert answer["contentType"] == "application/json"
    assert answer["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/vnd.amazon.eventstream"
    answer["body"].close()


@pytest.mark.parametrize(
    ("model", "members", "code", "said"),
    [
        (IMPORT_ARN[:-1] + "9", {}, "ResourceNotFoundException", "could not be found"),
        ("anthropic.claude-v2", {}, "ValidationException", "model identifier is invalid"),
        ("not a model", {}, "ValidationException", "model identifier is invalid"),
        (IMPORT_ARN, {"contentType": "text/csv"}, "ValidationException", "Content Type is invalid"),
        (
            IMPORT_ARN,
            {"guardrailIdentifier": "!", "guardrailVersion": "1"},
            "ValidationException",
            "guardrailIdentifier",
        ),
        (IMPORT_ARN, {"body": "{}"}, "ValidationException", "Malformed input request"),
    ],
)
def test_refusals(standin: Standin, model: str, members: dict[str, str], code: str, said: str) -> None:
    """Wrong identifiers, types and bodies are refused before a model runs."""
    response = refused(standin, model=model, **members)
    assert response["Error"]["Code"] == code
    assert said in response["Error"]["Message"]


def test_a_malformed_body_on_the_stream_is_an_http_error(standin: Standin) -> None:
    """Not a frame."""
    assert refused(standin, "{}", how=stream)["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_body_above_the_limit_is_a_validation_error() -> None:
    """25,000,000 bytes by default, from the model's constraint."""
    with emulator_in_thread(config_of(limits={"sagemaker_body": 1000, "bedrock_body": 1000})) as standin:
        assert "less than or equal to 1000" in refused(standin, b" " * 1001)["Error"]["Message"]


@pytest.mark.parametrize("name", modelled_errors(BEDROCK))
def test_every_modelled_error_comes_typed(standin: Standin, name: str) -> None:
    """boto3 reads code, status and message of each; 424s carry their further fields."""
    fault = {"name": name, "message": "because", "original_status_code": 503}
    standin.set_faults("imported", fault)
    response = refused(standin)
    assert response["Error"] == {"Code": name, "Message": "because"}
    assert response["ResponseMetadata"]["HTTPStatusCode"] == errors_of(BEDROCK)[name].status
    if name == "ModelErrorException":
        assert (response["originalStatusCode"], response["resourceName"]) == (503, IMPORT_ARN)


def test_too_large_on_demand(standin: Standin) -> None:
    """The gateway's 413."""
    standin.set_faults("imported", "413")
    assert refused(standin)["ResponseMetadata"]["HTTPStatusCode"] == 413


@pytest.mark.parametrize("name", sorted(stream_errors_of(BEDROCK)))
def test_every_modelled_stream_error_ends_the_stream(standin: Standin, name: str) -> None:
    """It comes as an exception frame after the parts said; botocore raises EventStreamError with its code."""
    standin.set_faults("imported", {"name": name, "message": "broke"})
    with pytest.raises(EventStreamError) as found:
        stream(standin)
    assert found.value.response["Error"]["Code"] == name
    assert found.value.response["Error"]["Message"] == "broke"


def test_converse_is_refused(standin: Standin) -> None:
    """As Bedrock does for a model without instruct support."""
    with pytest.raises(ClientError, match="doesn't support the model"):
        standin.client(SERVICE).converse(modelId=IMPORT_ARN, messages=[{"role": "user", "content": [{"text": "x"}]}])


def test_cold_ready_idle_and_cold_again() -> None:
    """429 until restored, answers while warm, evicted five minutes after the last call, all by the clock."""
    clock = Clock()
    clock.freeze()
    models = with_model("imported", cold={"starts": "cold", "restore": 60})
    with emulator_in_thread(config_of(models), clock=clock) as standin:
        for how in (invoke, stream):
            response = refused(standin, how=how)
            assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (
                "ModelNotReadyException",
                429,
            )
        standin.control("POST", "clock", {"advance": 60})
        assert invoke(standin)["body"].read()
        standin.control("POST", "clock", {"advance": 299})
        assert stream(standin)
        standin.control("POST", "clock", {"advance": "5m"})
        assert refused(standin)["Error"]["Code"] == "ModelNotReadyException"
        ledger = standin.control("GET", "ledger")[1]["imported"]
        assert (ledger["calls"], ledger["windows"], ledger["copies"]["copy-1"]["calls"]) == (2, 1, 2)
        assert ledger["cost_usd"] == pytest.approx(2 * 0.05718 * 5)


def test_a_full_model_throttles() -> None:
    """No place and no queue: 429 ThrottlingException."""
    with emulator_in_thread(config_of(with_model("imported", copies={"concurrency": 1, "queue": 0}))) as standin:
        standin.set_faults("imported", "acknowledged")
        client = standin.client(SERVICE)
        open_ = client.invoke_model_with_response_stream(modelId=IMPORT_ARN, body=BODY)
        assert refused(standin)["Error"]["Code"] == "ThrottlingException"
        open_["body"].close()


def test_an_answer_after_the_configured_limit_is_a_model_timeout() -> None:
    """408 ModelTimeoutException on the unary operation, its in-stream form on a stream."""
    models = with_model("imported", latency={"first_byte": 2})
    with emulator_in_thread(config_of(models, limits={"bedrock": 0.01})) as standin:
        assert refused(standin)["ResponseMetadata"]["HTTPStatusCode"] == 408
        with pytest.raises(EventStreamError, match="modelTimeoutException"):
            stream(standin)
