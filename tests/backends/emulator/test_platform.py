"""SageMaker as the platform around a container: what reaches it, what comes back wrapped, and when it is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from botocore.exceptions import ClientError, EventStreamError

from tests.standins import Standin, config_of, running_emulator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer(status: int, body: bytes, *headers: str) -> bytes:
    """A whole answer as a container writes it."""
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n" + "".join(f"{line}\r\n" for line in headers)
    return head.encode() + b"\r\n" + body


@dataclass
class Seen:
    """A request as it reached the container."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Say:
    """What a container writes for one request, and what it does then."""

    data: bytes = b""
    then: Literal["go on", "close", "hold"] = "go on"


@dataclass
class Box:
    """A container: it answers `/ping` with `health`, and each invocation with the next of `says` or the last."""

    says: list[Say]
    health: bytes = OK
    seen: list[Seen] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when an invocation has been read and what there was to say is written."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._serve(reader, writer):
                pass
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines[1:-2])}
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        if lines[0].startswith("GET /ping "):
            writer.write(self.health)
            return True
        self.seen.append(Seen(lines[0], fields, body))
        said = self.says[min(len(self.seen), len(self.says)) - 1]
        writer.write(said.data)
        await writer.drain()
        self.asked.set()
        if said.then == "hold":
            await reader.read()  # until the platform gives up
        return said.then == "go on"


@asynccontextmanager
async def around(box: Box, **settings: Any) -> AsyncIterator[Standin]:
    """The platform around `box`: endpoint `mine`, and `part` on the endpoint `shared`."""
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    container = {"url": f"http://127.0.0.1:{port}"}
    models = {
        "mine": {"kind": "endpoint", "container": container, "variant": "blue"},
        "part": {"kind": "component", "endpoint": "shared", "container": container},
    }
    try:
        async with running_emulator(config_of(models, **settings)) as standin:
            yield standin
    finally:
        server.close()


async def invoke(standin: Standin, **params: Any) -> dict[str, Any]:
    """InvokeEndpoint through botocore; the body is read."""

    def call() -> dict[str, Any]:
        found = standin.client("sagemaker-runtime").invoke_endpoint(**{"EndpointName": "mine", "Body": b"b"} | params)
        return {**found, "Body": found["Body"].read()}

    return await asyncio.to_thread(call)


async def stream(standin: Standin, **params: Any) -> tuple[dict[str, Any], list[bytes], Exception | None]:
    """InvokeEndpointWithResponseStream through botocore: head, parts, and what ended them."""

    def call() -> tuple[dict[str, Any], list[bytes], Exception | None]:
        client = standin.client("sagemaker-runtime")
        found = client.invoke_endpoint_with_response_stream(**{"EndpointName": "mine", "Body": b"b"} | params)
        parts: list[bytes] = []
        with closing(found["Body"]) as events:
            try:
                parts.extend(event["PayloadPart"]["Bytes"] for event in events)
            except EventStreamError as error:
                return found, parts, error
        return found, parts, None

    return await asyncio.to_thread(call)


async def refused(call: Callable[[], Any]) -> dict[str, Any]:
    """The parsed answer of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        await call()
    found: dict[str, Any] = caught.value.response
    return found


GIVEN = {
    "ContentType": "text/csv",
    "CustomAttributes": "a=b",
    "InferenceId": "i-1",
    "SessionId": "s-1",
    "TargetVariant": "blue",
    "EnableExplanations": "x",
}


async def test_a_container_sees_the_contracts_headers_and_the_whole_body() -> None:
    """Type, accept, attributes, inference id and session; no signature, no SDK headers, no target."""
    box = Box([Say(answer(200, b"ok"))])
    async with around(box) as standin:
        await invoke(standin, Body=b"\x00" * 70_000, Accept="text/x", **GIVEN)
    seen = box.seen[0]
    assert (seen.line, seen.body) == ("POST /invocations HTTP/1.1", b"\x00" * 70_000)
    assert set(seen.headers) - {"host", "content-length"} == {
        "content-type",
        "accept",
        "x-amzn-sagemaker-custom-attributes",
        "x-amzn-sagemaker-inference-id",
        "x-amzn-sagemaker-session-id",
    }
    assert (seen.headers["accept"], seen.headers["content-type"]) == ("text/x", "text/csv")


async def test_nothing_is_added_that_the_client_did_not_send() -> None:
    """Neither a type nor an accept of the HTTP client's own."""
    box = Box([Say(answer(200, b"ok"))])
    async with around(box) as standin:
        await invoke(standin)
    assert set(box.seen[0].headers) == {"host", "content-length"}


