"""A face on a real socket over scripted backends, and one request at a time to it, read to the last byte."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from backends.http.edge import Answer as EdgeAnswer
from backends.http.edge import ByteBudget, Exchange, Listener
from proxy.services import Services

from ..parts import POLICY, Answer, Scripted, services


class Door(Protocol):
    """What a listener needs of a face."""

    async def handle(self, exchange: Exchange) -> None: ...

    def malformed(self, status: int, what: str) -> EdgeAnswer: ...


@dataclass
class Running:
    """A listening face with what is behind it."""

    port: int
    backend: Scripted
    log: io.BytesIO
    parts: Services

    def last_line(self) -> dict[str, Any]:
        """The request log's last line; nothing more is logged after this."""
        self.parts.log.close()
        line: dict[str, Any] = json.loads(self.log.getvalue().splitlines()[-1])
        return line


@dataclass(frozen=True)
class Heard:
    """What came back. `whole` is False when the connection ended before the body did."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool
    chunks: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def listening(
    make: Callable[[Services], Door], *answers: Answer, text: str = POLICY, wall: float = 1_800_000_000.0
) -> AsyncIterator[Running]:
    """The face that `make` builds, on a free port. `wall`: seconds since the epoch."""
    backend, log = Scripted(list(answers)), io.BytesIO()
    loop = asyncio.get_running_loop()
    parts = replace(await services(backend, text=text, log=log), now=loop.time, wall=lambda: wall)
    face = make(parts)
    listener = Listener(face.handle, face.malformed, ByteBudget(1 << 20), drain=1.0)
    port = await listener.start("127.0.0.1", 0)
    try:
        yield Running(port, backend, log, parts)
    finally:
        await listener.stop()
        parts.log.close()


async def ask(port: int, line: str, body: bytes = b"", *headers: str) -> Heard:
    """One request over one connection, e.g. `GET /ping`."""
    head = f"{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    return await send(port, (head + "".join(f"{field}\r\n" for field in headers) + "\r\n").encode() + body)


async def send(port: int, raw: bytes) -> Heard:
    """Bytes over one connection, and what came back until it was closed or reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    received = b""
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            received += piece
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    top, _, rest = received.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    fields = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines[1:])}
    status = int(lines[0].split(" ")[1])
    if fields.get("transfer-encoding") == "chunked":
        chunks, whole = unchunked(rest)
        return Heard(status, fields, b"".join(chunks), whole, chunks)
    return Heard(status, fields, rest, len(rest) == int(fields.get("content-length", "0")))


def unchunked(data: bytes) -> tuple[list[bytes], bool]:
    """The chunks of an answer, and whether its last one came."""
    chunks: list[bytes] = []
    while data:
        size, _, data = data.partition(b"\r\n")
        if int(size, 16) == 0:
            return chunks, True
        chunks.append(data[: int(size, 16)])
        data = data[int(size, 16) + 2 :]
    return chunks, False
