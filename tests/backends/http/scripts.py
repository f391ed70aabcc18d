"""Scripted upstreams on raw sockets, for tests of the transport."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from backends.http.transport import HttpTransport, Incoming, Outgoing

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(script: Script, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that runs `script` for every connection; yields its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await script(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


def outgoing(url: str, body: bytes = b"hi") -> Outgoing:
    return Outgoing("POST", url + "/a%3Ab%2Fc", (("X-One", "1"),), body)


async def send(transport: HttpTransport, request: Outgoing, seconds: float = 60.0) -> Incoming:
    deadline = asyncio.get_running_loop().time() + seconds
    return await transport.send(request, deadline=deadline, connect_timeout=30.0)


async def read(transport: HttpTransport, request: Outgoing) -> bytes:
    """The whole answer's body, its connection given back."""
    answer = await send(transport, request)
    try:
        return await answer.read(100)
    finally:
        await answer.aclose()


async def close_after_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(2)


def answering(answer: bytes, seen: list[bytes] | None = None) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(2)
        if seen is not None:
            seen.append(head + body)
        writer.write(answer)
        await writer.drain()

    return script
