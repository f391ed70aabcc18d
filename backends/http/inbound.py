"""Connections of clients over aiohttp's hardened parser: limits, typed errors for garbage, a word for HTTP/2 clients.

`edge.py` says what is served over them.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

from aiohttp import HttpVersion10, HttpVersion11, StreamReader, hdrs, web
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from .answer import HTTP2_GOAWAY, HTTP2_PREFACE, Answer, raw
from .exchange import BadHost, BadTransferEncoding, ClientGone, Exchange
from .limits import ByteBudget, Limits
from .polling import BusyPoll
from .probes import probe
from .readers import Reader

log = logging.getLogger("pointsman.edge")

Handler = Callable[[Exchange], Awaitable[None]]
"""Answers one exchange. It may raise ClientGone; any other exception is a bug and closes the connection."""

Malformed = Callable[[int, str], Answer]
"""Answer to bytes that are no HTTP request: (status, what is wrong with them)."""


_HOST, _CODINGS = hdrs.HOST, hdrs.TRANSFER_ENCODING
_A_HOST = re.compile(r"(?:\[[\w.:~%-]{2,64}\]|[^\s,@\[\]\x00-\x20\x7f]{0,255})(?::\d{0,5})?")
"""What `Host` may hold: in brackets an address, else a name as long as DNS has them. Nothing goes by it, and proxies'
checks of health name what they like; but what others on the way may read as two is refused."""
_HEAD = 64 * 1024
"""Bytes of a head in pieces, all fields together: of those that the parser takes one by one there could be 2 MB."""
_AHEAD = 64 * 1024
"""Bytes of bodies that are read ahead of their turn, and what comes with them in one read: no budget knows of them
yet. aiohttp alone would take up to 64 KiB of each of 32 requests."""
_REFUSAL_TIME = 1.0
"""Seconds for which a connection over the limit is kept to hear its 503: closed unread, it would see a reset."""
_UNSENT = 64 * 1024
"""Bytes that the kernel takes of an answer beyond what the client's window lets it send. It takes 4 MB else, of which
a client that does not read costs every one."""
_LAST_WORD = 1.0
"""Seconds that a handler is given to say that it was cut off."""
_REFUSALS = 256
"""Connections kept so at once; those beyond it are closed without a word."""


async def _unused(request: web.BaseRequest) -> web.StreamResponse:
    """aiohttp wants a handler; `Connection.start` calls `Server.handler` in its place."""
    raise NotImplementedError


_feed = RequestHandler.data_received
_NO_ANSWER = RuntimeError("a handler gave no answer")


class Connection(RequestHandler):
    """aiohttp's connection, but with limits, typed errors for garbage and a word for HTTP/2 clients."""

    __slots__ = ("_first", "_heads", "_host", "_part", "_reader", "_refused", "_timer", "door")

    def __init__(self, door: Server, **options: Any) -> None:
        super().__init__(door, **options)
        self.door = door
        self._first = True
        self._host: str | None = None  # as the last request named it: one that may be
        self._heads = 0  # requests counted when data last came
        self._part = 0  # bytes of a head of which the end has not come
        self._timer: asyncio.TimerHandle | None = None
        self._refused: asyncio.Transport | None = None
        self._reader: Reader | None = None  # while the client is waited for

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        limits = self.door.limits
        if self.door.open >= limits.connections:
            self._refuse(cast("asyncio.Transport", transport))  # uvloop's is one in all but name
            return
        raw = transport.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with suppress(OSError):  # not a TCP socket
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(limits.send_time * 1000))
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
        super().connection_made(transport)
        if raw is not None:
            probe(raw)
        self._timer = self._loop.call_later(limits.head_time, self._late)

    def pause_writing(self) -> None:
        super().pause_writing()
        raw = None if self.transport is None else self.transport.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            self._reader = Reader(self._loop, raw, self.door.limits.send_time)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reader is not None:
            self._reader.caught_up()
            self._reader = None

    def connection_lost(self, exc: BaseException | None) -> None:
        self._disarm()
        if self._reader is not None:
            self._reader.gone()
            self._reader = None
        if self._refused is not None:
            self._refused = None
            self.door.refused -= 1
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused is not None:
            self._refused.write(raw(self.door.malformed(503, "too many connections")))
            self._refused.close()
            return
        if self._first:
            self._first = False
            if data.startswith(HTTP2_PREFACE) and self.transport is not None:
                self._say(HTTP2_GOAWAY)
                return
        _feed(self, data)
        messages = self._messages
        if messages and (self._request_in_progress or len(messages) > 1) and not self._buffer_paused and self._ahead():
            self._pause_reading_for_buffer()
        if self._request_count != self._heads:
            self._heads = self._request_count
            if self._timer is not None:
                self._disarm()
        elif self._timer is not None:
            self._part += len(data)
            if self._part > _HEAD:
                self._say(raw(self.door.malformed(400, "its head is too long")))
        elif self._waiter is not None and not self._waiter.done():
            self._part = len(data)
            patience = self.door.limits.head_time
            self._timer = self._loop.call_later(patience, self._late)
            self._next_keepalive_close_time = self._loop.time() + 2 * patience  # it is not idle, and late before that

    def _late(self) -> None:
        """The head is not there in time. Who sent nothing at all gets no answer to it."""
        self._timer = None
        if not self._first:
            self._say(raw(self.door.malformed(408, "its head did not arrive in time")))
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

    def _refuse(self, transport: asyncio.Transport) -> None:
        """One connection too many. Nothing of it reaches aiohttp."""
        self._force_close = True
        self.door.refused += 1
        self._refused = transport
        if self.door.refused > _REFUSALS:
            transport.abort()
        else:
            self._timer = self._loop.call_later(_REFUSAL_TIME, transport.abort)

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Give the requests under way `timeout` seconds to end, and then cut off: a handler may say so in a word.

        In place of aiohttp's, which reads no more of it, waits for as long once more, and closes before the handler
        hears of it.
        """
        if self._keepalive_handle is not None:
            self._keepalive_handle.cancel()
        task = self._task_handler
        if self._request_in_progress and task is not None:
            await asyncio.wait({task}, timeout=timeout)
        self._force_close = True
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=_LAST_WORD)
        self.force_close()

    async def start(self) -> None:
        """Serve this connection's requests, one after the other, until it ends.

        In place of aiohttp's own loop, which makes a request, a writer, a response and a task for each (a third of the
        hop's time): everything before it, from the parser to the queue of pipelined requests, is aiohttp's.
        """
        try:
            await self._requests()
        except BaseException:  # the client left, the listener stops, or a bug: in any case this connection is over
            self.force_close()
            raise
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _requests(self) -> None:
        door, loop = self.door, self._loop
        parser, messages = cast("Any", self._parser), cast("Any", self._messages)
        while not self._force_close:  # until then there is a parser
            if not messages:
                # It goes on in the loop's next turn: what came together is parsed first and served then, which takes a
                # tenth less than each from end to end, since the second finds near what the first had to fetch.
                self._waiter = loop.create_future()
                await self._waiter
            message, payload = messages.popleft()
            parser.message_consumed()
            if self._buffer_paused:
                self._taken()
            if (
                message.__class__ is _ErrInfo
                or message.chunked
                or message.version is not HttpVersion11
                or message.headers.get(_HOST) != self._host
                or _CODINGS in message.headers
            ) and self._refuses(message):
                return
            self._request_in_progress = True
            exchange = Exchange(self, message, payload, door.budget, loop.time())
            door.in_flight += 1
            try:
                try:
                    await door.handler(exchange)
                    keeps = exchange.keeps if exchange.started else self._failed(exchange, _NO_ANSWER)
                except Exception as error:  # noqa: BLE001 - a bug of ours, unless the client left
                    keeps = self._failed(exchange, error)
                finally:
                    door.in_flight -= 1
                    door.budget.give_back(exchange.held)
                if not payload.is_eof():
                    keeps = await self._linger(payload) and keeps
            finally:
                self._request_in_progress = False
            # No further request: told to close, or the client wanted another protocol, of which we have none.
            if not keeps or self._upgraded or self._close or self._force_close:
                return
            if door.ended:  # a stream that began before: its client was told nothing, and the next may be on its way
                loop.call_later(door.linger, self.close)
            del exchange, message, payload  # before the pause: an idle connection keeps nothing of its last request
            closes = self._next_keepalive_close_time = loop.time() + self._keepalive_timeout
            if self._keepalive_handle is None:
                self._keepalive_handle = loop.call_at(closes, self._process_keepalive)

    def _taken(self) -> None:
        """A request was taken out of the queue, which was full."""
        if len(self._messages) <= self._msg_queue_resume_size and not self._ahead():
            self._resume_reading_if_drained()

    def _ahead(self) -> bool:
        """More of the next requests' bodies waits than is read ahead."""
        return sum(payload._size for _, payload in self._messages if payload.__class__ is StreamReader) > _AHEAD

    def _refuses(self, message: Any) -> bool:
        """Say what is wrong with what the parser refused, or took and we do not: HTTP/0.9, 2.0 in words, chunks in
        HTTP/1.0, which has none, so that what passed them on may not have read them, a coding beside `chunked`, which
        would have to be undone, since nobody behind this hop is told of it, a coding without a name, which others may
        take for chunks, or a `Host` that is no host."""
        if message.__class__ is _ErrInfo:
            self.refuse(message.status, message.exc)
            return True
        fields, version = message.headers, message.version
        host: str | None = fields.get(_HOST)
        if version is not HttpVersion11 and (version is not HttpVersion10 or message.chunked):
            wrong: type[BadHttpMessage] = BadHttpMessage
        elif fields.get(_CODINGS, "chunked").strip(" \t").lower() != "chunked":
            wrong = BadTransferEncoding
        elif host is not None and not _A_HOST.fullmatch(host):
            wrong = BadHost
        else:
            self._host = host  # which the connection's next requests will name as well
            return False
        self.refuse(400, wrong(""))
        return True

    def _failed(self, exchange: Exchange, error: Exception) -> bool:
        """The client left, or a bug of ours: the connection cannot have another request."""
        if isinstance(error, ClientGone):
            exchange.abort()
            return False
        log.error("a request failed inside the proxy", exc_info=error)
        if exchange.started:
            exchange.abort()
        else:
            self.refuse(500, error)
        return False

    async def _linger(self, payload: Any) -> bool:
        """Read what is left of a body that nobody wanted: closed unread, the client would see a reset, no answer."""
        try:
            async with asyncio.timeout(self._lingering_time):
                while not payload.is_eof():
                    await payload.readany()
        except (TimeoutError, web.RequestPayloadError, ConnectionError):
            return False
        return True

    def refuse(self, status: int, error: BaseException) -> None:
        """The contract's own words for bytes that are no request, or for a bug of ours. Nothing has been sent yet."""
        if self.transport is not None:
            self.transport.write(raw(self.door.malformed(status, type(error).__name__)))

    @property
    def writing_paused(self) -> bool:
        """More waits unsent than the transport's high-water mark."""
        return self._paused

    async def drained(self) -> None:
        """Wait until the client has taken enough of what waits. Raises ConnectionError."""
        await self._drain_helper()


