"""Limits of a proxy that stood still: what lies in its sockets by then is in time."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from proxy.server import running
from proxy.settings import Settings
from proxy.wiring import serving

STILL = 1.7
"""Seconds, in which each limit of the policy passes: 1.5 s, in which all requests are to be under way, also where the
machine has much else to do."""
POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  one: {kind: vllm, url: "http://127.0.0.1:PORT", model: m}
  two: {kind: vllm, url: "http://127.0.0.1:1", model: m}
  full: {kind: vllm, url: "http://127.0.0.1:PORT", model: m, limit: {min: 1, max: 1, wait: 1500ms}}
endpoints:
  hedged: {serve_from: one, fallback: [two], idempotent: true, hedge: {after: 1500ms, budget: 100%}}
  shared: {serve_from: one, fallback: [two], idempotent: true, timeout: 3s}
  full: {serve_from: full}
"""
ASKED = ("hedged", "shared", "full")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Engine:
    """Answers when three have asked, and holds the loop that the proxy runs in for a while; then each at once."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.StreamWriter] = []
        self.asked = 0
        self.serving: list[asyncio.Task[None] | None] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.serving.append(asyncio.current_task())
        while await reader.read(65536):
            self.asked += 1
            self._waiting.append(writer)
            if self.asked < len(ASKED):
                continue
            for each in self._waiting:
                each.write(ANSWER)
            if self.asked == len(ASKED):
                threading.Event().wait(STILL)
            self._waiting = []
        writer.close()
        await writer.wait_closed()


async def ask(port: int, endpoint: str) -> tuple[bytes, bytes]:
    """The status line of an answer, and where it came from."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST /endpoints/{endpoint}/invocations HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\n"
    )
    writer.write(head.encode() + b"hi")
    lines = (await reader.read()).split(b"\r\n")
    writer.close()
    await writer.wait_closed()
    return lines[0], next((line for line in lines if line.startswith(b"x-pointsman-target: ")), b"")


async def test_an_answer_that_came_meanwhile_is_in_time(tmp_path: Path) -> None:
    """Nothing is hedged, no attempt is given up, and who waits for a place gets the one that is free by then."""
    engine = Engine()
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("PORT", str(server.sockets[0].getsockname()[1])))
    settings = Settings(policy=str(policy), port=0, admin_port=0, drain=1.0, log=str(tmp_path / "log"))
    async with serving(settings, {}) as services, running(settings, services) as addresses:
        full = [asyncio.create_task(ask(addresses.port, "full")) for _ in range(2)]
        while not any(waiting for *_, waiting in services.gates.states()):  # noqa: ASYNC110 - a count tells nobody
            await asyncio.sleep(0)
        others = [asyncio.create_task(ask(addresses.port, endpoint)) for endpoint in ("hedged", "shared")]
        told = [await each for each in (*full, *others)]
    server.close()
    await asyncio.gather(*(each for each in engine.serving if each is not None))
    ok = b"HTTP/1.1 200 OK"
    assert told == [(ok, b"x-pointsman-target: full")] * 2 + [(ok, b"x-pointsman-target: one")] * 2
    assert engine.asked == 4
