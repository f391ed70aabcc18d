"""`pointsman serve --workers 2` as an operator starts it, a model behind it, and clients that watch every answer."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

BODY = b'{"messages":[]}'
ANSWER = b'{"choices":[{"message":{"role":"assistant","content":"hi"}}],"usage":{"total_tokens":2}}'
EVENT = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
EVENTS = 30
"""Of a streamed answer; all but the first wait until the model is told to go on."""
LONGEST_WAIT = 120.0
"""Seconds after which a test gives up; on an idle machine all that is waited for takes less than two."""
TOKEN = "operator"


def policy_of(port: int, more: str = "") -> str:
    """One endpoint whose model is at `port`; nobody is turned away because this machine has much to do."""
    return f"""
apiVersion: pointsman/v1
account: "123456789012"
targets:
  first: {{kind: vllm, url: "http://127.0.0.1:{port}", model: m, region: us-east-1, limit: {{min: 100}}}}
endpoints:
  chat: {{serve_from: first, owner: us}}
{more}"""


class Model(int):
    """The port of a model."""

    held: asyncio.Event
    loop: asyncio.AbstractEventLoop

    def go_on(self) -> None:
        """Let its streams come to their end."""
        self.loop.call_soon_threadsafe(self.held.set)

    def hold(self) -> None:
        """Let its streams wait after their first event."""
        self.loop.call_soon_threadsafe(self.held.clear)


@contextmanager
def model(takes: Callable[[], float] = lambda: 0.005) -> Iterator[Model]:
    """A model whose next answer takes as many seconds as `takes` says, in a thread with a loop of its own; yields its
    port."""
    loop = asyncio.new_event_loop()
    held = asyncio.Event()

    async def stream(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for event in (*([EVENT] * EVENTS), b"data: [DONE]\n\n"):
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await held.wait()
            await asyncio.sleep(0.01)
        writer.write(b"0\r\n\r\n")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled when the target ends before it has heard that a worker has: its connection is closed all the same.
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                if b"stream" in await reader.readexactly(int(length[1]) if length else 0):
                    await stream(writer)
                    continue
                await asyncio.sleep(takes())
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
                writer.write(head + ANSWER)
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0, backlog=512))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    found = Model(server.sockets[0].getsockname()[1])
    found.held, found.loop = held, loop
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()


@dataclass
class Serving:
    """A running supervisor, as its operator sees it."""

    process: subprocess.Popen[bytes]
    policy: Path
    errors: Path
    log: Path
    port: int
    admin_port: int | None

    def read(self, path: str, host: str = "localhost") -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin_port}{path}", headers={"Host": host})
        with urllib.request.urlopen(request, timeout=LONGEST_WAIT) as answer:
            return str(answer.read().decode())

    def ready(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.read("/readyz"))
        return facts

    def write(self, path: str) -> Any:
        url = f"http://127.0.0.1:{self.admin_port}{path}"
        request = urllib.request.Request(url, method="POST", headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=LONGEST_WAIT) as answer:
            return json.load(answer)

    def pids(self) -> list[int]:
        return [int(worker["pid"]) for worker in self.ready()["workers"] if worker["pid"]]

    def value(self, name: str) -> float:
        """The sum of a metric over its labels."""
        found = re.findall(rf"^{name}(?:\{{[^\n]*\}})? (\S+)$", self.read("/metrics"), re.M)
        return sum(float(each) for each in found)

    def comes_to(self, name: str, wanted: float) -> None:
        """Until a metric adds up to `wanted`, and never to more: a worker that has much to do may be late to say so."""
        end = time.monotonic() + LONGEST_WAIT
        while (found := self.value(name)) != wanted:
            assert found < wanted, (found, wanted)
            assert time.monotonic() < end, (found, wanted)
            time.sleep(0.02)

    def spread(self, load: Load) -> None:
        """Let `load` run until every worker has had a part of it: on a busy machine one may be slow to accept."""
        connections: list[float] = []
        for _ in range(20):
            with load:
                load.more(100)
                connections = [self.value(f'pointsman_worker_connections{{worker="{number}"}}') for number in (0, 1)]
            if min(connections) > 0:
                return
        raise AssertionError(connections)

    def until(self, what: str, seconds: float = LONGEST_WAIT, count: int = 1) -> None:
        """Until standard error says `what`, so many times."""
        end = time.monotonic() + seconds
        while self.errors.read_text().count(what) < count:
            assert time.monotonic() < end, self.errors.read_text()
            time.sleep(0.02)


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "proxy", "serve", "--policy", str(folder / "policy.yaml"), *words]


@contextmanager
def served(
    folder: Path, policy: str, *words: str, workers: int = 2, variables: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Serving]:
    """A supervisor on free ports. At the end it is told to end, unless it has; and whoever succeeded it as well."""
    path, errors, log = folder / "policy.yaml", folder / "stderr", folder / "requests.log"
    path.write_text(policy)
    given = ("--port", "0", "--admin-port", "0", "--workers", str(workers), "--log", str(log), "--drain", "60", *words)
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            command(folder, *given),
            stdout=subprocess.PIPE,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "POINTSMAN_ADMIN_TOKEN": TOKEN, **variables},
        )
    assert process.stdout is not None
    with process.stdout as stdout:
        line = stdout.readline()
        try:
            assert line, errors.read_text()
            ready = json.loads(line)
            yield Serving(process, path, errors, log, ready["port"], ready["admin_port"])
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(LONGEST_WAIT)
            if line and ready["admin_port"]:
                _end_successor(ready["admin_port"], path)


def _end_successor(admin_port: int, policy: Path) -> None:
    """A successor is no child of ours, and would stay behind a test that failed. The port that it would have may be
    another test's by now, which runs beside this one: a successor serves the same policy."""
    with (
        suppress(OSError, http.client.HTTPException, ValueError, KeyError, TypeError),
        urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/readyz", timeout=LONGEST_WAIT) as answer,
    ):
        pid = int(json.load(answer)["pid"])
        if os.fsencode(policy) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            end(pid)


