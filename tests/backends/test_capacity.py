"""How much of a target is there: SageMaker's word for it, or who answers."""

from __future__ import annotations

import asyncio

import pytest

from backends.capacity import AGAIN, Capacity
from backends.http.transport import HttpTransport
from policies.table import BedrockSpec, EndpointSpec, Target, VllmSpec


class Server:
    """Answers every request with one status, and counts them."""

    def __init__(self, status: str = "200 OK") -> None:
        self.status = status
        self.asked: list[str] = []
        self.url = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split(b" ")[1].decode())
        writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


async def serve(server: Server) -> asyncio.Server:
    listening = await asyncio.start_server(server, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    return listening


async def never(target: Target, spec: EndpointSpec) -> float:
    raise AssertionError(target)


async def test_replicas_that_answer_are_counted(transport: HttpTransport) -> None:
    """Two of three engines are there: one is well, one does not know the path, one is broken."""
    servers = Server(), Server("404 Not Found"), Server("503 Service Unavailable")
    listening = [await serve(one) for one in servers]
    spec = VllmSpec((*(one.url for one in servers), "http://127.0.0.1:1"), "m")
    capacity = Capacity(transport, never, asyncio.get_running_loop().time)
    assert await capacity.units(Target("engines", "vllm", spec)) == 2.0
    assert servers[0].asked == ["/health"]
    for one in listening:
        one.close()


async def test_endpoint_at_a_url_is_asked_there(transport: HttpTransport) -> None:
    """It is one, or none."""
    server = Server()
    listening = await serve(server)
    capacity = Capacity(transport, never, asyncio.get_running_loop().time)
    assert await capacity.units(Target("x", "endpoint", EndpointSpec("x", url=server.url))) == 1.0
    assert server.asked == ["/ping"]
    listening.close()
    await listening.wait_closed()
    assert await capacity.units(Target("y", "endpoint", EndpointSpec("y", url=server.url))) == 0.0


async def test_endpoint_of_sagemaker_is_described(transport: HttpTransport) -> None:
    """Its answer holds for a while; then it is asked again."""
    found, now = [4.0, 1.0], [0.0]

    async def instances(target: Target, spec: EndpointSpec) -> float:
        return found.pop(0)

    capacity = Capacity(transport, instances, lambda: now[0])
    target = Target("x", "endpoint", EndpointSpec("x"), region="us-east-1")
    assert [await capacity.units(target) for _ in range(3)] == [4.0, 4.0, 4.0]
    now[0] = AGAIN
    assert await capacity.units(target) == 1.0
    found.append(2.0)
    now[0] += 5.0
    assert [await capacity.units(target, age) for age in (AGAIN, 5.0)] == [1.0, 2.0]


async def test_what_sagemaker_does_not_say_is_not_known(
    transport: HttpTransport, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once why, and again after it had been known."""
    answers: list[float | None] = [None, None, 2.0, None]
    now = [0.0]

    async def instances(target: Target, spec: EndpointSpec) -> float:
        now[0] += AGAIN
        answer = answers.pop(0)
        if answer is None:
            message = "not allowed"
            raise OSError(message)
        return answer

    capacity = Capacity(transport, instances, lambda: now[0])
    target = Target("x", "endpoint", EndpointSpec("x"), region="us-east-1")
    found = []
    for _ in range(4):
        found.append(await capacity.units(target))
        now[0] += AGAIN
    assert found == [None, None, 2.0, None]
    assert caplog.text.count("not allowed") == 2


async def test_bedrock_does_not_say_how_many_copies_there_are(transport: HttpTransport) -> None:
    """There is nothing to ask."""
    capacity = Capacity(transport, never, lambda: 0.0)
    arn = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghijkl"
    assert await capacity.units(Target("x", "bedrock", BedrockSpec(arn))) is None
