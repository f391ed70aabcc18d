"""Pooled connections to upstreams: bytes out, bytes in, facts when it fails.

Strategy: a pool of our own on llhttp, since a general client costs more than everything else in the hop (measured:
72 % of an aiohttp pass-through). It sends exactly what it is given, so that what is signed is what is sent, follows
nothing, adds nothing but Host and Content-Length, and unpacks nothing. Every wait is bounded by the caller's absolute
deadline on the loop's clock; connecting has its own, shorter limit. Idle connections are kept newest first, for less
time than common servers keep theirs, and one that has news while idle (its end, mostly) is not used again.

A failure is a `TransportError` that knows whether the request may have reached the other side. What that means for a
retry is decided elsewhere. This file and `connection` are the only ones that speak HTTP to an upstream.
"""

from __future__ import annotations

import asyncio
import math
import select
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import replace
from typing import Protocol
from weakref import WeakValueDictionary

from aiohappyeyeballs import start_connection
from cachetools import LRUCache

from policies.values import value

from ..base import Headers
from ..patience import ON_TIME, limit_at
from .arriving import READ_AHEAD, Answer, TransportError
from .connection import Connection, Home
from .egress import DIRECT, Egress, ForwardProxy
from .names import Names
from .roads import Road, lines, message_of, road_to

__all__ = [
    "READ_AHEAD",
    "HttpTransport",
    "Incoming",
    "Outgoing",
    "Posts",
    "Road",
    "Transport",
    "TransportError",
    "lines",
]

IDLE_PER_HOST = 256
"""Idle connections kept for one address; more are closed when they come free."""

STAGGER = 0.25
"""Seconds after which a name's next address is tried beside the one before, if that has not answered (RFC 8305, 5)."""

LOOK_AFTER = 0.25
"""Seconds of idling after which a connection is looked at before use: a system call that a busy one is spared."""

ROADS = 4096
"""Parsed URLs remembered of those who send to many."""


@value(frozen=True, slots=True)
class Outgoing:
    """A request, ready to send: `url` is absolute, already percent-encoded, and sent exactly as written."""

    method: str
    url: str
    headers: Headers
    body: bytes
    first_byte: float = math.inf
    """Seconds that the first piece of the answer's body is waited for, from sending."""
    between_chunks: float = math.inf
    """Seconds that each next piece is waited for; time in which our reader is behind does not count."""


class Incoming(Protocol):
    """An answer whose body has not been read. Whoever gets one calls `aclose` once, read or not."""

    status: int

    @property
    def headers(self) -> Headers:
        """All fields of the head."""
        ...

    @property
    def first(self) -> Mapping[bytes, bytes]:
        """The first value of each field, by its name in lower case, as it was sent."""
        ...

    def header(self, name: str) -> str | None:
        """The first value of a header field; `name` in lower case."""
        ...

    def at_hand(self, limit: int) -> bytes | None:
        """The whole body where it is here already and no longer than `limit`; else None, and nothing is taken."""
        ...

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises TransportError when it breaks, is late, or is longer than `limit` bytes."""
        ...

    async def piece(self) -> bytes:
        """The next piece of the body, empty at its end. Raises TransportError when it breaks or is late."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, in non-empty pieces. Raises TransportError when it breaks or is late."""
        ...

    async def aclose(self) -> None:
        """Free the connection; one whose body was not read to its end is closed, not reused."""
        ...


class Arriving(Incoming, Protocol):
    """An answer whose head may be still to come."""

    @property
    def head(self) -> Awaitable[None]:
        """Done when the head is here. Raises TransportError when none comes."""
        ...

    def free(self) -> None:
        """`aclose`, at once."""
        ...


class Transport(Protocol):
    """What whoever asks now and then needs of HTTP."""

    async def send(self, request: Outgoing, *, deadline: float, connect_timeout: float) -> Incoming:
        """Send `request` and return at the answer's headers. Raises TransportError."""
        ...


