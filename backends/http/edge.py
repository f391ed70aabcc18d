"""The serving half of HTTP: listeners, limits, drain. One handler is called per request with an `Exchange`.

Strategy: aiohttp's connections and hardened parser, without its objects for requests and answers. What the parser
refuses is answered by `malformed`, so that even garbage gets the contract's typed error. A client that goes away
cancels the handler. Bodies are counted against the limit of one request and against one budget for all of them, before
memory is taken. An HTTP/2 preface is answered with GOAWAY and a clean close, since some SDKs open that way over plain
HTTP.

A connection has to earn its place: a head that is not there within `Limits.head_time` is answered 408 and the
connection closed, an idle one is closed, one beyond `Limits.connections` is told 503, and one whose client takes
nothing of what was sent for `Limits.send_time` is dropped by the kernel. All that costs a request nothing: timers are
armed for connections and for heads that come in pieces.

A slow reader holds back its own upstream: `Exchange.write` returns only when less than `WRITE_BUFFER` bytes wait
unsent, and nothing is read from the upstream meanwhile but what `transport.READ_AHEAD` states. What the kernel keeps on
both sides is bounded as well.

This file and inbound.py are the only importers of aiohttp.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.helpers import rfc822_formatted_time

from ..base import Headers
from ..patience import limit_at
from .acceptor import Acceptor, Crowd
from .answer import Answer as Answer
from .answer import head
from .inbound import Connection, Malformed, Server
from .limits import LIMITS, Limits
from .limits import BodyTooLarge as BodyTooLarge
from .limits import BudgetSpent as BudgetSpent
from .limits import ByteBudget as ByteBudget

WRITE_BUFFER = 64 * 1024
"""Unsent bytes of one answer above which `Exchange.write` waits (asyncio's own high-water mark)."""

_JOINED = 64 * 1024
"""Bytes of the longest body that is copied behind its head: a copy is cheaper than a second buffer to send."""

_VERSION_1_1 = HttpVersion11

log = logging.getLogger("pointsman.edge")

LINGER = 1.0
"""Seconds for which idle connections stay open when the listener stops; less where the drain time is under 30 s."""


class ClientGone(Exception):
    """The client closed the connection, or was too slow for the deadline."""


class BodyTooSlow(ClientGone):
    """The body did not arrive before its deadline: the client is still there to be told so, and then it is gone."""


class Exchange:
    """One request and the one answer to it."""

    __slots__ = (
        "_budget",
        "_chunked",
        "_connection",
        "_corked",
        "_held",
        "_message",
        "_payload",
        "arrived",
        "body_size",
        "headers",
        "keeps",
        "method",
        "raw_path",
        "started",
    )

    def __init__(self, connection: Connection, message: Any, payload: Any, budget: ByteBudget, arrived: float) -> None:
        self._connection = connection
        self._message = message
        self._payload = payload
        self._budget = budget
        self._held = 0
        self._chunked = True
        self._corked: bytes | None = None
        self.arrived = arrived
        """When the head was read, on the loop's clock."""
        self.method: str = message.method
        self.raw_path: str = message.path
        """As the client sent it: percent-encoded, with query."""
        self.headers: Headers = tuple(message.headers.items())
        self.body_size = 0
        self.started = False
        """The head of an answer is out: no other answer can be given."""
        self.keeps = not message.should_close
        """The connection can have another request after this one."""

    @property
    def common_name(self) -> str | None:
        """The common name of the client's certificate, which TLS has verified; None when it showed none."""
        transport = self._connection.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        subject = certificate.get("subject", ()) if certificate else ()
        return next((value for part in subject for name, value in part if name == "commonName"), None)

    def body_at_hand(self, limit: int) -> bytes | None:
        """The request body where all of it came with the head, as most do; else None, and it is to be read.

        Raises BodyTooLarge and BudgetSpent as `read_body` does.
        """
        content = self._payload
        if not content.is_eof():
            return None
        try:
            body: bytes = content.read_nowait(-1)
        except (web.RequestPayloadError, ConnectionError) as error:
            raise ClientGone from error
        size = self.body_size = len(body)
        if size > limit:
            raise BodyTooLarge(limit)
        self._take(size)
        return body

    async def read_body(self, limit: int, deadline: float) -> bytes:
        """The request body.

        Raises:
            BodyTooLarge: it is, or says it will be, longer than `limit` bytes.
            BudgetSpent: the bodies in flight leave no room for it.
            BodyTooSlow: it did not arrive before `deadline`.
            ClientGone: the connection ended before it was whole.
        """
        body = self.body_at_hand(limit)
        if body is not None:
            return body
        fields, content = self._message.headers, self._payload
        declared = fields.get(hdrs.CONTENT_LENGTH)
        if declared is not None:
            size = int(declared)  # digits: the parser has seen to it
            if size > limit:
                raise BodyTooLarge(limit)
            self._take(size)
        if hdrs.EXPECT in fields and fields[hdrs.EXPECT].lower() == "100-continue":
            self._transport().write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            async with limit_at(deadline):
                body = await self._read(content, limit, self._held)
        except TimeoutError as error:
            self.keeps = False
            msg = "the body did not arrive in time"
            raise BodyTooSlow(msg) from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise ClientGone from error
        self.body_size = len(body)
        return body

    def _take(self, size: int) -> None:
        self._budget.take(size)
        self._held += size

    async def _read(self, content: Any, limit: int, held: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
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
        """Send a whole answer; returns when less than WRITE_BUFFER bytes wait. Raises ClientGone."""
        if self.answer(answer.status, answer.headers, answer.body):
            await self.drained()

    def answer(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send a whole answer: head and body in one write, so in one system call.

        True when the caller has to wait for `drained` before the request is over. Raises ClientGone.
        """
        said = head(status, headers, self._framing(f"Content-Length: {len(body)}\r\n"))
        transport = self._transport()
        self.started = True
        if self.method == "HEAD":
            transport.write(said)
        elif len(body) <= _JOINED:
            transport.write(said + body)
        else:
            transport.writelines((said, body))
        return self._connection.writing_paused

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of an answer whose body follows in pieces, with those that follow in this turn of the loop."""
        self._chunked = self._message.version >= _VERSION_1_1
        if not self._chunked:  # the connection's end is the body's
            self.keeps = False
        said = head(status, headers, self._framing("Transfer-Encoding: chunked\r\n" if self._chunked else ""))
        self._transport()
        self.started = True
        self._corked = said
        asyncio.get_running_loop().call_soon(self._uncork)

    def _uncork(self) -> None:
        """Send what waits for the end of the turn: each write is a system call that wakes the client."""
        corked, self._corked = self._corked, None
        transport = self._connection.transport
        if corked and transport is not None and not transport.is_closing():
            transport.write(corked)

    async def write(self, piece: bytes) -> None:
        """Send a piece of the body; returns when less than WRITE_BUFFER bytes wait. Raises ClientGone."""
        if self.put(piece):
            await self.drained()

    def put(self, piece: bytes) -> bool:
        """Send a piece of the body; True when the caller has to wait for `drained` before the next. Raises ClientGone.

        A stream is many small pieces, and this spares each of them a coroutine.
        """
        if not self.started:
            msg = "start() comes first"
            raise RuntimeError(msg)
        transport = self._transport()
        if piece and self.method != "HEAD":
            framed = b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece
            if self._corked is None:
                transport.write(framed)
            else:
                self._corked += framed
                if len(self._corked) > _JOINED:
                    self._uncork()
        return self._connection.writing_paused

    async def finish(self) -> None:
        """End the body cleanly."""
        self._transport()
        if self._chunked and self.method != "HEAD":
            self._corked = (self._corked or b"") + b"0\r\n\r\n"
        self._uncork()
        if self._connection.writing_paused:
            await self.drained()

    def _transport(self) -> asyncio.Transport:
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            raise ClientGone
        return transport

    async def drained(self) -> None:
        """Wait until less than WRITE_BUFFER bytes wait unsent. Raises ClientGone."""
        try:
            await self._connection.drained()
        except ConnectionError as error:
            raise ClientGone from error

    def _framing(self, length: str) -> str:
        """The lines that say how long the body is, when it was made, and what becomes of the connection."""
        if self._connection.leaving:
            self.keeps = False  # the client then opens another one, and loses nothing by it
        elif not self._payload.is_eof() and hdrs.EXPECT in self._message.headers:
            self.keeps = False  # it was not told to go on: what comes next may be the body or another request
        if self.keeps:
            kept = "" if self._message.version >= _VERSION_1_1 else "Connection: keep-alive\r\n"
        else:
            kept = "Connection: close\r\n"
        return f"{length}Date: {rfc822_formatted_time()}\r\n{kept}"

    def abort(self) -> None:
        """Reset the connection: what was sent must not be taken for a whole answer."""
        self.keeps = False
        self._uncork()
        transport = self._connection.transport
        if transport is not None:
            transport.abort()

    def done(self) -> None:
        """Give back the budget; for the listener."""
        self._budget.give_back(self._held)
        self._held = 0


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
        self._loop = asyncio.get_running_loop()
        self._handler = handler
        self._budget = budget
        self._in_flight = 0
        server = Server(
            self._serve,
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
        self._own: asyncio.Server | None = None
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
        patience = self._server.limits.head_time if tls is not None else None  # as for a head, or 60 s
        try:
            self._own = await self._loop.create_server(
                self._server, host, port, backlog=1024, reuse_address=True, ssl=tls, ssl_handshake_timeout=patience
            )
        except OSError:
            await self._runner.cleanup()
            raise
        return int(self._own.sockets[0].getsockname()[1])

    async def adopt(self, listening: socket.socket, crowd: Crowd, tls: ssl.SSLContext | None = None) -> None:
        """Accept from a socket that listens already and that other processes accept from as well.

        It is closed by `stop`; what waits in its queue stays there as long as another process holds it open.
        """
        await self._runner.setup()
        self._acceptor = Acceptor(listening, self._server, lambda: self._server.open, crowd, tls, self._server.limits)
        self._acceptor.start()

    async def stop(self) -> None:
        """Stop accepting, let requests in flight end within the drain time, then cancel them.

        A connection that is kept open between requests is closed after its next answer, which says so, or when there
        was none for a moment: closed at once, it could meet a request that is already on its way.
        """
        if self._own is not None:
            self._own.close()
        if self._acceptor is not None:
            await self._acceptor.stop()
        self._server.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._linger):
                await self._server.empty.wait()
        await self._runner.cleanup()

    async def _serve(self, connection: Connection, message: Any, payload: Any) -> bool:
        exchange = Exchange(connection, message, payload, self._budget, self._loop.time())
        self._in_flight += 1
        try:
            await self._handler(exchange)
            if not exchange.started:
                msg = "a handler gave no answer"
                raise RuntimeError(msg)  # noqa: TRY301 - its own bug, told like any other
        except ClientGone:
            exchange.abort()
        except Exception as error:  # a bug of ours
            log.exception("a request failed inside the proxy")
            if exchange.started:
                exchange.abort()
            else:
                connection.refuse(500, error)
            return False
        finally:
            self._in_flight -= 1
            exchange.done()
        return exchange.keeps
