"""Servers that only pass a request on, as marks to measure by: `python -m benchmarks.cost.peers NAME PORT UPSTREAM`.

`floor` is the least that Python can do: one asyncio protocol on each side, httptools parsing both, no timeouts, no
error paths, no promises. `rawup` puts aiohttp's low-level server over the floor's client. `bare` is what most Python
gateways are at heart: aiohttp's server and its ClientSession, streaming the body on. All run on uvloop.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import aiohttp
import httptools
import uvloop
from aiohttp import web

HOP_BY_HOP = {"transfer-encoding", "connection", "keep-alive", "content-length", "content-encoding"}


class Upstream(asyncio.Protocol):
    """One pooled connection; hands raw pieces of the answer to `piece`, and its end to `ended`."""

    def __init__(self, pool: deque[Upstream]) -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self.head: Callable[[int, list[tuple[bytes, bytes]]], None]
        self.piece: Callable[[bytes], None]
        self.ended: Callable[[], None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        self._fields: list[tuple[bytes, bytes]] = []
        self._transport.write(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.head(self._parser.get_status_code(), self._fields)

    def on_body(self, body: bytes) -> None:
        self.piece(body)

    def on_message_complete(self) -> None:
        self._pool.append(self)
        self.ended()


class Pool:
    """Connections to one address, the one used last first."""

    def __init__(self, host: str, port: int) -> None:
        self._where = (host, port)
        self._idle: deque[Upstream] = deque()

    def idle(self) -> Upstream | None:
        return self._idle.pop() if self._idle else None

    async def connect(self) -> Upstream:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(lambda: Upstream(self._idle), *self._where))[1]


class FloorServer(asyncio.Protocol):
    """One client's connection; requests come one after the other."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._fields: list[bytes] = []
        self._body: list[bytes] = []
        self._path = b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append(name + b": " + value)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        head = b"POST " + self._path + b" HTTP/1.1\r\n" + b"\r\n".join(self._fields) + b"\r\n\r\n"
        message = head + b"".join(self._body)
        upstream = self._pool.idle()
        if upstream is None:
            self._first = asyncio.get_running_loop().create_task(self._connect_first(message))
        else:
            self._pass_on(upstream, message)

    async def _connect_first(self, message: bytes) -> None:
        self._pass_on(await self._pool.connect(), message)

    def _pass_on(self, upstream: Upstream, message: bytes) -> None:
        self._chunked = False
        self._whole: list[bytes] = []
        upstream.head, upstream.piece, upstream.ended = self._head, self._piece, self._end
        upstream.send(message)

    def _head(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        assert self._transport is not None
        lines = b"".join(b"%s: %s\r\n" % field for field in fields)
        self._whole.append(b"HTTP/1.1 %d OK\r\n%s\r\n" % (status, lines))
        self._chunked = any(name.lower() == b"transfer-encoding" for name, _ in fields)

    def _piece(self, body: bytes) -> None:
        assert self._transport is not None
        if not self._chunked:
            self._whole.append(body)
            return
        if not self._transport.is_closing():
            self._transport.write(b"".join(self._whole) + b"%x\r\n%s\r\n" % (len(body), body))
        self._whole.clear()

    def _end(self) -> None:
        assert self._transport is not None
        if self._chunked:
            self._whole.append(b"0\r\n\r\n")
        if not self._transport.is_closing():  # a source of load that ends its run is gone before its last answers
            self._transport.write(b"".join(self._whole))


async def floor(port: int, upstream: str) -> None:
    parts = urlsplit(upstream)
    pool = Pool(parts.hostname or "", parts.port or 80)
    await asyncio.get_running_loop().create_server(lambda: FloorServer(pool), "127.0.0.1", port)


async def rawup(port: int, upstream: str) -> None:
    parts = urlsplit(upstream)
    pool = Pool(parts.hostname or "", parts.port or 80)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        connection = pool.idle() or await pool.connect()
        done = asyncio.get_running_loop().create_future()
        pieces: list[bytes] = []
        answer: list[tuple[int, list[tuple[bytes, bytes]]]] = []
        connection.head = lambda status, fields: answer.append((status, fields))
        connection.piece = pieces.append
        connection.ended = lambda: done.set_result(None)
        head = b"POST %s HTTP/1.1\r\n" % request.raw_path.encode()
        connection.send(head + b"".join(b"%s: %s\r\n" % field for field in request.raw_headers) + b"\r\n" + body)
        await done
        kind = next(value for name, value in answer[0][1] if name.lower() == b"content-type")
        return web.Response(status=answer[0][0], body=b"".join(pieces), headers={"Content-Type": kind.decode()})

    await _serve(handle, port)


async def bare(port: int, upstream: str) -> None:
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        kept = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        async with session.post(upstream + request.raw_path, data=body, headers=kept) as answer:
            fields = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            if answer.content_length is not None:
                return web.Response(status=answer.status, headers=fields, body=await answer.read())
            response = web.StreamResponse(status=answer.status, headers=fields)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    await _serve(handle, port)


async def _serve(handle: Callable[[web.BaseRequest], object], port: int) -> None:
    runner = web.ServerRunner(web.Server(handle))  # type: ignore[arg-type] # handle is a coroutine function
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()


NAMES = {"floor": floor, "rawup": rawup, "bare": bare}


async def _main(name: str, port: int, upstream: str) -> None:
    await NAMES[name](port, upstream)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
