"""One connection to an upstream: one request at a time out, one answer in, parsed by llhttp in its strict mode.

Strategy: an `asyncio.Protocol` that feeds bytes to httptools and hands the answer to an `Answer`, which a reader
empties; while it is too far behind the socket is not read. One timer per request ends whatever is being waited for when
its deadline comes, or when the other side has said nothing for too long: that timer is moved only when it fires, so a
piece that arrives costs one look at the clock. An answer's end is known by its length, its last chunk, or, where it has
neither, by the connection's end; anything else that ends it is a failure that says whether the request had been sent.
Interim answers (1xx) are passed over. A connection is freed for the pool above only when the answer was read to its
end, the other side means to keep it, and nothing came after. A 408 that closes a connection which was idle before is
its end, which met a request on its way, and no answer to that.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import httptools

from .arriving import Answer, TransportError
from .probes import probe

HEAD_LIMIT = 64 * 1024
"""Bytes of an answer's head, all fields together: four times what common servers send at most. Of a trailer as well."""

FIELD_LIMIT = 256
"""Fields of an answer's head."""

UNREAD = 256 * 1024
"""Bytes of an answer that the kernel keeps for us (SO_RCVBUF): where we stop reading for a slow client it would keep
1.6 MB, and up to 32. An answer may come at 100 MB a second from 2 ms away, and at 4 MB from another continent."""
AT_ONCE = 5.0
"""Seconds after the answer before within which a 408 is about the pause between the two: the pool's 4, and one more."""
_NO_BODY = frozenset({204, 304})
_LEFT: list[bytes] = []
"""The pieces of an answer that was released: what arrives from then on is another answer's."""


class Home:
    """Where the connections to one address wait for their next request, the one used last at the end."""

    __slots__ = ("__weakref__", "idle")

    def __init__(self) -> None:
        self.idle: list[Connection] = []


