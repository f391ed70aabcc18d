"""Pooled connections to upstreams: bytes out, bytes in, facts when it fails.

Strategy: one `ClientSession` for the process, told to leave everything alone (no redirects, cookies, decompression,
default headers or URL normalisation), so that what is signed is what is sent and what arrives is what is passed on.
Every wait is bounded by the caller's absolute deadline on the loop's clock; connecting has its own, shorter limit.

A failure is a `TransportError` that knows whether the request may have reached the other side. What that means for a
retry is decided elsewhere. This file is the only importer of an HTTP client.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from policies.facts import FailureFacts, Fault

from ..base import Headers

READ_AHEAD = 64 * 1024
"""Bytes of one answer that are read ahead of a slow reader: aiohttp stops reading the socket at twice this."""

_UNSET_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request, ready to send: `url` is absolute, already percent-encoded, and sent exactly as written."""

    method: str
    url: str
    headers: Headers
    body: bytes


class TransportError(Exception):
    """No whole answer came. `sent` is False when the request surely did not reach the other side."""

    def __init__(self, cause: str, *, sent: bool, timed_out: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.sent = sent
        self.timed_out = timed_out

    @property
    def facts(self) -> FailureFacts:
        """A request that never left is safe to repeat; one that did may have run."""
        return FailureFacts(Fault.NETWORK, retry_safe=None if self.sent else True, timed_out=self.timed_out)


class Incoming(Protocol):
    """An answer whose body has not been read. Whoever gets one calls `aclose` once, read or not."""

    status: int
    headers: Headers

    def header(self, name: str) -> str | None:
        """The first value of a header field; `name` in lower case."""
        ...

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises TransportError when it breaks, is late, or is longer than `limit` bytes."""
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


class _Answer:
    """`Incoming` over an aiohttp response."""

    __slots__ = ("_deadline", "_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, deadline: float) -> None:
        self._response = response
        self._deadline = deadline
        self.status = response.status
        self.headers: Headers = tuple(response.headers.items())

    def header(self, name: str) -> str | None:
        return self._response.headers.get(name)

    async def read(self, limit: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        async for piece in self.chunks():
            size += len(piece)
            if size > limit:
                cause = f"the answer is longer than {limit} bytes"
                raise TransportError(cause, sent=True)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def chunks(self) -> AsyncIterator[bytes]:
        stream = self._response.content
        while True:
            try:
                async with asyncio.timeout_at(self._deadline):
                    piece = await stream.readany()
            except TimeoutError as error:
                cause = "the deadline passed while the answer was arriving"
                raise TransportError(cause, sent=True, timed_out=True) from error
            except (aiohttp.ClientError, OSError) as error:
                cause = f"the answer broke off: {type(error).__name__}"
                raise TransportError(cause, sent=True) from error
            if not piece:
                return
            yield piece

    async def aclose(self) -> None:
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


class HttpTransport:
    """`Transport` over one aiohttp session; made inside the running loop, closed with `aclose`."""

    def __init__(self, *, connections_per_host: int = 0, keepalive: float = 4.0) -> None:
        """`connections_per_host` 0: no limit, so that a burst is never queued behind a pool nobody sees.

        `keepalive` is how many seconds an idle connection is kept: less than the 5 s after which uvicorn (so vLLM)
        closes its end, since a request that meets a closing connection may have run and can't be sent again.
        """
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=connections_per_host,
            keepalive_timeout=keepalive,
            ttl_dns_cache=10,
            enable_cleanup_closed=False,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_UNSET_HEADERS,
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=READ_AHEAD,
            raise_for_status=False,
        )

    async def aclose(self) -> None:
        await self._session.close()

    async def send(self, request: Outgoing, *, deadline: float, connect_timeout: float) -> Incoming:
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._session.request(
                    request.method,
                    URL(request.url, encoded=True),
                    headers=CIMultiDict(request.headers),
                    data=request.body,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout, connect=None),
                )
        except (aiohttp.ConnectionTimeoutError, aiohttp.ServerTimeoutError) as error:
            cause = f"no connection within {connect_timeout:g} s"
            raise TransportError(cause, sent=False, timed_out=True) from error
        except TimeoutError as error:
            cause = "the deadline passed before the answer began"
            raise TransportError(cause, sent=True, timed_out=True) from error
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL, socket.gaierror) as error:
            cause = f"could not connect: {type(error).__name__}"
            raise TransportError(cause, sent=False) from error
        except (aiohttp.ClientError, OSError) as error:
            cause = f"the connection broke before the answer began: {type(error).__name__}"
            raise TransportError(cause, sent=True) from error
        return _Answer(response, deadline)
