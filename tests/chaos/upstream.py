"""Upstreams that misbehave: each listens on a port of its own and plays a script to every connection that comes in.

All in the caller's event loop, so that hundreds can misbehave at once (`benchmarks/soak.py` uses them as well). What a
script does not say is bounded by its proxy: a script ends when the proxy has closed its side.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

CERTIFICATES = Path(__file__).parent.parent / "data" / "tls" / "upstreams"


class Wire:
    """One connection that came in, and what a script may do with it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        self._reader = reader
        self._writer = writer
        self.upstream = upstream

    async def head(self) -> bytes:
        """Read a request's head, blank line included."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        self.upstream.requests += 1
        self.upstream.asked.set()
        return head

    async def request(self) -> bytes:
        """Read a whole request and return its head."""
        head = await self.head()
        await self._reader.readexactly(content_length(head))
        return head

    async def read(self, size: int) -> bytes:
        """Read exactly so many bytes."""
        return await self._reader.readexactly(size)

    async def send(self, *pieces: bytes, pause: float = 0.0) -> None:
        """Send bytes as they are, each piece by itself, `pause` seconds apart."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(pause)

    def pause(self) -> None:
        """Read nothing more from the network."""
        transport = self._writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()

    def close(self) -> None:
        """End the connection as a process that exits does."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        else:
            self._writer.close()

    def reset(self) -> None:
        """End the connection with RST, as a machine that forgot it does."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def hang(self) -> None:
        """Say nothing until the other side has gone."""
        while await self._reader.read(65536):
            pass


Script = Callable[[Wire], Awaitable[None]]


def content_length(head: bytes) -> int:
    """The Content-Length that a head declares; 0 without one."""
    fields = (line.partition(b":") for line in head.split(b"\r\n"))
    return next((int(value) for name, _, value in fields if name.lower() == b"content-length"), 0)


async def silence(wire: Wire) -> None:
    """Accept and never answer."""
    await wire.hang()


@dataclass(slots=True)
class Upstream:
    """One listener."""

    port: int
    script: Script
    tls: bool = False
    requests: int = 0
    """Heads of requests that came in since the start."""
    open: int = 0
    """Connections."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set each time a connection has ended."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set each time a request's head has come in."""

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Play the script to one connection."""
        self.open += 1
        wire = Wire(reader, writer, self)
        try:
            # What breaks here is seen by the proxy, which is what the test looks at.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self.script(wire)
                await wire.hang()
        finally:
            writer.transport.abort()
            self.open -= 1
            self.gone.set()


def context(name: str) -> ssl.SSLContext:
    """A server's TLS with one of the certificates for tests."""
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.load_cert_chain(CERTIFICATES / f"{name}.pem", CERTIFICATES / "key.pem")
    return found


@asynccontextmanager
async def listening(
    script: Script, certificate: str | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Upstream]:
    """An upstream, on a free port unless told otherwise; with a certificate over TLS. In the end it drops everybody."""
    upstream = Upstream(0, script, certificate is not None)
    serving: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(upstream.serve(reader, writer), name="upstream")
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(
        accepted, host, port, backlog=1024, ssl=context(certificate) if certificate else None
    )
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await server.wait_closed()


@asynccontextmanager
async def nobody() -> AsyncIterator[Upstream]:
    """A port that is taken and at which nobody listens: connections are refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Upstream(bound.getsockname()[1], silence)


@asynccontextmanager
async def crowded() -> AsyncIterator[Upstream]:
    """A listener that accepts nobody and whose queue is full: the kernel drops what asks for a connection."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            assert waiting.connect_ex(listener.getsockname()) in {0, errno.EINPROGRESS}
        yield Upstream(listener.getsockname()[1], silence)
