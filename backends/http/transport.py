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
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from cachetools import LRUCache

from policies.values import value

from ..base import Headers
from ..patience import limit_at
from .arriving import READ_AHEAD, TransportError
from .connection import Connection

__all__ = ["READ_AHEAD", "HttpTransport", "Incoming", "Outgoing", "Transport", "TransportError"]

IDLE_PER_HOST = 256
"""Idle connections kept for one address; more are closed when they come free."""

LOOK_AFTER = 0.25
"""Seconds of idling after which a connection is looked at before use: a system call that a busy one is spared."""

ADDRESSES = 4096
"""Parsed URLs remembered."""


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


class Transport(Protocol):
    """What a backend needs of HTTP."""

    async def send(self, request: Outgoing, *, deadline: float, connect_timeout: float) -> Incoming:
        """Send `request` and return at the answer's headers. Raises TransportError."""
        ...


_BROKEN = "a header field or the URL holds a line break"


@dataclass(frozen=True, slots=True)
class _Address:
    """Where a URL leads, and how its request begins."""

    tls: bool
    host: str
    port: int
    authority: str
    """The value of `Host`: without user information and without the scheme's own port."""
    line: str
    """What follows the method: path and query as written, with what stands before them for a proxy, and `Host`."""
    key: tuple[bool, str, int]
    """What connections are kept by."""


def _address(url: str) -> _Address:
    parts: SplitResult = urlsplit(url)
    tls = parts.scheme == "https"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        cause = "the target's URL is not an http or https address"
        raise TransportError(cause, sent=False)
    port = parts.port or (443 if tls else 80)
    netloc = parts.netloc.rpartition("@")[2]
    host = netloc.rpartition(":")[0] if parts.port is not None or netloc.endswith(":") else netloc
    suffix = "" if port == (443 if tls else 80) else f":{port}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    authority = host.rstrip(".") + suffix
    line = f"{target} HTTP/1.1\r\nHost: {authority}\r\n"
    if line.count("\n") != 2 or line.count("\r") != 2 or "\0" in line:
        raise TransportError(_BROKEN, sent=False)
    return _Address(tls, parts.hostname, port, authority, line, (tls, parts.hostname, port))


