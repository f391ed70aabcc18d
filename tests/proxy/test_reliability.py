"""Reliability over real sockets: a dead target is left alone, and a session finds its replica."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.server import running
from proxy.settings import Settings
from proxy.wiring import serving

POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  dead: {kind: vllm, url: "http://127.0.0.1:DEAD", model: m}
  engine: {kind: vllm, urls: ["http://127.0.0.1:ONE", "http://127.0.0.1:TWO"], model: m}
endpoints:
  chat: {serve_from: dead, fallback: [engine], sticky_by: "prefix:4"}
"""


class Engine:
    """Answers every request with its own name."""

    def __init__(self, name: bytes) -> None:
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(name), name)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(5)
        writer.write(self._answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def proxied(folder: Path) -> AsyncIterator[int]:
    one, two = [await asyncio.start_server(Engine(name).serve, "127.0.0.1", 0) for name in (b"one", b"two")]
    bound = socket.socket()  # bound and not listening: connections are refused, and nobody else gets the port
    bound.bind(("127.0.0.1", 0))
    text = POLICY.replace("DEAD", str(bound.getsockname()[1]))
    for word, server in (("ONE", one), ("TWO", two)):
        text = text.replace(word, str(server.sockets[0].getsockname()[1]))
    policy = folder / "policy.yaml"
    policy.write_text(text)
    settings = Settings(policy=str(policy), port=0, admin_port=0, drain=1.0, log=str(folder / "log"))
    async with serving(settings, {}) as services, running(settings, services) as addresses:
        yield addresses.port
    bound.close()
    for server in (one, two):
        server.close()
        await server.wait_closed()


async def ask(port: int, body: bytes) -> tuple[Mapping[str, str], bytes]:
    """Header fields and body of the answer to `body`, five bytes long."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"POST /endpoints/chat/invocations HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
    writer.write(head + body)
    answer, _, got = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200")
    fields = (line.decode().partition(": ") for line in answer.split(b"\r\n")[1:])
    return {name.lower(): value for name, _, value in fields}, got


async def test_a_dead_target_is_left_alone(tmp_path: Path) -> None:
    """Five requests find it dead and go on to the fallback; from then on they go there at once."""
    async with proxied(tmp_path) as port:
        attempts = [(await ask(port, b"hello"))[0]["x-pointsman-attempts"] for _ in range(8)]
    assert attempts == ["2"] * 5 + ["1"] * 3


async def test_bodies_that_begin_alike_go_to_one_replica(tmp_path: Path) -> None:
    """The first four bytes decide, whatever follows; other beginnings use the other replica."""
    async with proxied(tmp_path) as port:
        alike = {(await ask(port, b"hell" + end))[1] for end in (b"1", b"2", b"3", b"4")}
        others = {(await ask(port, b"%03d-x" % number))[1] for number in range(12)}
    assert len(alike) == 1
    assert others == {b"one", b"two"}
