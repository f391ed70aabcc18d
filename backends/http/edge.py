"""The serving half of HTTP: listeners, limits, drain. One handler is called per request with an `Exchange`.

Strategy: aiohttp's low-level server and hardened parser, without its application layer. What the parser refuses is
answered by `malformed`, so that even garbage gets the contract's typed error. A client that goes away cancels the
handler. Bodies are counted against the limit of one request and against one budget for all of them, before memory is
taken. An HTTP/2 preface is answered with GOAWAY and a clean close, since some SDKs open that way over plain HTTP.

A slow reader holds back its own upstream: `Exchange.write` returns only when less than `WRITE_BUFFER` bytes wait
unsent, and nothing is read from the upstream meanwhile but what `transport.READ_AHEAD` states.

This file is the only importer of aiohttp.web.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from multidict import CIMultiDict

from ..base import Headers

WRITE_BUFFER = 64 * 1024
"""Unsent bytes of one answer above which `Exchange.write` waits (aiohttp's stream writer and asyncio's transport)."""

_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HTTP2_GOAWAY = (
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # SETTINGS, empty: RFC 9113 section 3.4 wants it first
    b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0d"  # GOAWAY, error HTTP_1_1_REQUIRED
)


class BodyTooLarge(Exception):
    """The request body is longer than the limit of one request."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is longer than {limit} bytes")
        self.limit = limit


class BudgetSpent(Exception):
    """The bodies in flight fill the budget of all requests; this one has to come again."""


class ClientGone(Exception):
    """The client closed the connection, or was too slow for the deadline."""


def _fields(headers: Headers) -> CIMultiDict[str]:
    """Header fields for aiohttp, which would name itself and its version as the server."""
    fields = CIMultiDict(headers)
    fields["Server"] = "pointsman"
    return fields


class ByteBudget:
    """Bytes of request bodies held by all requests in flight."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, size: int) -> None:
        """Reserve `size` bytes. Raises BudgetSpent and reserves nothing when they are not there."""
        if self.used + size > self.limit:
            raise BudgetSpent
        self.used += size

    def give_back(self, size: int) -> None:
        self.used -= size


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, for the cases that have no handler: what the parser refused."""

    status: int
    headers: Headers
    body: bytes


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
            await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
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
        response = web.Response(status=answer.status, headers=_fields(answer.headers), body=answer.body)
        self._response = response
        await self._guard(response.prepare(self._request))
        await self._guard(response.write_eof())

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of an answer whose body follows in pieces."""
        response = web.StreamResponse(status=status, headers=_fields(headers))
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


class _Connection(RequestHandler):
    """aiohttp's connection, but with typed errors for garbage and a word for HTTP/2 clients."""

    __slots__ = ("_first", "malformed")

    malformed: Malformed

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._first = True

    def data_received(self, data: bytes) -> None:
        if self._first:
            self._first = False
            if data.startswith(_HTTP2_PREFACE) and self.transport is not None:
                self.transport.write(_HTTP2_GOAWAY)
                self.close()
                self.transport.close()
                return
        super().data_received(data)

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
        answer = self.malformed(status, type(exc).__name__ if exc else "malformed request")
        response = web.Response(status=answer.status, headers=_fields(answer.headers), body=answer.body)
        response.force_close()
        return response


class _Server(web.Server):
    def __init__(self, handler: Any, malformed: Malformed, **options: Any) -> None:
        super().__init__(handler, **options)
        self._malformed = malformed

    def __call__(self) -> _Connection:
        connection = _Connection(self, loop=asyncio.get_running_loop(), **self._kwargs)
        connection.malformed = self._malformed
        return connection


class Listener:
    """One listening address with its handler; made, started and stopped inside one loop."""

    def __init__(self, handler: Handler, malformed: Malformed, budget: ByteBudget, *, drain: float = 30.0) -> None:
        """`drain`: seconds that requests in flight are given when the listener stops."""
        self._handler = handler
        self._budget = budget
        self._in_flight = 0
        server = _Server(
            self._handle,
            malformed,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=75.0,  # longer than the 60 s for which common load balancers keep an idle connection
            max_line_size=16 * 1024,
            max_field_size=16 * 1024,
            max_headers=128,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=drain)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the bound port (useful with port 0). Raises OSError when the address can't be had."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1024, reuse_address=True)
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