def gone(pids: Sequence[int], seconds: float = LONGEST_WAIT) -> bool:
    """Whether these processes end within `seconds`; one that nobody has reaped counts as ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(_runs(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def end(pid: int) -> None:
    """End a supervisor that is no child of ours, and see that it ends."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    assert gone([pid])


@dataclass
class Load:
    """Clients that ask one request after the other, on connections that they keep, and what became of all of them.

    They run in a thread of their own, so that a test may wait without their falling silent.
    """

    port: int
    clients: int = 12
    fields: str = ""
    """Lines of each request's head."""
    answers: Counter[str] = field(default_factory=Counter)
    """By status, or by what went wrong."""
    policies: Counter[str] = field(default_factory=Counter)
    lost: list[tuple[float, str]] = field(default_factory=list)
    """Requests without an answer: when, and on what kind of connection."""
    refused: int = 0
    backwards: int = 0
    """Answers of an older policy than one before on the same connection."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Load:
        self._stop.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    def more(self, answers: int, status: str = "200") -> None:
        """Until so many further requests are answered."""
        wanted, end = self.answers[status] + answers, time.monotonic() + LONGEST_WAIT
        while self.answers[status] < wanted:
            assert time.monotonic() < end
            time.sleep(0.005)

    async def _ask(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(self.clients)))

    async def _client(self) -> None:
        while not self._stop.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except (ConnectionRefusedError, ConnectionResetError):  # reset: it closed between a knock and its answer
                self.refused += 1
                await asyncio.sleep(0.02)
                continue
            with suppress(ConnectionError):
                await self._use(reader, writer)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _use(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        generation, kind = 0, "fresh"
        while not self._stop.is_set():
            try:
                writer.write(request(more=self.fields) + BODY)
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                await reader.readexactly(int(re.findall(r"content-length: (\d+)", head)[0]))
            except (ConnectionError, asyncio.IncompleteReadError):
                self.lost.append((time.monotonic(), kind))
                return
            self.answers[head.split(" ")[1]] += 1
            kind = "kept"
            for policy in re.findall(r"x-pointsman-policy: (\S+)", head):  # none where the door refuses
                self.policies[policy] += 1
                before, generation = generation, int(policy.split("/")[1])
                self.backwards += generation < before
            if "connection: close" in head:
                return


def request(endpoint: str = "chat", more: str = "") -> bytes:
    """The head of one request with BODY."""
    head = f"POST /endpoints/{endpoint}/invocations HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode()
