"""A proxy in a process of its own among upstreams that misbehave, and what must be left of it afterwards: nothing."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.contract.raw import Exchange
from tests.contract.serving import Proxy, running_proxy

from .client import LONGEST_WAIT, STREAM, UNARY, ask, parsed, request
from .faults import Fault, policy
from .upstream import CERTIFICATES, Upstream, crowded, listening, nobody

SETTLES_IN = 30.0
"""Seconds after which what a request held counts as left behind; on an idle machine it is free in milliseconds."""
IDLE_FOR = 60.0
"""Seconds after which connections that nobody uses count as left behind: kept for four, looked at every four."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client's end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Exchange:
        """The first answer, as soon as it is whole, or what there is when the proxy ends the connection."""
        received = b""
        async with asyncio.timeout(LONGEST_WAIT):
            while not (found := parsed(received, 0.0)).whole and (piece := await self.reader.read(65536)):
                received += piece
        return found

    async def rest(self) -> bytes:
        """All that comes until the proxy ends the connection."""
        received = bytearray()
        async with asyncio.timeout(LONGEST_WAIT):
            try:
                while piece := await self.reader.read(65536):
                    received += piece
            except ConnectionError:
                pass
        return bytes(received)

    def pause(self) -> None:
        """Read nothing more from the network."""
        transport = self.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()

    def reset(self) -> None:
        """Go away without a word, as a process that is killed does."""
        self.writer.transport.abort()


@dataclass(slots=True)
class Stage:
    """A proxy and its upstreams."""

    proxy: Proxy
    upstreams: Mapping[Fault, Upstream]
    tasks: Mapping[str, int] = field(default_factory=dict)
    """What ran before the first request."""
    descriptors: int = 0
    """How many were open then."""

    async def play(self, fault: Fault) -> Exchange:
        """One request to the fault's endpoint."""
        return await ask(self.proxy.port, request(fault.slug, fault.body, STREAM if fault.stream else UNARY))

    async def admin(self, path: str) -> Any:
        """What the admin port says at `path`."""
        answer = await ask(
            self.proxy.admin_port, f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
        )
        return json.loads(answer.body)

    @asynccontextmanager
    async def client(self, sent: bytes = b"") -> AsyncIterator[Client]:
        """A connection to the proxy over which `sent` went; dropped at the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        try:
            writer.write(sent)
            yield Client(reader, writer)
        finally:
            writer.transport.abort()

    async def settled(self, kept: int = 0, port: int | None = None) -> None:
        """Wait until nothing of what was asked is left but `kept` idle connections to `port`.

        Raises AssertionError, with what is left, when that takes longer than `SETTLES_IN`.
        """
        left: dict[str, object] = {}
        try:
            async with asyncio.timeout(SETTLES_IN):
                while left := await self._left(kept, port):  # noqa: ASYNC110 - another process tells of no event
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"left behind: {left}") from None

    async def emptied(self) -> None:
        """Wait until no connection to any upstream is left, and no descriptor that was not there at the start.

        Raises AssertionError when that takes longer than `IDLE_FOR`.
        """
        pid = self.proxy.process.pid
        left: object = None
        try:
            async with asyncio.timeout(IDLE_FOR):
                while True:
                    ports = {fault.name: connections(pid, upstream.port) for fault, upstream in self.upstreams.items()}
                    left = {name: found for name, found in ports.items() if found}, descriptors(pid)
                    if left == ({}, self.descriptors):
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"left behind, of {self.descriptors} descriptors at first: {left}") from None

    async def _left(self, kept: int, port: int | None) -> dict[str, object]:
        limits = (await self.admin("/admin/limits"))["limits"]
        busy = [each for each in limits if each["in_flight"] or each["waiting"]]
        tasks = (await self.admin("/admin/tasks"))["tasks"]
        more = {name: count for name, count in tasks.items() if count > self.tasks.get(name, 0)}
        sockets = len(connections(self.proxy.process.pid, port)) if port is not None else 0
        found: dict[str, object] = {"in flight": busy, "tasks": more, "sockets": max(0, sockets - kept)}
        return {name: value for name, value in found.items() if value}


def connections(pid: int, port: int) -> list[str]:
    """Sockets that a process holds and that lead to `port`, in whatever state, as the kernel lists them."""
    held = {link for link in map(_link, Path(f"/proc/{pid}/fd").iterdir()) if link.startswith("socket:")}
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return [
        " ".join(each[1:4])
        for each in fields
        if int(each[2].partition(":")[2], 16) == port and f"socket:[{each[9]}]" in held
    ]


def _link(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:  # closed meanwhile
        return ""


def descriptors(pid: int) -> int:
    """Open descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory(pid: int) -> int:
    """Bytes of memory of a process: its proportional share (PSS)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024


async def until(reached: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a state that another process tells of to whoever asks; the test's own time limit bounds it."""
    while not await reached():  # noqa: ASYNC110 - another process tells of no event
        await asyncio.sleep(0.02)


PLACES = {"refuses": nobody, "full": crowded}


@asynccontextmanager
async def upstreams_of(faults: Sequence[Fault]) -> AsyncIterator[Mapping[Fault, Upstream]]:
    """An upstream for each fault."""
    async with AsyncExitStack() as stack:
        found: dict[Fault, Upstream] = {}
        for fault in faults:
            place = listening(fault.script, fault.certificate) if fault.place == "serves" else PLACES[fault.place]()
            found[fault] = await stack.enter_async_context(place)
        yield found


@asynccontextmanager
async def started(folder: Path, text: str, *flags: str, variables: Mapping[str, str]) -> AsyncIterator[Proxy]:
    """`running_proxy` for a loop that has to go on while the process starts and ends."""
    running = running_proxy(folder, text, *flags, variables=variables)
    proxy = await asyncio.to_thread(running.__enter__)
    try:
        yield proxy
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


@asynccontextmanager
async def staged(
    folder: Path, faults: Sequence[Fault], *flags: str, variables: Mapping[str, str] | None = None
) -> AsyncIterator[Stage]:
    """A proxy among the upstreams of `faults`; `variables` are put into its environment."""
    async with upstreams_of(faults) as found:
        text = json.dumps(policy({fault: upstream.port for fault, upstream in found.items()}))
        trust = {"SSL_CERT_FILE": str(CERTIFICATES / "ca.pem")}
        async with started(folder, text, *flags, variables={**trust, **(variables or {})}) as proxy:
            stage = Stage(proxy, found)
            workers = int(flags[flags.index("--workers") + 1]) if "--workers" in flags else 1

            async def run() -> bool:
                stage.tasks = (await stage.admin("/admin/tasks"))["tasks"]
                return stage.tasks.get("loop-lag", 0) >= workers

            await until(run)  # a worker that is ready has yet to be given its sockets
            stage.descriptors = descriptors(proxy.process.pid)
            yield stage