class HttpTransport:
    """`Transport` over pooled connections; made inside the running loop, closed with `aclose`."""

    def __init__(
        self,
        *,
        keepalive: float = 4.0,
        context: ssl.SSLContext | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        """`keepalive` is how many seconds an idle connection is kept: less than the 5 s after which uvicorn (so vLLM)
        closes its end, since a request that meets a closing connection may have run and can't be sent again.

        `context`: TLS with another trust than the system's. `proxies`: by scheme (`http`, `https`), the URL of an HTTP
        proxy to reach it through; hosts under `no` (comma-separated, as in NO_PROXY) are reached directly.
        """
        self._loop = asyncio.get_running_loop()
        self._keepalive = keepalive
        self._context = context
        self._proxies = dict(proxies or {})
        self._idle: dict[tuple[bool, str, int], list[Connection]] = {}
        self._keys: dict[Connection, tuple[bool, str, int]] = {}
        self._addresses: LRUCache[str, _Address] = LRUCache(ADDRESSES)
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def aclose(self) -> None:
        """Close every connection, busy ones too."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._keys):
            connection.abort()
        self._keys.clear()
        self._idle.clear()
        await asyncio.sleep(0)  # connection_lost is told in the loop's next turn

    async def send(self, request: Outgoing, *, deadline: float, connect_timeout: float) -> Incoming:
        try:
            address = self._addresses[request.url]
        except KeyError:
            address = self._remember(request.url)
        message = _message(request, address)
        connection = self._take(address.key)
        if connection is None:
            connection = await self._connect(address, deadline, connect_timeout)
        answer = connection.send(message, deadline, request.first_byte, request.between_chunks)
        try:
            await answer.head
        except BaseException:
            await answer.aclose()
            raise
        return answer

    def _remember(self, url: str) -> _Address:
        address = _address(url)
        if not address.tls and self._proxy(address) is not None:
            address = replace(address, line=f"http://{address.authority}{address.line}")
        self._addresses[url] = address
        return address

    def _take(self, key: tuple[bool, str, int]) -> Connection | None:
        """An idle connection that is still good, the one used last first."""
        idle = self._idle.get(key)
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
            self._forget(connection)
            connection.abort()
        return None

    def _freed(self, connection: Connection) -> None:
        key = self._keys.get(connection)
        if key is None or self._closed:
            connection.abort()
            return
        idle = self._idle.setdefault(key, [])
        if len(idle) >= IDLE_PER_HOST:
            self._forget(connection)
            connection.abort()
            return
        connection.idle_since = self._loop.time()
        idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._keepalive, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long, and forget what is closed."""
        oldest = self._loop.time() - self._keepalive
        for key, idle in list(self._idle.items()):
            kept = [each for each in idle if not each.closed and each.idle_since > oldest]
            for connection in set(idle).difference(kept):
                connection.abort()
            if kept:
                self._idle[key] = kept
            else:
                del self._idle[key]
        for connection in [each for each in self._keys if each.closed]:
            self._forget(connection)
        self._sweeper = self._loop.call_later(self._keepalive, self._sweep) if self._keys else None

    def _forget(self, connection: Connection) -> None:
        self._keys.pop(connection, None)

    async def _connect(self, address: _Address, deadline: float, connect_timeout: float) -> Connection:
        limit = min(deadline, self._loop.time() + connect_timeout)
        try:
            async with limit_at(limit):
                connection = await self._open(address, limit)
        except TimeoutError as error:
            late = self._loop.time() >= deadline  # then it is the request whose time is over
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
        self._keys[connection] = address.key
        return connection

    async def _open(self, address: _Address, limit: float) -> Connection:
        proxy = self._proxy(address)
        context = self._tls() if address.tls else None
        if proxy is None:
            _, connection = await self._loop.create_connection(
                self._new, address.host, address.port, ssl=context, server_hostname=address.host if context else None
            )
            return connection
        _, connection = await self._loop.create_connection(self._new, proxy.host, proxy.port)
        if context is None:
            return connection
        name = f"{address.host}:{address.port}"
        tunnel = connection.send(f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode(), limit)
        await tunnel.head
        if tunnel.status != 200:
            connection.abort()
            cause = f"the proxy answered CONNECT with {tunnel.status}"
            raise TransportError(cause, sent=False)
        raw, inner = connection.detach(), self._new()
        transport = await self._loop.start_tls(raw, inner, context, server_hostname=address.host)
        if transport is None:
            cause = "the proxy closed the tunnel"
            raise TransportError(cause, sent=False)
        inner.connection_made(transport)
        return inner

    def _new(self) -> Connection:
        return Connection(self._loop, self._freed)

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context

    def _proxy(self, address: _Address) -> _Address | None:
        if not self._proxies:
            return None
        url = self._proxies.get("https" if address.tls else "http")
        if not url or _direct(address.host, self._proxies.get("no", "")):
            return None
        return _address(url if "://" in url else f"http://{url}")


def _direct(host: str, exceptions: str) -> bool:
    """Whether NO_PROXY names `host`: itself, or a domain it lies in."""
    names = [name.strip().lstrip(".") for name in exceptions.split(",") if name.strip()]
    return any(name == "*" or host == name or host.endswith(f".{name}") for name in names)


def _message(request: Outgoing, address: _Address) -> bytes:
    """The request's bytes. Raises TransportError for a field that would end the head or begin another."""
    headers, body = request.headers, request.body
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
    count = len(headers)
    if fields.count("\n") != count or fields.count("\r") != count or "\0" in fields:
        raise TransportError(_BROKEN, sent=False)
    head = f"{request.method} {address.line}{fields}Content-Length: {len(body)}\r\n\r\n"
    return head.encode("utf-8", "surrogateescape") + body


def _has_news(connection: Connection) -> bool:
    """Whether an idle connection has something to read: its end, or bytes that nobody asked for."""
    descriptor = connection.fileno()
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
