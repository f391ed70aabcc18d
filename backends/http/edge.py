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

This file and inbound.py are the only importers of aiohttp.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from aiohttp import web

from ..base import Headers
from .acceptor import Acceptor, Crowd
from .answer import Answer as Answer
from .answer import fields
from .inbound import Connection, Malformed, Server
from .limits import LIMITS, Limits
from .limits import BodyTooLarge as BodyTooLarge
from .limits import BudgetSpent as BudgetSpent
from .limits import ByteBudget as ByteBudget

WRITE_BUFFER = 64 * 1024
"""Unsent bytes of one answer above which `Exchange.write` waits (aiohttp's stream writer and asyncio's transport)."""

LINGER = 1.0
"""Seconds for which idle connections stay open when the listener stops; less where the drain time is under 30 s."""


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
        self._last(response)
        self._response = response
        await self._guard(response.prepare(self._request))
        await self._guard(response.write_eof())

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of an answer whose body follows in pieces."""
        response = web.StreamResponse(status=status, headers=fields(headers))
        response.enable_chunked_encoding()
        self._last(response)
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

    def _last(self, response: web.StreamResponse) -> None:
        """Say so when the listener stops: the client then opens another connection, and loses nothing by it."""
        connection = self._request.protocol
        if isinstance(connection, Connection) and connection.leaving:
            response.force_close()

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
        server = Server(
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
        self._server = server
        self._linger = min(LINGER, drain / 30)
        self._acceptor: Acceptor | None = None
        self._runner = web.ServerRunner(server, shutdown_timeout=drain)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return self._server.open

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

    async def adopt(self, listening: socket.socket, crowd: Crowd, tls: ssl.SSLContext | None = None) -> None:
        """Accept from a socket that listens already and that other processes accept from as well.

        It is closed by `stop`; what waits in its queue stays there as long as another process holds it open.
        """
        await self._runner.setup()
        self._acceptor = Acceptor(listening, self._server, lambda: self._server.open, crowd, tls)
        self._acceptor.start()

    async def stop(self) -> None:
        """Stop accepting, let requests in flight end within the drain time, then cancel them.

        A connection that is kept open between requests is closed after its next answer, which says so, or when there
        was none for a moment: closed at once, it could meet a request that is already on its way.
        """
        for site in list(self._runner.sites):
            await site.stop()
        if self._acceptor is not None:
            await self._acceptor.stop()
        self._server.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._linger):
                await self._server.empty.wait()
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
