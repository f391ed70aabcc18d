"""Requests captured from real clients, parsed: boto3, aiobotocore, the AWS CLI and the OpenAI SDK.

Each was run against a loopback server, and volatile values (dates, signatures, ids) were replaced by placeholders.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from backends.base import Headers, Invocation
from backends.wire.sagemaker import WireError, read_invocation, read_operation

RECORDS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "data" / "requests.json").read_text())
BOTO3 = ("boto3_1_43_117", "boto3_1_44_5")
INVOKE, STREAM = "/invocations", "/invocations-response-stream"


def identity(record: dict[str, Any]) -> str:
    return f"{record['client']}-{record['n']}"


def at_sagemaker(record: dict[str, Any], *endings: str) -> bool:
    path: str = record["path"]
    return path.startswith("/endpoints/") and path.endswith(endings)


SERVED = [record for record in RECORDS if at_sagemaker(record, INVOKE, STREAM)]
REFUSED = [record for record in RECORDS if record["path"].startswith("/endpoints/") and record not in SERVED]


def body_of(record: dict[str, Any]) -> bytes:
    return base64.b64decode(record["body_b64"]) if record["body_b64"] else (record["body"] or "").encode()


def invocation(record: dict[str, Any]) -> Invocation:
    headers: Headers = tuple((name, value) for name, value in record["headers"])
    operation = read_operation(record["method"], record["path"])
    return read_invocation(operation, headers, body_of(record), "r-1")


def captured(client: str, n: int) -> dict[str, Any]:
    return next(record for record in RECORDS if record["client"] == client and record["n"] == n)


def test_there_is_something_to_parse() -> None:
    """All clients that call SageMaker are among the captures."""
    assert len(SERVED) == 134
    assert {record["client"].split("_")[0] for record in SERVED} == {"aiobotocore", "awscli", "boto3"}


@pytest.mark.parametrize("record", SERVED, ids=identity)
def test_every_captured_call_is_understood(record: dict[str, Any]) -> None:
    """Endpoint, operation, body and every modelled header of a real client's call are found again in the invocation."""
    found = invocation(record)
    sent = {name.lower(): value for name, value in record["headers"] if value}
    assert found.endpoint == record["path"].split("/")[2]
    assert found.streaming is record["path"].endswith(STREAM)
    assert found.body == body_of(record)
    assert found.content_type == sent.get("content-type")
    assert found.accept == sent.get("x-amzn-sagemaker-accept" if found.streaming else "accept")
    named = {
        "custom-attributes": found.custom_attributes,
        "target-model": found.target_model,
        "target-variant": found.target_variant,
        "target-container-hostname": found.target_container_hostname,
        "inference-id": found.inference_id,
        "enable-explanations": found.enable_explanations,
        "inference-component": found.component,
        "session-id": found.session_id,
        "prefix-aware-id": found.prefix_aware_id,
    }
    assert named == {name: sent.get(f"x-amzn-sagemaker-{name}") for name in named}
    attempt = sent.get("amz-sdk-request", "attempt=1").split(";")[0]
    assert f"attempt={found.sdk_attempt}" == attempt
    assert found.sdk_invocation_id == sent.get("amz-sdk-invocation-id")


@pytest.mark.parametrize("record", REFUSED, ids=identity)
def test_every_other_captured_call_is_refused_by_type(record: dict[str, Any]) -> None:
    """Asynchronous calls are told that they are not offered yet, and another API's paths that they are unknown here."""
    with pytest.raises(WireError) as caught:
        invocation(record)
    expected = "ValidationError" if record["path"].endswith("/async-invocations") else "UnknownOperationException"
    assert caught.value.reply.type == expected


@pytest.mark.parametrize("client", BOTO3)
def test_the_fullest_call_of_boto3(client: str) -> None:
    """Every parameter that boto3 can send with InvokeEndpoint arrives in its field."""
    found = invocation(captured(client, 1))
    assert (found.content_type, found.accept, found.custom_attributes) == (
        "application/json",
        "application/json",
        "trace=1,tenant=a",
    )
    assert (found.target_model, found.target_variant, found.target_container_hostname) == ("m1.tar.gz", "v1", "c1")
    assert (found.inference_id, found.enable_explanations, found.component) == ("inf-1", "`true`", "ic-1")
    assert found.session_id == "NEW_SESSION"


@pytest.mark.parametrize("client", BOTO3)
def test_the_emptiest_call_of_boto3(client: str) -> None:
    """A call without type, Accept and body is a call."""
    found = invocation(captured(client, 3))
    assert (found.content_type, found.accept, found.body) == (None, None, b"")


@pytest.mark.parametrize("client", BOTO3)
def test_a_binary_call_of_boto3(client: str) -> None:
    """Bytes that are no text stay the bytes they are."""
    found = invocation(captured(client, 2))
    assert (found.content_type, found.body) == ("application/octet-stream", b"\x00\x01\xff" * 10)


def test_a_retry_is_known_as_one() -> None:
    """Attempts of one call share the SDK's id and count up."""
    retries = [invocation(record) for record in RECORDS if record["client"] == "boto3_1_43_117_429"]
    assert [found.sdk_attempt for found in retries] == [1, 2, 3, 4, 5]


def test_the_captures_hold_no_secret() -> None:
    """Whoever adds a capture must have replaced signatures, keys and tokens."""
    text = (Path(__file__).parents[2] / "data" / "requests.json").read_text()
    for mark in ("AKIA", "ASIA", "Signature=0", "Signature=a", "X-Amz-Security-Token"):
        assert mark not in text