class Connection(asyncio.Protocol):
    """One connection. `freed` is told when its answer was released, and may take it for another request."""

    def __init__(self, loop: asyncio.AbstractEventLoop, freed: Callable[[Connection], None]) -> None:
        self.loop = loop
        self.closed = False
        self.idle_since = 0.0
        self.home: Home | None = None
        """None: it is used once."""
        self._freed = freed
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = math.inf
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self.paused = False
        self._spoiled = False
        self._pieces: list[bytes] = []  # of the body, until the answer's reader takes them
        self.on_body = self._pieces.append  # what the parser calls for each chunk: not even a function of ours
        self._fields: list[tuple[bytes, bytes]] = []
        self._framing = 0  # bytes since the last piece of a body: head, trailer, and what stands between chunks
        self._expected: list[None] = []  # one for each message that may begin: what else does is in doubt
        self.on_message_begin = self._expected.pop  # as above; it fails where none is left, and so does the parser
        self._parser = httptools.HttpResponseParser(self)

    # The pool's side.

    def send(self, request: bytes, deadline: float, first_byte: float = math.inf, between: float = math.inf) -> Answer:
        """Write a whole request and return its answer, whose `head` is still to come.

        `first_byte` and `between` are seconds: how long the first piece of the body, and each next one, is waited for.
        """
        transport = self._transport
        if transport is None:
            cause = "the connection closed before the request was sent"
            raise TransportError(cause, sent=False)
        self._fields = []
        self._framing = 0
        self._expected.append(None)
        transport.write(request)  # what follows is done while it is on its way
        answer = self._answer = Answer(self, self._pieces, deadline, first_byte, between)
        due = answer.due
        if due > deadline:
            due = deadline
        if due < self._looks_at:
            self.watch(due)
        return answer

    def watch(self, due: float) -> None:
        """Look after the answer at `due` at the latest.

        A timer that is armed already and fires earlier will do: it looks, and is moved. So a busy connection keeps one
        timer for all its requests, where arming and disarming one for each costs 3 us.
        """
        if due < self._looks_at:
            if self._timer is not None:
                self._timer.cancel()
            self._looks_at = due
            self._timer = self.loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer, self._looks_at = None, math.inf
        # Where the loop stood still, what came meanwhile is read before anybody is called silent: in two turns, since
        # uvloop looks at timers and at what is to be called soon before it looks at sockets.
        self.loop.call_soon(self.loop.call_soon, self._looked)

    def _looked(self) -> None:
        answer = self._answer
        if answer is None or answer.complete or self.closed:
            return
        due = answer.looked_at(self.loop.time())
        if due is None:
            self.abort()
        else:
            self.watch(due)

    def resume(self) -> None:
        """Read on: the reader has caught up."""
        if self.paused and self._transport is not None:
            self.paused = False
            self._transport.resume_reading()
            if self._answer is not None:
                self._answer.heard_again()

    def release(self, answer: Answer) -> None:
        """`answer` is not wanted any more, read or not."""
        if self._answer is not answer:
            return
        self._answer = None
        emptied = answer.complete and not self._pieces
        answer.pieces = _LEFT
        transport = self._transport
        # An answer that came before its request was out may be all that the other side meant to do here.
        if emptied and not self._spoiled and not self.closed and transport and not transport.get_write_buffer_size():
            self._freed(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Close at once; what is unsent is dropped."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def fileno(self) -> int:
        """The socket's descriptor, to look whether an idle connection has news; -1 when it is gone."""
        socket = None if self._transport is None else self._transport.get_extra_info("socket")
        return -1 if socket is None else int(socket.fileno())

    def detach(self) -> asyncio.Transport:
        """Give the raw connection away, as after CONNECT."""
        if self._transport is None:
            message = "there is no connection to give away"
            raise RuntimeError(message)
        self._answer = None
        return self._transport

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            probe(raw)
            with suppress(OSError):  # not a socket of the internet
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or answer.complete:
            self.abort()  # nothing was asked: what the next answer would be is in doubt
            return
        pieces = self._pieces
        before = len(pieces)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail("the answer is not valid HTTP/1.1")
            return
        if answer.complete:
            answer.wake()  # type: ignore[unreachable] # the parser has called us
        elif len(pieces) > before:
            # Pieces of the body are looked after once for all that came together.
            self._framing = 0
            if answer.arrived(len(data)) and not self.paused and self._transport is not None:
                self.paused = True
                self._transport.pause_reading()
        else:
            self._framing += len(data)
            if self._framing > HEAD_LIMIT:
                what = "trailer, or what stands between two chunks," if answer.status else "head"
                self._fail(f"the answer's {what} is longer than {HEAD_LIMIT} bytes")

    def eof_received(self) -> None:
        """The other side says no more, by FIN or by TLS's own word; its end without a word is only a lost connection.

        What is unsent keeps the connection, so that an answer which waited for its end might wait for ever.
        """
        self.closed = True
        answer = self._answer
        if answer is None:
            return
        if answer.until_close:
            answer.ended()
        else:
            _broken(answer, None)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        transport, self._transport = self._transport, None
        if self._answer is not None and transport is not None:
            self._rest(transport.get_extra_info("ssl_object"))
        answer, self._answer = self._answer, None
        if answer is not None:
            _broken(answer, error)

    def _rest(self, tls: ssl.SSLObject | None) -> None:
        """Take what TLS has of the answer: uvloop drops it where the connection ends while its reader is behind."""
        if tls is not None:
            with suppress(ssl.SSLError):  # no more, and not the end either
                while data := tls.read(UNREAD):
                    self.data_received(data)
                self.eof_received()

    def _fail(self, cause: str) -> None:
        if self._answer is not None:
            self._answer.failed(TransportError(cause, sent=True))
        self.abort()

    # httptools' side.

    def on_header(self, name: bytes, value: bytes) -> None:
        fields = self._fields
        if len(fields) >= FIELD_LIMIT:
            raise _Refused
        # The parser leaves spaces behind a value. A tab stays, as with one it takes `chunked` for some other coding.
        fields.append((name, value.rstrip(b" ")))

    def on_headers_complete(self) -> None:
        parser, answer = self._parser, self._answer
        status = parser.get_status_code()
        if status < 200 or answer is None:
            if status == 101 or status < 100:  # another protocol; or no status at all, and so no interim answer
                raise _Refused
            return
        fields = self._fields
        first: dict[bytes, bytes] = {}
        for name, value in fields:
            first.setdefault(name.lower(), value)
        coding = first.get(b"transfer-encoding")
        if coding is not None or b"content-length" in first or status in _NO_BODY:
            if coding is not None and coding != b"chunked" and coding.lower() != b"chunked":
                raise _Refused  # one more coding, which we would have to undo: nobody behind us is told of it
            # HTTP/1.0 has no chunks: what passes them on all the same may never have read them.
            misread = coding is not None and parser.get_http_version() == "1.0"
            self._spoiled = misread or not parser.should_keep_alive()
        else:
            self._spoiled = answer.until_close = True
        if status == 408 and self._spoiled and self._unasked(answer):
            raise _Refused
        self._fields = []  # what comes behind the body is no part of the head (RFC 9110, 6.5.1)
        answer.began(status, fields, first)

    def _unasked(self, answer: Answer) -> bool:
        """Whether a 408 that ends the connection is its good-bye: the other side had waited long enough for a next
        request, which met it on the way (RFC 9110, 15.5.9). One that comes late, or over a connection that was new or
        goes on, is an answer."""
        if not self.idle_since or self.loop.time() - self.idle_since > AT_ONCE:
            return False
        cause = "the other side gave up waiting for a request (408) before this one was there"
        answer.failed(TransportError(cause, sent=False))
        return True

    def on_message_complete(self) -> None:
        answer = self._answer
        if answer is None:
            return
        if answer.status:
            answer.complete = True
        else:  # an interim answer
            self._fields = []
            self._expected.append(None)


def _broken(answer: Answer, error: Exception | None) -> None:
    """Nothing more will come of `answer`, which fails unless it is complete."""
    where = "while the answer was arriving" if answer.head.done() else "before the answer began"
    cause = f"the connection broke {where}" + (f": {type(error).__name__}" if error else "")
    answer.failed(TransportError(cause, sent=True))


class _Refused(Exception):
    """An answer that the parser would take and we do not."""
