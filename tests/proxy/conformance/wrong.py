"""A server that is wrong on purpose: it passes on what a right one says, changed in one way, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from proxy.conformance.wire import Connection, Exchange, NoAnswer, connected, read_origin


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client sent, as far as a mistake may depend on it."""

    line: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    names: str
    """Header names as they were written."""

    @property
    def streams(self) -> bool:
        return "/invocations-response-stream" in self.line


Mistake = Callable[[Asked, Exchange], Exchange | None]
"""The answer that is sent instead; None: the connection ends without one."""


@asynccontextmanager
async def wrong_server(upstream: str, mistake: Mistake) -> AsyncIterator[str]:
    """The base URL of a server before `upstream` that makes `mistake`."""
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            while await _one(upstream, mistake, reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, NoAnswer):
            return
        finally:
            handlers.discard(task)
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


async def _one(upstream: str, mistake: Mistake, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """One request; whether another may follow."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    names = " ".join(field.partition(":")[0] for field in fields)
    if "expect" in headers:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    chunked = headers.get("transfer-encoding") == "chunked"
    body = await _chunks(reader) if chunked else await reader.readexactly(int(headers.get("content-length", 0)))
    kept = [
        each for each in fields if not each.lower().startswith(("expect:", "transfer-encoding:", "content-length:"))
    ]
    sent = "\r\n".join([line, *kept, f"Content-Length: {len(body)}"]) + "\r\n\r\n"
    async with connected(read_origin(upstream), 10.0) as connection:
        answer = mistake(Asked(line, headers, body, names), await _passed(connection, sent.encode("latin-1") + body))
    if answer is None:
        return False
    head = "".join(
        f"{name}: {value}\r\n"
        for name, value in answer.headers
        if name.lower() not in ("content-length", "transfer-encoding")
    )
    length = len(answer.body) + (0 if answer.whole else 1)
    writer.write(
        f"HTTP/1.1 {answer.status} X\r\n{head}Content-Length: {length}\r\n\r\n".encode("latin-1") + answer.body
    )
    await writer.drain()
    return answer.whole and headers.get("connection") != "close"


async def _passed(connection: Connection, data: bytes) -> Exchange:
    await connection.send(data)
    return await connection.read()


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


def without(answer: Exchange, *names: str) -> Exchange:
    """An answer without some header fields, named in lower case."""
    return replace(answer, headers=tuple(pair for pair in answer.headers if pair[0].lower() not in names))
