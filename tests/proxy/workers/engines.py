"""What stands behind the workers in tests of promises: servers in one thread that do one thing each, and tell what they
see. They are waited for by what they have seen, never by a time."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

ANSWER = (
    b'{"choices":[{"message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
)
EVENT = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
LARGE = b"data: " + b"x" * 4000 + b"\n\n"
DAWDLES = 3.0
"""Seconds until an engine that dawdles answers, if it is still waited for."""
REFUSES: Mapping[str, tuple[bytes, bytes]] = {
    "fails": (b"500 Internal Server Error", b""),
    "throttles": (b"429 Too Many Requests", b"Retry-After: 7\r\n"),
    "delays": (b"429 Too Many Requests", b"Retry-After: 7\r\nx-amz-retry-after: 300\r\n"),
    "cold": (b"429 Too Many Requests", b"x-amzn-ErrorType: ModelNotReadyException\r\n"),
}
"""Status, and what its head says besides, of engines that do no more."""
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Seen(NamedTuple):
    """One request as an engine saw it. `gone` is when its caller went away, in seconds of time.monotonic."""

    headers: Mapping[str, str]
    gone: float | None


class Engine:
    """One server. `does` is `answers`, `fails`, `hangs`, `streams` (one event, then nothing), `floods` (events
    without end), `holds`, `dawdles`, `talks` (keeps sessions, and closes one that is asked to `close`), `obeys`
    (fails when it is asked to `fail`), or one of `REFUSES`."""

    def __init__(self, does: str, changed: threading.Condition) -> None:
        self.does = does
        self.port = 0
        self.asked = 0
        self.inside = 0
        self.sent = 0
        """Bytes that were taken of what floods."""
        self.seen: list[Seen] = []
        """Requests that are over."""
        self.held = asyncio.Event()
        """Set: what `holds` is let go."""
        self.changed = changed

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                headers = {name.lower(): value for name, value in re.findall(r"([^\r\n:]+): ([^\r\n]*)", head)}
                asked = await reader.readexactly(int(headers.get("content-length", 0)))
                self._note(asked=1, inside=1)
                gone = None if await self._answer(reader, writer, headers, asked) else time.monotonic()
                self.seen.append(Seen(headers, gone))
                self._note(inside=-1)
                if gone is not None:
                    break
        writer.close()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Mapping[str, str], asked: bytes
    ) -> bool:
        """False: the caller has gone."""
        if self.does == "holds":
            await self.held.wait()
        if self.does == "dawdles":
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(DAWDLES):
                    await reader.read(1)
                    return False
        if self.does == "floods":
            with suppress(ConnectionError):
                await self._flood(writer)
            return False
        if self.does in {"hangs", "streams"}:
            if self.does == "streams":
                writer.write(STREAM + b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
            with suppress(ConnectionError):
                await reader.read(1)
            return False
        obeyed = "fails" if self.does == "obeys" and b"fail" in asked else self.does
        status, more = REFUSES.get(obeyed, (b"200 OK", b""))
        body = ANSWER
        if self.does == "talks":  # keeps sessions, as a SageMaker endpoint does
            session = headers.get("x-amzn-sagemaker-session-id", "")
            if session == "NEW_SESSION":
                more = b"X-Amzn-SageMaker-New-Session-Id: s-%d; Expires=2030-01-01T00:00:00Z\r\n" % self.port
            elif asked == b"close":
                more = b"X-Amzn-SageMaker-Closed-Session-Id: %b\r\n" % session.encode()
            body = b"%d %s" % (self.port, session.encode())
        writer.write(
            b"HTTP/1.1 %b\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, more, len(body))
        )
        writer.write(body)
        return True

    async def _flood(self, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM)
        while True:
            writer.write(b"%x\r\n%b\r\n" % (len(LARGE), LARGE))
            await writer.drain()
            self.sent += len(LARGE)

    def _note(self, asked: int = 0, inside: int = 0) -> None:
        with self.changed:
            self.asked += asked
            self.inside += inside
            self.changed.notify_all()


class Engines:
    """All of them, by name."""

    def __init__(self, loop: asyncio.AbstractEventLoop, names: Mapping[str, str]) -> None:
        self._loop = loop
        self._changed = threading.Condition()
        self._engines = {name: Engine(does, self._changed) for name, does in names.items()}

    def __getitem__(self, name: str) -> Engine:
        return self._engines[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._engines)

    def until(self, reached: Callable[[], bool]) -> None:
        """Wait until what engines have seen makes `reached` true; a minute, which only a fault can take."""
        with self._changed:
            assert self._changed.wait_for(reached, 60.0)

    def release(self, name: str) -> None:
        """Let an engine that holds its requests answer them, and every later one."""
        self._loop.call_soon_threadsafe(self[name].held.set)

    def hold(self, name: str) -> None:
        """Let it hold what comes from now on."""
        self._loop.call_soon_threadsafe(self[name].held.clear)


@contextmanager
def engines(names: Mapping[str, str]) -> Iterator[Engines]:
    """Servers on free ports, each with its `port`, in a thread with a loop of its own."""
    loop = asyncio.new_event_loop()
    them = Engines(loop, names)
    servers: Sequence[asyncio.Server] = [
        loop.run_until_complete(asyncio.start_server(them[name].serve, "127.0.0.1", 0, backlog=512)) for name in them
    ]
    for name, server in zip(them, servers, strict=True):
        them[name].port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    with ExitStack() as stack:
        stack.callback(loop.close)
        stack.callback(lambda: loop.run_until_complete(_ended(loop, servers)))
        stack.callback(thread.join)
        stack.callback(loop.call_soon_threadsafe, loop.stop)
        thread.start()
        yield them


async def _ended(loop: asyncio.AbstractEventLoop, servers: Sequence[asyncio.Server]) -> None:
    for server in servers:
        server.close()
    tasks = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
