"""A client that goes away: its upstream call ends with it, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proxy.server import running
from proxy.services import Services
from proxy.settings import Settings
from proxy.wiring import serving

SOON = 5.0
"""Seconds within which the engine sees that its caller has gone: fifty times what is promised, for a busy machine.

Were it not told, it would see it at the deadline, 20 s later.
"""
POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets: {engine: {kind: vllm, url: "URL", model: m, limit: {min: 1, max: LIMIT}}}
endpoints: {chat: {serve_from: engine, timeout: 20s, retry: {attempts: ATTEMPTS}}}
"""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"d\r\ndata: hello\n\n\r\n"


@dataclass
class Engine:
    """An engine that sends what it is told to and then says nothing more; it notes when its caller has gone."""

    says: bytes
    asked: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    gone: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    calls: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.calls += 1
            writer.write(self.says)
            self.asked.release()
            while await reader.read(1000):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.gone.release()
            writer.close()


@asynccontextmanager
async def proxied(
    engine: Engine, folder: Path, limit: int = 1000, attempts: int = 1
) -> AsyncIterator[tuple[int, Services]]:
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
    policy, log = folder / "policy.yaml", folder / "log"
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    policy.write_text(POLICY.replace("URL", url).replace("LIMIT", str(limit)).replace("ATTEMPTS", str(attempts)))
    settings = Settings(policy=str(policy), port=0, admin_port=0, drain=1.0, log=str(log))
    async with serving(settings, {}) as services, running(settings, services) as addresses:
        yield addresses.port, services
    server.close()
    await server.wait_closed()


async def client(port: int, operation: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST /endpoints/chat/{operation} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    return reader, writer


def left() -> tuple[int, int]:
    """Tasks and open descriptors."""
    return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))


async def until(reached: Callable[[], bool]) -> None:
    """Wait for a state that nobody tells of; the test's own time limit bounds it."""
    while not reached():  # noqa: ASYNC110 - descriptors and queues have no event to wait for
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("operation", "says", "reads"),
    [
        ("invocations", b"", 0),
        ("invocations", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", 0),
        ("invocations-response-stream", b"", 0),
        ("invocations-response-stream", HEAD, 0),
        ("invocations-response-stream", HEAD + EVENT, 1),
    ],
    ids=["waiting", "half an answer", "stream not begun", "stream without a piece", "in the stream"],
)
async def test_the_upstream_call_ends_with_the_client(operation: str, says: bytes, reads: int, tmp_path: Path) -> None:
    """Within 100 ms, at whatever stage, and twenty of them leave no task and no descriptor."""
    loop = asyncio.get_running_loop()
    engine = Engine(says)
    async with proxied(engine, tmp_path) as (port, services):
        before, waits = left(), []
        for _ in range(20):
            reader, writer = await client(port, operation)
            await engine.asked.acquire()
            if reads:
                await reader.readuntil(b"hello")
            began = loop.time()
            writer.transport.abort()
            await engine.gone.acquire()
            waits.append(loop.time() - began)
        await until(lambda: all(now <= then for now, then in zip(left(), before, strict=True)))
        views = services.book.views(services.policy.current.table.targets.values())
        assert views["engine"][0].in_flight == 0
        assert [state[2:] for state in services.gates.states()] == [(0, 0)]
    # The median: a machine that is busy with other things may be late for one.
    assert sorted(waits)[len(waits) // 2] < SOON


async def test_a_client_that_goes_while_it_queues_never_reaches_the_target(tmp_path: Path) -> None:
    """Its place in the queue is free again, and the one behind it is served."""
    engine = Engine(b"")
    async with proxied(engine, tmp_path, limit=1) as (port, services):
        _, inside = await client(port, "invocations")
        await engine.asked.acquire()
        _, queued = await client(port, "invocations")
        await until(lambda: [state[3] for state in services.gates.states()] == [1])
        queued.transport.abort()
        await until(lambda: [state[3] for state in services.gates.states()] == [0])
        inside.transport.abort()
        await engine.gone.acquire()
        _, next_one = await client(port, "invocations")
        await engine.asked.acquire()
        next_one.transport.abort()
        await engine.gone.acquire()
        assert engine.calls == 2


async def test_a_client_that_goes_before_a_repeat_has_not_waited_for_it(tmp_path: Path) -> None:
    """The wait that its target asked for ends with it, and no more than has passed is told of it."""
    engine = Engine(b"HTTP/1.1 503 Busy\r\nRetry-After: 15\r\nContent-Length: 0\r\n\r\n")
    async with proxied(engine, tmp_path, attempts=2) as (port, services):
        _, writer = await client(port, "invocations")
        await engine.asked.acquire()
        await until(lambda: [state[2:] for state in services.gates.states()] == [(0, 0)])
        writer.transport.abort()
        await until(lambda: (tmp_path / "log").read_text().endswith("\n"))
        line = json.loads((tmp_path / "log").read_text())
    assert (line["ended"], engine.calls) == ("client_gone", 1)
    assert line["backend_seconds"] <= line["seconds"]


async def test_clients_that_go_before_their_repeats_leave_the_budget_to_others(tmp_path: Path) -> None:
    """Twice as many as it has repeats saved up: none was made, so whoever stays has one."""
    engine = Engine(b"HTTP/1.1 503 Busy\r\nConnection: close\r\nRetry-After: 15\r\nContent-Length: 0\r\n\r\n")
    async with proxied(engine, tmp_path, attempts=2) as (port, services):
        for _ in range(20):
            _, writer = await client(port, "invocations")
            await engine.asked.acquire()
            await until(lambda: [state[2:] for state in services.gates.states()] == [(0, 0)])
            writer.transport.abort()
        await until(lambda: (tmp_path / "log").read_text().count("client_gone") == 20)
        engine.says = b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        reader, writer = await client(port, "invocations")
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert engine.calls == 22
