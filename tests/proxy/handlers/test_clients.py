"""A customer's failures as boto3 sees them: the model's own, and never with the customer's frames."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import pytest

from backends.base import Reply
from backends.http.edge import ByteBudget, Listener
from proxy.faces.runtime_api import RuntimeApi
from tests.proxy.handlers.customers import Handled, events, handled

SOURCE = """
class Bad(Exception):
    status_code = 422
def before(call):
    if call.body == b"status":
        raise Bad("prompt missing")
    if call.body == b"plain":
        raise ValueError("SECRET")
    if call.body == b"slow":
        import time
        time.sleep(300)
def during(event):
    if b"stop" in event.data:
        raise Bad("stopped here")
    if b"break" in event.data:
        raise ValueError("SECRET")
def after(reply):
    return {"wrapped": reply.json()}
"""


@asynccontextmanager
async def client(tmp_path: Path, timeout: str = "60s") -> AsyncIterator[tuple[Any, Handled]]:
    async with handled(tmp_path, SOURCE, f"run: process, timeout: {timeout}") as proxy:
        proxy.services = type(proxy.services)(
            **{name: getattr(proxy.services, name) for name in proxy.services.__slots__}
        )
        face = RuntimeApi(proxy.services)
        listener = Listener(face.handle, face.malformed, ByteBudget(1 << 20), drain=1.0)
        port = await listener.start("127.0.0.1", 0)
        made = boto3.client(
            "sagemaker-runtime",
            region_name="us-east-1",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=botocore.config.Config(retries={"total_max_attempts": 1}),
        )
        try:
            yield made, proxy
        finally:
            made.close()
            await listener.stop()


async def failure(made: Any, body: bytes) -> dict[str, Any]:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        await asyncio.to_thread(made.invoke_endpoint, EndpointName="chat", Body=body)
    response: dict[str, Any] = caught.value.response
    return response


async def test_answer_and_failures_through_boto3(tmp_path: Path) -> None:
    """A 424 ModelError with the status that the exception names, 500 without one; slow hooks are model time-outs."""
    async with client(tmp_path, "8s") as (made, proxy):
        proxy.answers({"a": 1})
        answer = await asyncio.to_thread(made.invoke_endpoint, EndpointName="chat", Body=b"x")
        assert json.loads(answer["Body"].read()) == {"wrapped": {"a": 1}}
        told = {body: await failure(made, body) for body in (b"status", b"plain", b"slow")}
        for response in told.values():
            assert response["Error"]["Code"] == "ModelError"
            assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
            assert "SECRET" not in json.dumps(response, default=str)
            assert "model.py" not in json.dumps(response, default=str)
        statuses = [response["OriginalStatusCode"] for response in told.values()]
        assert statuses == [422, 500, 0]
        assert told[b"status"]["OriginalMessage"] == "prompt missing"
        text = proxy.services.meters.render({})
        labels = 'endpoint="chat",component="",target="",kind=""'
        assert f"pointsman_invocation_4xx_errors_total{{{labels}}} 1" in text
        assert f"pointsman_invocation_5xx_errors_total{{{labels}}} 2" in text
        proxy.services.log.close()
        lines = [json.loads(line) for line in proxy.log.getvalue().splitlines()]
        assert [(line["ended"], line.get("handler_status")) for line in lines] == [
            ("done", None),
            ("failed", 422),
            ("failed", 500),
            ("failed", 504),
        ]
        # Whose fault it was, and not that of a target, which nobody has asked.
        whys = ["chat's handler: raised", "chat's handler: raised", "chat's handler: timed_out"]
        assert [line["why"] for line in lines[1:]] == whys


@pytest.mark.parametrize(("word", "said"), [("stop", "stopped here"), ("break", "The model's handler failed.")])
async def test_failure_inside_a_stream(tmp_path: Path, word: str, said: str) -> None:
    """The events before it arrive, then a ModelStreamError frame that boto3 raises."""
    async with client(tmp_path) as (made, proxy):
        proxy.answers(events('{"a":1}', json.dumps(word), '{"b":1}'))

        def read() -> tuple[list[bytes], str]:
            answer = made.invoke_endpoint_with_response_stream(EndpointName="chat", Body=b"x")
            parts: list[bytes] = []
            try:
                for event in answer["Body"]:
                    parts.append(event["PayloadPart"]["Bytes"])  # noqa: PERF401 - what came before the error counts
            except botocore.exceptions.EventStreamError as error:
                return parts, str(error)
            finally:
                answer["Body"].close()
            return parts, "no error"

        parts, error = await asyncio.to_thread(read)
        assert parts == [b'data: {"a":1}\n\n']
        assert "ModelStreamError" in error
        assert said in error
        assert "SECRET" not in error


async def test_stream_that_ends_well(tmp_path: Path) -> None:
    """Unchanged events arrive as they were, one a part."""
    async with client(tmp_path) as (made, proxy):
        proxy.answers(events("1", "2"), Reply(b"unused"))

        def read() -> list[bytes]:
            answer = made.invoke_endpoint_with_response_stream(EndpointName="chat", Body=b"x")
            return [event["PayloadPart"]["Bytes"] for event in answer["Body"]]

        assert await asyncio.to_thread(read) == [b"data: 1\n\n", b"data: 2\n\n"]
