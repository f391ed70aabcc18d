"""The serving half of HTTP: listeners, limits, drain. One handler is called per request with an `Exchange`.

Strategy: aiohttp's low-level server and hardened parser, without its application layer. What the parser refuses is
answered by `malformed`, so that even garbage gets the contract's typed error. A client that goes away cancels the
handler. Bodies are counted against the limit of one request and against one budget for all of them, before memory is
taken. An HTTP/2 preface is answered with GOAWAY and a clean close, since some SDKs open that way over plain HTTP.

A connection has to earn its place: a head that is not there within `Limits.head_time` is answered 408 and the
connection closed, an idle one is closed, one beyond `Limits.connections` is told 503, and one whose client takes
nothing of what was sent for `Limits.send_time` is dropped by the kernel. All that costs a request nothing: timers are
armed for connections and for heads that come in pieces.

A slow reader holds back its own upstream: `Exchange.write` returns only when less than `WRITE_BUFFER` bytes wait
unsent, and nothing is read from the upstream meanwhile but what `transport.READ_AHEAD` states.

This file is the only importer of aiohttp.web.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from ..base import Headers
from .answer import HTTP2_GOAWAY, HTTP2_PREFACE, fields, raw
from .answer import Answer as Answer
from .limits import LIMITS, Limits
from .limits import BodyTooLarge as BodyTooLarge
from .limits import BudgetSpent as BudgetSpent
from .limits import ByteBudget as ByteBudget

WRITE_BUFFER = 64 * 1024
"""Unsent bytes of one answer above which `Exchange.write` waits (aiohttp's stream writer and asyncio's transport)."""


class ClientGone(Exception):
    """The client closed the connection, or was too slow for the deadline."""


class Exchange:
    """One request and the one answer to it."""

    __slots__ = ("_budget", "_held", "_request", "_response", "arrived", "body_size", "headers", "method", "raw_path")

    def __init__(self, request: web.BaseRequest, budget: ByteBudget, arrived: float) -> None:
        self._request = request
        self._budget = budget
        self._held = 0
        self._response: web.StreamResponse | None = None
        self.arrived = arrived
        """When the head was read, on the loop's clock."""
        self.method = request.method
        self.raw_path = request.raw_path
        """As the client sent it: percent-encoded, with query."""
        self.headers: Headers = tuple(request.headers.items())
        self.body_size = 0

    @property
    def started(self) -> bool:
        """The head of an answer is out: no other answer can be given."""
        return self._response is not None

    @property
    def common_name(self) -> str | None:
        """The common name of the client's certificate, which TLS has verified; None when it showed none."""
        transport = self._request.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        subject = certificate.get("subject", ()) if certificate else ()
        return next((value for part in subject for name, value in part if name == "commonName"), None)

    async def read_body(self, limit: int, deadline: float) -> bytes:
        """The request body.

        Raises:
            BodyTooLarge: it is, or says it will be, longer than `limit` bytes.
            BudgetSpent: the bodies in flight leave no room for it.
            ClientGone: it did not arrive before `deadline`.
        """
        declared = self._request.content_length
        if declared is not None:
            if declared > limit:
                raise BodyTooLarge(limit)
            self._take(declared)
        await self._continue()
        content = self._request.content
        try:
            if content.is_eof():  # it came with the head: nothing to wait for
                body = content.read_nowait(-1)
                if len(body) > limit:
                    raise BodyTooLarge(limit)
                if len(body) > self._held:
                    self._take(len(body) - self._held)
            else:
                async with asyncio.timeout_at(deadline):
                    body = await self._read(limit, self._held)
        except (TimeoutError, web.RequestPayloadError, ConnectionError) as error:
            raise ClientGone from error
        self.body_size = len(body)
        return body

    def _take(self, size: int) -> None:
        self._budget.take(size)
        self._held += size

    async def _continue(self) -> None:
        if self._request.headers.get("Expect", "").lower() == "100-continue":
            writer = self._request.writer
            await self._guard(writer.write(b"HTTP/1.1 100 Continue\r\n\r\n"))
            writer.output_size = 0  # aiohttp takes any output for a started answer

    async def _read(self, limit: int, held: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        content = self._request.content
        while piece := await content.readany():
            size += len(piece)
            if size > limit:
                raise BodyTooLarge(limit)
            if size > held:
                self._take(size - held)
                held = size
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def reply(self, answer: Answer) -> None:
        """Send a whole answer."""
        response = web.Response(status=answer.status, headers=fields(answer.headers), body=answer.body)
        self._response = response
        await self._guard(response.prepare(self._request))
        await self._guard(response.write_eof())

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of an answer whose body follows in pieces."""
        response = web.StreamResponse(status=status, headers=fields(headers))
        response.enable_chunked_encoding()
        self._response = response
        await self._guard(response.prepare(self._request))

    async def write(self, piece: bytes) -> None:
        """Send a piece of the body; returns when less than WRITE_BUFFER bytes wait. Raises ClientGone."""
        await self._guard(self._begun().write(piece))

    async def finish(self) -> None:
        """End the body cleanly."""
        await self._guard(self._begun().write_eof())

    def _begun(self) -> web.StreamResponse:
        if self._response is None:
            msg = "start() comes first"
            raise RuntimeError(msg)
        return self._response

    def abort(self) -> None:
        """Reset the connection: what was sent must not be taken for a whole answer."""
        transport = self._request.transport
        if transport is not None:
            transport.abort()

    async def _guard(self, sending: Awaitable[Any]) -> None:
        try:
            await sending
        except ConnectionError as error:
            raise ClientGone from error

    def _done(self) -> web.StreamResponse:
        """Give back the budget and hand aiohttp the answer; for the listener below."""
        self._budget.give_back(self._held)
        self._held = 0
        return self._response if self._response is not None else web.Response(status=500)


Handler = Callable[[Exchange], Awaitable[None]]
"""Answers one exchange. It may raise ClientGone; any other exception is a bug and closes the connection."""

Malformed = Callable[[int, str], Answer]
"""Answer to bytes that are no HTTP request: (status, what is wrong with them)."""


_REFUSAL_TIME = 1.0
"""Seconds for which a connection over the limit is kept to hear its 503: closed unread, it would see a reset."""
_REFUSALS = 256
"""Connections kept so at once; those beyond it are closed without a word."""


class _Connection(RequestHandler):
    """aiohttp's connection, but with limits, typed errors for garbage and a word for HTTP/2 clients."""

    __slots__ = ("_door", "_first", "_heads", "_refused", "_timer")

    def __init__(self, door: _Server, **options: Any) -> None:
        super().__init__(door, **options)
        self._door = door
        self._first = True
        self._heads = 0  # requests counted when data last came
        self._timer: asyncio.TimerHandle | None = None
        self._refused: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        limits = self._door.limits
        if self._door.open >= limits.connections:
            self._refuse(transport)
            return
        raw = transport.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with suppress(OSError):  # not a TCP socket
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(limits.send_time * 1000))
        super().connection_made(transport)
        self._timer = self._loop.call_later(limits.head_time, self._late)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._disarm()
        if self._refused is not None:
            self._refused = None
            self._door.refused -= 1
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused is not None:
            self._refused.write(raw(self._door.malformed(503, "too many connections")))
            self._refused.close()
            return
        if self._first:
            self._first = False
            if data.startswith(HTTP2_PREFACE) and self.transport is not None:
                self._say(HTTP2_GOAWAY)
                return
        super().data_received(data)
        if self._request_count != self._heads:
            self._heads = self._request_count
            if self._timer is not None:
                self._disarm()
        elif self._timer is None and self._waiter is not None and not self._waiter.done():
            self._timer = self._loop.call_later(self._door.limits.head_time, self._late)

    def _late(self) -> None:
        """The head is not there in time. Who sent nothing at all gets no answer to it."""
        self._timer = None
        if not self._first:
            self._say(raw(self._door.malformed(408, "its head did not arrive in time")))
        else:
            self._say(b"")

    def _say(self, last: bytes) -> None:
        """Send `last` and close."""
        transport = self.transport
        if transport is not None:
            transport.write(last)
            self.close()
            transport.close()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, transport: asyncio.BaseTransport) -> None:
        """One connection too many. Nothing of it reaches aiohttp."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream server hands over
        self._force_close = True
        self._door.refused += 1
        self._refused = transport
        if self._door.refused > _REFUSALS:
            transport.abort()
        else:
            self._timer = self._loop.call_later(_REFUSAL_TIME, transport.abort)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            self.force_close()
            msg = "an answer was under way"
            raise ConnectionResetError(msg)
        answer = self._door.malformed(status, type(exc).__name__ if exc else "malformed request")
        response = web.Response(status=answer.status, headers=fields(answer.headers), body=answer.body)
        response.force_close()
        return response


class _Server(web.Server):
    def __init__(self, handler: Any, malformed: Malformed, limits: Limits, **options: Any) -> None:
        super().__init__(handler, **options)
        self.malformed = malformed
        self.limits = limits
        self.refused = 0
        """Connections over the limit that are still told so."""

    @property
    def open(self) -> int:
        """Connections that were let in."""
        return len(self._connections)  # its public list is a copy, for each connection anew

    def __call__(self) -> _Connection:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._kwargs)


class Listener:
    """One listening address with its handler; made, started and stopped inside one loop."""

    def __init__(
        self,
        handler: Handler,
        malformed: Malformed,
        budget: ByteBudget,
        *,
        drain: float = 30.0,
        limits: Limits = LIMITS,
    ) -> None:
        """`drain`: seconds that requests in flight are given when the listener stops."""
        self._handler = handler
        self._budget = budget
        self._in_flight = 0
        server = _Server(
            self._handle,
            malformed,
            limits,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=limits.idle_time,
            max_line_size=16 * 1024,
            max_field_size=16 * 1024,
            max_headers=128,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=drain)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen, and return the bound port (useful with port 0). Raises OSError when the address can't be had."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1024, reuse_address=True, ssl_context=tls)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        """Stop accepting, let requests in flight end within the drain time, then cancel them."""
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        exchange = Exchange(request, self._budget, asyncio.get_running_loop().time())
        with self._counted():
            try:
                await self._handler(exchange)
            except ClientGone:
                exchange.abort()
            finally:
                response = exchange._done()
        return response

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
