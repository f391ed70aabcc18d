"""Requests that go by a policy which is no longer in force: what they take is given back, and binds nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.server import running
from proxy.services import Services
from proxy.settings import Settings
from proxy.wiring import serving

POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets: {NAME: {kind: vllm, url: "http://127.0.0.1:PORT", model: m, limit: {min: 1, max: MAX, queue: 0}}}
endpoints: {chat: {serve_from: NAME, timeout: 60s, retry: {attempts: 2}}}
"""
BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
BEGUN = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nd\r\ndata: hello\n\n\r\n"
)
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Engine:
    """Answers one request a connection; a stream goes on, and a held request waits, until it is told to end."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)
        self.busy = self.held = False
        self.go = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        streaming = b"true" in await reader.readuntil(b"}")
        self.asked.release()
        writer.write(BUSY if self.busy else BEGUN if streaming else b"")
        if streaming or self.held:
            await self.go.wait()
        writer.write(b"" if self.busy else b"0\r\n\r\n" if streaming else WHOLE)
        writer.close()
        await writer.wait_closed()


class Bench:
    """The proxy, and the engine that all of its targets are."""

    def __init__(self, port: int, services: Services, write: Path, engine: Engine, at: int) -> None:
        self.port, self.services, self.engine = port, services, engine
        self._file, self._at = write, at
        self._open: list[asyncio.StreamWriter] = []

    async def reload(self, name: str = "engine", most: int = 100) -> None:
        """Another policy is in force."""
        self._file.write_text(written(self._at, name, most))
        assert await self.services.policy.reload()

    async def ask(self, operation: str = "invocations") -> asyncio.StreamReader:
        """One request; `asked` of the engine says when it is there."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        body = b'{"stream": true}' if operation != "invocations" else b"{}"
        head = f"POST /endpoints/chat/{operation} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
        self._open.append(writer)  # one that nobody has is closed
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return reader

    def leave(self) -> None:
        """All clients go."""
        for writer in self._open:
            writer.close()


def written(port: int, name: str = "engine", most: int = 100) -> str:
    return POLICY.replace("NAME", name).replace("PORT", str(port)).replace("MAX", str(most))


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    engine = Engine()
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
    policy, port = folder / "policy.yaml", int(server.sockets[0].getsockname()[1])
    policy.write_text(written(port))
    settings = Settings(policy=str(policy), port=0, admin_port=0, drain=1.0, log=str(folder / "log"))
    async with serving(settings, {}) as services, running(settings, services) as addresses:
        made = Bench(addresses.port, services, policy, engine, port)
        yield made
        made.leave()
    server.close()
    await server.wait_closed()


async def test_a_target_that_is_gone_is_left_as_often_as_it_was_entered(tmp_path: Path) -> None:
    """Who waits for a repeat while his target leaves the policy: nobody is counted there then."""
    async with bench(tmp_path) as made:
        made.engine.busy = True
        asked = await made.ask()
        await made.engine.asked.acquire()
        while [state[2] for state in made.services.gates.states()] != [0]:  # noqa: ASYNC110 - a place tells nobody
            await asyncio.sleep(0.001)
        await made.reload("other")
        assert (await asked.read()).startswith(b"HTTP/1.1 424")
        assert {state[0]: state[2] for state in made.services.gates.states()} == {"engine": 0}
        await made.reload()
        views = made.services.book.views(made.services.policy.current.table.targets.values())
        assert [view.in_flight for view in views["engine"]] == [0]


async def test_a_stream_from_before_does_not_bring_its_limit_back(tmp_path: Path) -> None:
    """It ends by the policy that it began with; how many may be at the target is said by the one in force."""
    async with bench(tmp_path) as made:
        stream = await made.ask("invocations-response-stream")
        await stream.readuntil(b"hello")
        await made.reload(most=1)
        assert (await (await made.ask()).read()).startswith(b"HTTP/1.1 429")
        made.engine.go.set()
        await stream.read()
        made.engine.go.clear()
        made.engine.held = True
        first = await made.ask()
        await made.engine.asked.acquire()
        await made.engine.asked.acquire()
        assert (await (await made.ask()).read()).startswith(b"HTTP/1.1 429")
        made.engine.go.set()
        assert (await first.read()).startswith(b"HTTP/1.1 200")
