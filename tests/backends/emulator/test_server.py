"""The emulator as a whole: starting, stopping, signatures, dispatch."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backends.emulator.server import Emulator
from tests.standins import IMPORT_ARN, Standin, config_of, emulator_in_thread, running_emulator

BODY = json.dumps({"messages": [{"role": "user", "content": "hi"}]})


def invoke(client: Any, body: Any = BODY, endpoint: str = "dedicated") -> Any:
    return client.invoke_endpoint(EndpointName=endpoint, Body=body)["Body"].read()


def error_of(client: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as found:
        invoke(client)
    response = found.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


async def test_it_runs_in_the_tests_own_loop() -> None:
    """A boto3 client in a thread and the emulator in the loop: many calls at a time."""
    async with running_emulator() as standin:
        client = standin.client("sagemaker-runtime")
        answers = await asyncio.gather(*(asyncio.to_thread(invoke, client) for _ in range(20)))
        assert len(answers) == 20
        assert len(standin.emulator.journal.calls) == 20
        while standin.emulator.models["dedicated"].state()["in_flight"]:  # noqa: ASYNC110 - it ends after its answer
            await asyncio.sleep(0)


async def test_nothing_listens_after_stop() -> None:
    """The port is free again; stopping twice, or before starting, does nothing; a hanging call does not hold it up."""
    emulator = Emulator(config_of(signatures="off"))
    await emulator.stop()
    port = await emulator.start()
    emulator.models["dedicated"].set_faults(["hang"])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /endpoints/dedicated/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    while not emulator.journal.calls:
        await emulator.clock.rest(0.001)
    await asyncio.wait_for(emulator.stop(), 60)
    await emulator.stop()
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_port_in_use_is_an_os_error() -> None:
    """And leaves nothing behind."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        emulator = Emulator(config_of())
        with pytest.raises(OSError, match="in use"):
            await emulator.start("127.0.0.1", taken.getsockname()[1])
        await emulator.stop()


@pytest.mark.parametrize(
    ("credentials", "error"),
    [
        ({"secret_access_key": "other"}, "InvalidSignatureException"),
        ({"access_key_id": "AKIDOTHER"}, "UnrecognizedClientException"),
        ({"session_token": "t"}, "UnrecognizedClientException"),
        ({"region": "eu-west-1"}, "InvalidSignatureException"),
    ],
)
def test_wrong_signatures_are_refused(standin: Standin, credentials: dict[str, str], error: str) -> None:
    """403 with AWS's own error, on both services, and no model runs."""
    assert error_of(standin.client("sagemaker-runtime", **credentials)) == (error, 403)  # type: ignore[arg-type]  # texts only
    bedrock = standin.client("bedrock-runtime", **credentials)  # type: ignore[arg-type]  # texts only
    with pytest.raises(ClientError) as found:
        bedrock.invoke_model(modelId=IMPORT_ARN, body=BODY)
    assert found.value.response["Error"]["Code"] == error
    assert all(call["signature"] == error for call in standin.control("GET", "calls")[1])
    assert all(model["calls"] == 0 for model in standin.control("GET", "ledger")[1].values())


def test_signatures_come_before_everything_else(standin: Standin) -> None:
    """An unsigned call learns nothing of which endpoints there are."""
    for path in ("/endpoints/nope/invocations", "/model/nope/invoke"):
        status, headers, _ = standin.http("POST", path, b"x")
        assert (status, headers["x-amzn-errortype"]) == (403, "MissingAuthenticationTokenException")


def test_log_lets_a_wrong_signature_through_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """The journal has the error that strict would give, and a warning names the request, not the key's secret."""
    with emulator_in_thread(config_of(signatures="log")) as standin, caplog.at_level(logging.WARNING):
        assert invoke(standin.client("sagemaker-runtime", secret_access_key="other-secret"))
        (call,) = standin.control("GET", "calls")[1]
        assert call["signature"] == "InvalidSignatureException"
    assert "InvalidSignatureException" in caplog.text
    assert "other-secret" not in caplog.text


def test_off_asks_for_nothing() -> None:
    """Unsigned calls are answered."""
    with emulator_in_thread(config_of(signatures="off")) as standin:
        assert standin.http("POST", "/endpoints/dedicated/invocations", BODY.encode())[0] == 200
        assert standin.control("GET", "calls")[1][0]["signature"] == "off"


def test_a_large_body_arrives_whole_and_signed(standin: Standin) -> None:
    """24 MiB through boto3, the loop's signature check included."""
    body = bytes(24 * 1024 * 1024)
    assert invoke(standin.client("sagemaker-runtime"), body, "echo") == body
    (call,) = standin.control("GET", "calls")[1]
    assert (call["size"], call["signature"], call["body"]) == (len(body), "ok", None)


def test_a_body_above_every_limit_is_read_and_dropped() -> None:
    """It is answered with 413, not remembered, and its signature cannot be checked."""
    with emulator_in_thread(config_of(limits={"sagemaker_body": 100, "bedrock_body": 100})) as standin:
        assert error_of_body(standin, bytes(200_000)) == 413
        (call,) = standin.control("GET", "calls")[1]
        assert (call["size"], call["signature"]) == (200_000, "body too large to check")


def error_of_body(standin: Standin, body: bytes) -> int:
    with pytest.raises(ClientError) as found:
        invoke(standin.client("sagemaker-runtime"), body)
    return int(found.value.response["ResponseMetadata"]["HTTPStatusCode"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/endpoints/dedicated/invocations"),
        ("POST", "/gw/endpoints/dedicated/invocations"),
        ("POST", "/model/x"),
    ],
)
def test_unknown_paths_are_unknown_operations(standin: Standin, method: str, path: str) -> None:
    """A path that AWS does not have is 404, a prefix included: a proxy must not invent paths."""
    status, headers, _ = standin.http(method, path)
    assert (status, headers["x-amzn-errortype"]) == (404, "UnknownOperationException")


def test_the_journal_has_the_path_as_it_was_sent(standin: Standin) -> None:
    """Raw, so that a test can tell one encoding from another."""
    client = standin.client("bedrock-runtime")
    client.invoke_model(modelId=IMPORT_ARN, body=BODY)["body"].read()
    (call,) = standin.control("GET", "calls")[1]
    assert call["target"] == f"/model/{IMPORT_ARN.replace(':', '%3A').replace('/', '%2F')}/invoke"


def test_request_ids_differ_and_are_boto3s(standin: Standin) -> None:
    """x-amzn-RequestId is what boto3 shows, and the journal finds the call by it."""
    client = standin.client("sagemaker-runtime")
    ids = [
        client.invoke_endpoint(EndpointName="dedicated", Body=BODY)["ResponseMetadata"]["RequestId"] for _ in range(2)
    ]
    assert [call["request_id"] for call in standin.control("GET", "calls")[1]] == ids
    assert len(set(ids)) == 2
