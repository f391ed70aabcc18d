"""One request and the one answer to it, as handlers know it.

A slow reader holds back its own upstream: after `Exchange.put` whoever writes waits until less than `WRITE_BUFFER`
bytes are unsent, and nothing is read from the upstream meanwhile but what `transport.READ_AHEAD` states. What the
kernel keeps on both sides is bounded as well.

Heads are text: whole lines that hold no break but the one at their end. `answer.lines` makes them of any fields.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import HttpVersion11, StreamReader, hdrs, web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http_exceptions import BadHttpMessage

from ..base import Headers
from ..patience import limit_at
from .answer import Answer, head, lines
from .limits import BodyTooLarge, ByteBudget

if TYPE_CHECKING:
    from .inbound import Connection

WRITE_BUFFER = 64 * 1024
"""Unsent bytes of one answer above which a writer waits (asyncio's own high-water mark)."""

_JOINED = 64 * 1024
"""Bytes of the longest body that is copied behind its head: a copy is cheaper than a second buffer to send."""

_VERSION_1_1 = HttpVersion11
_BODY = StreamReader


class BadHost(BadHttpMessage):
    """`Host` holds what is no host."""


class BadTransferEncoding(BadHttpMessage):
    """The body has a coding that nobody behind this hop is told of."""


class ClientGone(Exception):
    """The client closed the connection, or was too slow for the deadline."""


class BodyTooSlow(ClientGone):
    """The body did not arrive before its deadline: the client is still there to be told so, and then it is gone."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a client has shown of itself: once for a connection, and for the sessions that it resumes after that."""

    name: str
    """The subject's common name."""
    until: float
    """Seconds since the epoch. TLS looks when it is shown, and never again."""


class Exchange:
    """One request and the one answer to it."""

    __slots__ = (
        "_budget",
        "_chunked",
        "_connection",
        "_corked",
        "_message",
        "_payload",
        "_whole",
        "arrived",
        "body_size",
        "headers",
        "held",
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
        self._whole = False
        self._chunked = True
        self._corked: bytes | None = None
        self.arrived = arrived
        """When the head was read, on the loop's clock."""
        self.method: str = message.method
        self.raw_path: str = message.path
        """As the client sent it: percent-encoded, with query."""
        self.headers: Headers = tuple(message.headers.items())
        self.body_size = 0
        self.held = 0
        """Bytes of the budget, which the connection gives back once the request is over."""
        self.started = False
        """The head of an answer is out: no other answer can be given."""
        self.keeps = not message.should_close
        """The connection can have another request after this one."""

    @property
    def certificate(self) -> Certificate | None:
        """The client's certificate, which TLS has verified; None when it showed none, or one without a common name."""
        transport = self._connection.transport
        found = transport.get_extra_info("peercert") if transport is not None else None
        if not found:
            return None
        names = (value for part in found.get("subject", ()) for name, value in part if name == "commonName")
        name = next(names, None)
        return None if name is None else Certificate(name, ssl.cert_time_to_seconds(found["notAfter"]))

    @property
    def connected(self) -> bool:
        """The client is there, as far as is known."""
        transport = self._connection.transport
        return transport is not None and not transport.is_closing()

    def body_at_hand(self, limit: int) -> bytes | None:
        """The request body where all of it came with the head, as most do; else None, and it is to be read.

        Raises BodyTooLarge and BudgetSpent as `read_body` does.
        """
        content = self._payload
        body: bytes
        if content.__class__ is _BODY and content._eof and len(content._buffer) == 1 and content._exception is None:
            body = content._buffer.popleft()  # what `read_nowait` comes to for a body in one piece, in five calls
        elif not content.is_eof():
            return None
        else:
            try:
                body = content.read_nowait(-1)
            except (web.RequestPayloadError, ConnectionError) as error:
                raise ClientGone from error
        self._whole = True
        size = self.body_size = len(body)
        if size > limit:
            raise BodyTooLarge(limit)
        self._budget.take(size)
        self.held = size
        return body

    async def read_body(self, limit: int, deadline: float) -> bytes:
        """The request body.

        Raises:
            BodyTooLarge: it is, or says it will be, longer than `limit` bytes.
            BudgetSpent: the bodies in flight leave no room for it, or for the next of it by the time it comes.
            BodyTooSlow: it did not arrive before `deadline`.
            ClientGone: the connection ended before it was whole.
        """
        body = self.body_at_hand(limit)
        if body is not None:
            return body
        fields, content = self._message.headers, self._payload
        declared = fields.get(hdrs.CONTENT_LENGTH)
        if declared is not None:
            size = int(declared.lstrip("0") or "0")  # digits, and no more than 64 bits: the parser has seen to it
            if size > limit:
                raise BodyTooLarge(limit)
            self._budget.ask(size)
        interim = self._message.version >= _VERSION_1_1  # a client of HTTP/1.0 would take it for the answer
        if interim and hdrs.EXPECT in fields and fields[hdrs.EXPECT].lower() == "100-continue":
            self._transport().write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            async with limit_at(deadline):
                body = await self._read(content, limit)
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
        self.held += size

    async def _read(self, content: Any, limit: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while piece := await content.readany():
            size += len(piece)
            if size > limit:
                raise BodyTooLarge(limit)
            self._take(len(piece))
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def reply(self, answer: Answer) -> None:
        """Send a whole answer; returns when less than WRITE_BUFFER bytes wait. Raises ClientGone."""
        if self.answer(answer.status, lines(answer.headers), answer.body):
            await self.drained()

    def answer(self, status: int, fields: str, body: bytes) -> bool:
        """Send a whole answer, whose own header fields are these lines: head and body in one write, one system call.

        True when the caller has to wait for `drained` before the request is over. Raises ClientGone.
        """
        connection, size = self._connection, len(body)
        transport = connection.transport
        if transport is None or transport.is_closing():
            raise ClientGone
        said = head(status, fields, self._framing(f"Content-Length: {size}\r\n"))
        self.started = True
        if self.method == "HEAD":
            transport.write(said)
        elif size <= _JOINED:
            transport.write(said + body)
        else:
            # Not `writelines`: that of asyncio's own loop tells nobody to wait (CVE-2024-12254, up to Python 3.12.8).
            transport.write(said)
            transport.write(body)
        return connection._paused

    def start(self, status: int, fields: str) -> None:
        """Send the head of an answer whose body follows in pieces, with those that follow in this turn of the loop."""
        self._chunked = self._message.version >= _VERSION_1_1
        if not self._chunked:  # the connection's end is the body's
            self.keeps = False
        said = head(status, fields, self._framing("Transfer-Encoding: chunked\r\n" if self._chunked else ""))
        self._transport()
        self.started = True
        self._corked = said
        self._connection._loop.call_soon(self.uncork)

    def uncork(self) -> None:
        """Send what waits for the end of the turn: each write is a system call that wakes the client."""
        corked, self._corked = self._corked, None
        transport = self._connection.transport
        if corked and transport is not None and not transport.is_closing():
            transport.write(corked)

    def put(self, piece: bytes) -> bool:
        """Send a piece of the body; True when the caller has to wait for `drained` before the next. Raises ClientGone.

        A stream is many small pieces: none of them costs a coroutine.
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
                    self.uncork()
        return self._connection._paused

    def finish(self) -> bool:
        """End the body cleanly; True when the caller has to wait for `drained`. Raises ClientGone."""
        self._transport()
        if self._chunked and self.method != "HEAD":
            self._corked = (self._corked or b"") + b"0\r\n\r\n"
        self.uncork()
        return self._connection._paused

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
        if self._connection.door.leaving:
            self.keeps = False  # the client then opens another one, and loses nothing by it
        elif not self._whole and not self._payload.is_eof() and hdrs.EXPECT in self._message.headers:
            self.keeps = False  # it was not told to go on: what comes next may be the body or another request
        if self.keeps:
            kept = "" if self._message.version >= _VERSION_1_1 else "Connection: keep-alive\r\n"
        else:
            kept = "Connection: close\r\n"
        return f"{length}Date: {rfc822_formatted_time()}\r\n{kept}"

    def abort(self) -> None:
        """Reset the connection: what was sent must not be taken for a whole answer."""
        self.keeps = False
        self.uncork()
        transport = self._connection.transport
        if transport is None:
            return
        if not self._chunked:  # the connection's end would be the body's: it has to be a reset
            raw = transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