class Posts(Protocol):
    """What a backend needs of HTTP: each request at as few steps as can be."""

    def road(self, url: str) -> Road:
        """Where `url` leads. Raises TransportError where that is no address, or one that would end a request's head."""
        ...

    def begin(
        self, road: Road, fields: str, count: int, body: bytes, deadline: float, first_byte: float, between: float
    ) -> Arriving | None:
        """POST `body` over a connection that is idle: the answer, whose `head` is still to come; None: there is none.

        `fields` is `count` header fields as they are sent, each with its line's end. For the rest see `Outgoing`.
        Raises TransportError where one of them holds a line break.
        """
        ...

    async def follow(
        self,
        road: Road,
        fields: str,
        count: int,
        body: bytes,
        deadline: float,
        first_byte: float,
        between: float,
        connect_timeout: float,
    ) -> Arriving:
        """`begin`, over a new connection, and return at the answer's headers. Raises TransportError."""
        ...


class HttpTransport:
    """`Transport` over pooled connections; made inside the running loop, closed with `aclose`."""

    def __init__(self, egress: Egress = DIRECT, *, keepalive: float = 4.0) -> None:
        """`keepalive` is how many seconds an idle connection is kept: less than the 5 s after which uvicorn (so vLLM)
        closes its end, since a request that meets a closing connection may have run and can't be sent again.
        """
        self._loop = asyncio.get_running_loop()
        self._names = Names(self._loop)
        self._keepalive = keepalive
        self._context = egress.trust
        self._egress = egress
        self._homes: WeakValueDictionary[tuple[bool, str, int], Home] = WeakValueDictionary()
        self._made: set[Connection] = set()
        self._roads: LRUCache[str, Road] = LRUCache(ROADS)
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def aclose(self) -> None:
        """Close every connection, busy ones too."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._names.close()
        for connection in list(self._made):
            connection.abort()
        self._made.clear()
        for home in self._homes.values():
            home.idle.clear()
        await asyncio.sleep(0)  # connection_lost is told in the loop's next turn

    def road(self, url: str) -> Road:
        """See `Posts`."""
        road = road_to(url)
        proxy = None if road.tls else self._proxy(road)
        if proxy is not None:
            road = replace(road, line=f"http://{road.authority}{road.line}{proxy.authorization}")
        key = (road.tls, road.host, road.port)
        home = self._homes.get(key)
        if home is None:
            home = self._homes[key] = road.home
        return replace(road, home=home)

    def begin(
        self, road: Road, fields: str, count: int, body: bytes, deadline: float, first_byte: float, between: float
    ) -> Answer | None:
        """See `Posts`."""
        message = message_of("POST", road, fields, count, body)
        idle = road.home.idle
        connection = self._take(idle) if idle else None
        return None if connection is None else connection.send(message, deadline, first_byte, between)

    async def follow(
        self,
        road: Road,
        fields: str,
        count: int,
        body: bytes,
        deadline: float,
        first_byte: float,
        between: float,
        connect_timeout: float,
    ) -> Answer:
        """See `Posts`."""
        message = message_of("POST", road, fields, count, body)
        connection = await self._connect(road, deadline, connect_timeout)
        return await _headed(connection.send(message, deadline, first_byte, between))

    async def send(self, request: Outgoing, *, deadline: float, connect_timeout: float) -> Incoming:
        """See `Transport`."""
        try:
            road = self._roads[request.url]
        except KeyError:
            road = self._roads[request.url] = self.road(request.url)
        message = message_of(request.method, road, lines(request.headers), len(request.headers), request.body)
        connection = self._take(road.home.idle) or await self._connect(road, deadline, connect_timeout)
        return await _headed(connection.send(message, deadline, request.first_byte, request.between_chunks))

    def _take(self, idle: list[Connection]) -> Connection | None:
        """An idle connection that is still good, the one used last first."""
        now = self._loop.time()
        while idle:
            connection = idle.pop()
            waited = now - connection.idle_since
            if (
                not connection.closed
                and waited < self._keepalive
                and not (waited > LOOK_AFTER and _has_news(connection))
            ):
                return connection
            self._made.discard(connection)
            connection.abort()
        return None

    def _freed(self, connection: Connection) -> None:
        home = connection.home
        if home is None or self._closed or len(home.idle) >= IDLE_PER_HOST:
            self._made.discard(connection)
            connection.abort()
            return
        connection.idle_since = self._loop.time()
        home.idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._keepalive, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long, and forget what is closed."""
        oldest = self._loop.time() - self._keepalive
        for home in list(self._homes.values()):
            kept = [each for each in home.idle if not each.closed and each.idle_since > oldest]
            for connection in set(home.idle).difference(kept):
                connection.abort()
            home.idle[:] = kept
        self._made.difference_update([each for each in self._made if each.closed])
        self._sweeper = self._loop.call_later(self._keepalive, self._sweep) if self._made else None

    async def _connect(self, road: Road, deadline: float, connect_timeout: float) -> Connection:
        limit = min(deadline, self._loop.time() + connect_timeout)
        try:
            async with limit_at(limit):
                connection = await self._open(road, limit)
        except TimeoutError as error:
            late = self._loop.time() + ON_TIME >= deadline  # then it is the request whose time is over
            cause = "the deadline passed" if late else f"no connection within {connect_timeout:g} s"
            raise TransportError(cause, sent=False, timed_out=late) from error
        except ssl.SSLError as error:
            cause = f"TLS failed: {error.reason or type(error).__name__}"
            raise TransportError(cause, sent=False) from error
        except socket.gaierror as error:
            cause = "the target's name does not resolve"
            raise TransportError(cause, sent=False) from error
        except OSError as error:
            cause = f"could not connect: {type(error).__name__}"
            raise TransportError(cause, sent=False) from error
        connection.home = road.home
        self._made.add(connection)
        return connection

    async def _open(self, road: Road, limit: float) -> Connection:
        proxy = self._proxy(road)
        context = self._tls() if road.tls else None
        name_there = road.host.rstrip(".")  # the root's dot is for the resolver: no certificate has it
        if proxy is None:
            return await self._dialed(road.host, road.port, context, name_there)
        connection = await self._dialed(proxy.host, proxy.port, None, None)
        if context is None:
            return connection
        name = f"[{road.host}]:{road.port}" if ":" in road.host else f"{road.host}:{road.port}"
        asked = f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n{proxy.authorization}\r\n"
        tunnel = connection.send(asked.encode(), limit)
        await tunnel.head
        if tunnel.status != 200:
            connection.abort()
            cause = f"the proxy answered CONNECT with {tunnel.status}"
            raise TransportError(cause, sent=False)
        raw, inner = connection.detach(), self._new()
        transport = await self._loop.start_tls(raw, inner, context, server_hostname=name_there)
        if transport is None:
            cause = "the proxy closed the tunnel"
            raise TransportError(cause, sent=False)
        inner.connection_made(transport)
        return inner

    async def _dialed(self, host: str, port: int, context: ssl.SSLContext | None, name_there: str | None) -> Connection:
        """A connection to the first of a name's addresses that takes one. Each is tried a moment after the one before:
        where nobody answers costs that moment, and not all the time there is (RFC 8305, 5)."""
        places = await self._names.places(host, port)
        certified = name_there if context else None
        if len(places) == 1:  # nothing to race, and no socket where the loop has a network of its own (rehearsals)
            at = places[0][4][0]
            _, only = await self._loop.create_connection(self._new, at, port, ssl=context, server_hostname=certified)
            return only
        try:
            reached = await start_connection(places, happy_eyeballs_delay=STAGGER, interleave=1, loop=self._loop)
        except RuntimeError as error:  # as uvloop may put it
            raise OSError(str(error)) from error
        try:
            _, first = await self._loop.create_connection(
                self._new, sock=reached, ssl=context, server_hostname=certified
            )
        except BaseException:
            reached.close()
            raise
        return first

    def _new(self) -> Connection:
        return Connection(self._loop, self._freed)

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context

    def _proxy(self, road: Road) -> ForwardProxy | None:
        return self._egress.proxy(tls=road.tls, host=road.host, port=road.port)


async def _headed(answer: Answer) -> Answer:
    """The answer at its headers; freed where they do not come."""
    try:
        await answer.head
    except BaseException:
        answer.free()
        raise
    return answer


def _has_news(connection: Connection) -> bool:
    """Whether an idle connection has something to read: its end, or bytes that nobody asked for."""
    descriptor = connection.fileno()
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