async def test_a_component_is_not_told_its_name() -> None:
    """The header that names it is the platform's."""
    box = Box([Say(answer(200, b"ok"))])
    async with around(box) as standin:
        await invoke(standin, EndpointName="shared", InferenceComponentName="part")
    assert "x-amzn-sagemaker-inference-component" not in box.seen[0].headers


async def test_a_streams_accept_reaches_the_container_under_its_usual_name() -> None:
    """`X-Amzn-SageMaker-Accept` is a name between client and platform."""
    box = Box([Say(answer(200, b"ok"))])
    async with around(box) as standin:
        await stream(standin, Accept="text/x")
    assert box.seen[0].headers["accept"] == "text/x"


async def test_a_client_gets_type_attributes_and_sessions_of_the_container() -> None:
    """And the variant's name; what else the container sends is dropped."""
    said = ("Content-Type: text/x", "X-Amzn-SageMaker-Custom-Attributes: c", "X-Amzn-SageMaker-Closed-Session-Id: s")
    box = Box([Say(answer(200, b"ok", *said, "x-pointsman-target: t", "X-Amzn-SageMaker-New-Session-Id: n"))])
    async with around(box) as standin:
        found = await invoke(standin)
    assert (found["Body"], found["ContentType"], found["CustomAttributes"]) == (b"ok", "text/x", "c")
    assert (found["NewSessionId"], found["ClosedSessionId"], found["InvokedProductionVariant"]) == ("n", "s", "blue")
    assert "x-pointsman-target" not in found["ResponseMetadata"]["HTTPHeaders"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "client error (400)"),
        (429, "client error (429)"),
        (503, "server error (503)"),
        (302, "server error (302)"),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
async def test_an_error_of_the_container_is_a_model_error(status: int, words: str, streamed: bool) -> None:
    """Its status and body inside a 424, on both operations."""
    async with around(Box([Say(answer(status, b"why"))])) as standin:
        found = await refused(lambda: (stream if streamed else invoke)(standin))
    assert (found["Error"]["Code"], found["ResponseMetadata"]["HTTPStatusCode"]) == ("ModelError", 424)
    assert (found["OriginalStatusCode"], found["OriginalMessage"]) == (status, "why")
    assert words in found["Error"]["Message"]


async def test_each_chunk_is_a_part() -> None:
    """The type moves to its own header, the bytes are the container's."""
    box = Box([Say(CHUNKED + b"3\r\na\n\n\r\n3\r\nb\n\n\r\n0\r\n\r\n")])
    async with around(box) as standin:
        head, parts, error = await stream(standin)
    assert (parts, error) == ([b"a\n\n", b"b\n\n"], None)
    assert (head["ContentType"], head["InvokedProductionVariant"]) == ("text/event-stream", "blue")


async def test_a_stream_that_breaks_off_is_told() -> None:
    """As a ModelStreamError after what had come."""
    async with around(Box([Say(CHUNKED + b"3\r\na\n\n\r\n", "close")])) as standin:
        _, parts, error = await stream(standin)
    assert parts == [b"a\n\n"]
    assert "ModelStreamError" in str(error)


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"HTTP/1.1 2", b"garbage\r\n\r\n"]
)
async def test_an_answer_that_breaks_off_is_a_model_error(said: bytes) -> None:
    """The client hears of it and gets no half answer."""
    async with around(Box([Say(said, "close")])) as standin:
        found = await refused(lambda: invoke(standin))
    assert (found["Error"]["Code"], found["OriginalStatusCode"]) == ("ModelError", 0)