class Heard(Connection):
    """A connection that says when its client has sent something."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.door.polling is not None:
            self.door.polling.heard(self._loop)


class Server(web.Server):
    """Makes connections, and knows which are open."""

    def __init__(
        self,
        handler: Handler,
        malformed: Malformed,
        budget: ByteBudget,
        limits: Limits,
        polling: BusyPoll | None = None,
        **options: Any,
    ) -> None:
        super().__init__(_unused, **options)
        self.handler = handler
        self.malformed = malformed
        self.budget = budget
        self.limits = limits
        self.polling = polling
        self.in_flight = 0
        """Requests that are being answered."""
        self.refused = 0
        """Connections over the limit that are still told so."""
        self.leaving = False
        self.ended = False
        """A connection gets no further request, but where its client was told nothing and asks within `linger`."""
        self.linger = 0.0
        self.empty = asyncio.Event()
        """Once `leaving`: no connection is open any more."""

    @property
    def open(self) -> int:
        """Connections that were let in."""
        return len(self._connections)  # its public list is a copy, for each connection anew

    def leave(self, linger: float) -> None:
        """Let every answer from now on be its connection's last. `linger`: seconds for which idle ones stay open."""
        self.leaving, self.linger = True, linger
        self._look()

    def pre_shutdown(self) -> None:
        """In place of aiohttp's, which reads nothing more of anybody: who is still sending a request goes on."""
        self.ended = True
        for connection in self._connections:
            if not connection._request_in_progress and not connection._messages:
                connection.close()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        task = handler._task_handler
        super().connection_lost(handler, exc)
        if self.leaving:
            if task is not None and not task.done():  # aiohttp forgets the connection when its task ends
                task.add_done_callback(self._look)
            else:
                self._look()

    def _look(self, _: object = None) -> None:
        if not self.open:
            self.empty.set()

    def __call__(self) -> Connection:
        kind = Connection if self.polling is None else Heard
        return kind(self, loop=asyncio.get_running_loop(), **self._kwargs)