@pytest.mark.parametrize("health", [answer(503, b"loading"), b"nonsense\r\n\r\n"])
async def test_an_endpoint_is_not_there_before_its_container_is_healthy(health: bytes) -> None:
    """And once it has been healthy it is not asked again."""
    box = Box([Say(answer(200, b"ok"))], health=health)
    async with around(box) as standin:
        found = await refused(lambda: invoke(standin))
        assert found["Error"]["Message"] == "Endpoint mine of account 123456789012 not found."
        box.health = OK
        assert (await invoke(standin))["Body"] == b"ok"
        box.health = health
        assert (await invoke(standin))["Body"] == b"ok"


async def test_nothing_listening_is_no_endpoint() -> None:
    """A container that has not started yet."""
    models = {"mine": {"kind": "endpoint", "container": {"url": "http://127.0.0.1:1"}}}
    async with running_emulator(config_of(models)) as standin:
        found = await refused(lambda: invoke(standin))
    assert "not found" in found["Error"]["Message"]


@pytest.mark.parametrize(("streamed", "limit"), [(False, 60.0), (True, 480.0)])
async def test_a_container_that_does_not_answer_is_cut_off(streamed: bool, limit: float) -> None:
    """At the service's limit and not before, by the emulator's clock, with the text that clients match."""
    box = Box([Say(then="hold")])
    async with around(box) as standin:
        standin.emulator.clock.freeze()
        failing = asyncio.ensure_future(refused(lambda: (stream if streamed else invoke)(standin)))
        await box.asked.wait()
        standin.emulator.clock.advance(limit - 0.1)
        done, _ = await asyncio.wait({failing}, timeout=0.1)
        assert not done
        standin.emulator.clock.advance(0.2)
        found = await failing
    assert (found["Error"]["Code"], found["OriginalStatusCode"]) == ("ModelError", 0)
    assert "timed out while waiting for a response from container primary" in found["Error"]["Message"]


async def test_half_a_body_at_the_limit_is_a_timeout() -> None:
    """A stream on the unary operation has 60 s in all."""
    box = Box([Say(CHUNKED + b"3\r\na\n\n\r\n", "hold")])
    async with around(box) as standin:
        standin.emulator.clock.freeze()
        failing = asyncio.ensure_future(refused(lambda: invoke(standin)))
        await box.asked.wait()
        standin.emulator.clock.advance(61)
        found = await failing
    assert found["OriginalStatusCode"] == 0


async def test_a_stream_at_its_limit_ends_in_a_frame_that_says_so() -> None:
    """After the parts that had come."""
    box = Box([Say(CHUNKED + b"3\r\na\n\n\r\n", "hold")])
    async with around(box) as standin:
        standin.emulator.clock.freeze()
        reading = asyncio.ensure_future(stream(standin))
        await box.asked.wait()
        while not any(call["parts"] for call in (await asyncio.to_thread(standin.control, "GET", "calls"))[1]):
            pass
        standin.emulator.clock.advance(481)
        _, parts, error = await reading
    assert b"".join(parts).startswith(b"a\n\n")
    assert "time limit" in str(error)


async def test_faults_of_the_platform_strike_before_the_container() -> None:
    """The container is not asked."""
    box = Box([Say(answer(200, b"ok"))])
    async with around(box) as standin:
        standin.set_faults("mine", "ServiceUnavailable")
        found = await refused(lambda: invoke(standin))
    assert (found["Error"]["Code"], box.seen) == ("ServiceUnavailable", [])


async def test_a_client_that_goes_frees_the_containers_place() -> None:
    """Nothing of a call is left in flight."""
    box = Box([Say(then="hold"), Say(answer(200, b"ok"))])
    async with around(box, signatures="off") as standin:
        _, writer = await asyncio.open_connection("127.0.0.1", standin.port)
        writer.write(b"POST /endpoints/mine/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
        await box.asked.wait()
        writer.close()
        await writer.wait_closed()
        while (await asyncio.to_thread(standin.control, "GET", "models"))[1]["mine"]["in_flight"]:
            pass
        assert (await invoke(standin))["Body"] == b"ok"
