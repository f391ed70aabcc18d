"""One connection to an upstream: one request at a time out, one answer in, parsed by llhttp in its strict mode.

Strategy: an `asyncio.Protocol` that feeds bytes to httptools and hands the answer to an `Answer`, which a reader
empties. What is ahead of the reader is bounded by `READ_AHEAD`: past it the socket is not read. One timer per request
ends whatever is being waited for when its deadline comes, or when the other side has said nothing for too long: that
timer is moved only when it fires, so a piece that arrives costs one look at the clock. A reader that is behind does
not count as an upstream that is silent. An answer's end is known by its length, its last chunk, or,
where it has neither, by the connection's end; anything else that ends it is a failure that says whether the request had
been sent. Interim answers (1xx) are passed over. Promises for the pool above: `reusable` is True only when the answer
was read to its end, the other side means to keep the connection, and nothing came after it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping
from typing import cast

import httptools

from policies.facts import FailureFacts, Fault

from ..base import Headers

READ_AHEAD = 64 * 1024
"""Bytes of one answer that may wait for their reader before the socket is no longer read."""

HEAD_LIMIT = 64 * 1024
"""Bytes of an answer's head, all fields together: four times what common servers send at most. Of a trailer as well."""

FIELD_LIMIT = 256
"""Fields of an answer's head."""

_NO_BODY = frozenset({204, 304})


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


class Answer:
    """The answer to one request, arriving. `headers` and `status` are set once `head` is done."""

    __slots__ = (
        "_between",
        "_connection",
        "_deadline",
        "_due",
        "_error",
        "_fields",
        "_first",
        "_pieces",
        "_waiter",
        "_waiting_bytes",
        "complete",
        "head",
        "status",
        "until_close",
    )

    def __init__(self, connection: Connection, deadline: float, first_byte: float, between: float) -> None:
        loop = connection.loop
        self._deadline = deadline
        self._between = between
        self._due = first_byte if first_byte == math.inf else loop.time() + first_byte
        self._connection = connection
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: TransportError | None = None
        self.head: asyncio.Future[None] = loop.create_future()
        self.status = 0
        self._fields: list[tuple[bytes, bytes]] = []
        self._first: Mapping[bytes, bytes] = {}
        self.complete = False
        self.until_close = False
        connection.watch(self._due if self._due < deadline else deadline)

    @property
    def headers(self) -> Headers:
        """All fields in their order; decoded when they are asked for, as most answers are read by a few of them."""
        return tuple((name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in self._fields)

    def header(self, name: str) -> str | None:
        """The first value of a header field; `name` in lower case."""
        value = self._first.get(name.encode("latin-1"))
        return None if value is None else value.decode("utf-8", "surrogateescape")

    def at_hand(self, limit: int) -> bytes | None:
        """The whole body where it has arrived already and is no longer than `limit`: the connection is then free.

        None otherwise, and nothing is taken. Most answers come in one piece with their head, and this spares them the
        three coroutines of `read` and `aclose`.
        """
        if not self.complete or self._error is not None or self._waiting_bytes > limit:
            return None
        whole = self._taken() if self._pieces else b""
        self._connection.release(self)
        return whole

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises TransportError when it breaks, is late, or is longer than `limit` bytes."""
        whole = self._taken()
        pieces = [whole]
        size = len(whole)
        while size <= limit and await self._more():
            piece = self._taken()
            size += len(piece)
            pieces.append(piece)
        if size > limit:
            cause = f"the answer is longer than {limit} bytes"
            raise TransportError(cause, sent=True)
        return whole if len(pieces) == 1 else b"".join(pieces)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, in non-empty pieces. Raises TransportError when it breaks or is late."""
        while self._pieces or await self._more():
            yield self._taken()

    async def piece(self) -> bytes:
        """All of the body that has arrived since, at least a byte; empty at its end. Raises as `chunks` does."""
        return self._taken() if self._pieces or await self._more() else b""

    def _taken(self) -> bytes:
        """All that has arrived, at once: one turn through the layers above for many small chunks."""
        pieces = self._pieces
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._waiting_bytes = 0
        self._connection.resume()
        return piece

    async def _more(self) -> bool:
        """Wait until there is something to take; False at the proper end."""
        while not self._pieces:
            if self.complete:
                return False
            if self._error is not None:
                raise self._error
            self._waiter = self._connection.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return True

    async def aclose(self) -> None:
        """Free the connection; one whose answer was not read to its end is closed, not reused."""
        self._connection.release(self)

    @property
    def emptied(self) -> bool:
        """The whole answer has arrived and been read."""
        return self.complete and not self._pieces

    def began(
        self, status: int, fields: list[tuple[bytes, bytes]], first: Mapping[bytes, bytes], *, until_close: bool
    ) -> None:
        """The head is here; `first` has the first value of each field by its name in lower case."""
        self.status, self._fields, self._first, self.until_close = status, fields, first, until_close
        if not self.head.done():
            self.head.set_result(None)

    def arrived(self, piece: bytes) -> bool:
        """A piece of the body is here; True when the reader is too far behind for more."""
        self._pieces.append(piece)
        self._waiting_bytes += len(piece)
        if self._between != math.inf or self._due != math.inf:
            before, self._due = self._due, self._connection.loop.time() + self._between
            if self._due < before:  # the wait for a first piece was the longer one
                self._connection.watch(min(self._deadline, self._due))
        self._wake()
        return self._waiting_bytes > READ_AHEAD

    def ended(self) -> None:
        """The last piece has arrived."""
        self.complete = True
        self._wake()

    def failed(self, error: TransportError) -> None:
        """No more will arrive; what has is still read first."""
        if self.complete or self._error is not None:
            return
        self._error = error
        if not self.head.done():
            self.head.set_exception(error)
        self._wake()

    def heard_again(self) -> None:
        """The socket is read again after a time in which it was not: what the other side was then is not known."""
        if self._due != math.inf:
            self._due = self._connection.loop.time() + self._between

    def looked_at(self, now: float) -> float | None:
        """When to look again; None once it has failed: the deadline passed, or nothing came for too long."""
        where = "while the answer was arriving" if self.head.done() else "before the answer began"
        if now >= self._deadline:
            cause = f"the deadline passed {where}"
        elif self._pieces:
            self._due = now + self._between  # the reader is behind, so nothing is known of the other side
            return min(self._deadline, self._due)
        elif now < self._due:
            return min(self._deadline, self._due)
        else:
            cause = f"the other side was silent for too long {where}"
        self.failed(TransportError(cause, sent=True, timed_out=True))
        return None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.Protocol):
    """One connection. `freed` is told when its answer was released, and may take it for another request."""

    def __init__(self, loop: asyncio.AbstractEventLoop, freed: Callable[[Connection], None]) -> None:
        self.loop = loop
        self.closed = False
        self.idle_since = 0.0
        self._freed = freed
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = math.inf
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._paused = False
        self._spoiled = False
        self._parser = httptools.HttpResponseParser(self)
        self._fields: list[tuple[bytes, bytes]] = []
        self._framing = 0  # bytes since the last piece of a body: head, trailer, and what stands between chunks
        self._in_head = True

    # The pool's side.

    def send(self, request: bytes, deadline: float, first_byte: float = math.inf, between: float = math.inf) -> Answer:
        """Write a whole request and return its answer, whose `head` is still to come.

        `first_byte` and `between` are seconds: how long the first piece of the body, and each next one, is waited for.
        """
        if self._transport is None:
            cause = "the connection closed before the request was sent"
            raise TransportError(cause, sent=False)
        self._fields, self._framing, self._in_head = [], 0, True
        answer = self._answer = Answer(self, deadline, first_byte, between)
        self._transport.write(request)
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
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
            if self._answer is not None:
                self._answer.heard_again()

    def release(self, answer: Answer) -> None:
        """`answer` is not wanted any more, read or not."""
        if self._answer is not answer:
            return
        self._answer = None
        if answer.emptied and not self._spoiled and not self.closed and self._all_sent():
            self._freed(self)
        else:
            self.abort()

    def _all_sent(self) -> bool:
        """The request is out. An answer that came before that may be all that the other side meant to do here."""
        return self._transport is not None and not self._transport.get_write_buffer_size()

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

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or answer.complete:
            self.abort()  # nothing was asked: what the next answer would be is in doubt
            return
        self._framing += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail("the answer is not valid HTTP/1.1")
            return
        if self._framing > HEAD_LIMIT:
            what = "head" if self._in_head else "trailer, or what stands between two chunks,"
            self._fail(f"the answer's {what} is longer than {HEAD_LIMIT} bytes")

    def eof_received(self) -> None:
        self.closed = True

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        answer, self._transport = self._answer, None
        if answer is None:
            return
        if answer.until_close and error is None:
            answer.ended()
        else:
            where = "while the answer was arriving" if answer.head.done() else "before the answer began"
            cause = f"the connection broke {where}" + (f": {type(error).__name__}" if error else "")
            answer.failed(TransportError(cause, sent=True))

    def _fail(self, cause: str) -> None:
        if self._answer is not None:
            self._answer.failed(TransportError(cause, sent=True))
        self.abort()

    # httptools' side.

    def on_message_begin(self) -> None:
        if self._answer is None or self._answer.complete:
            raise _Refused  # bytes after the answer: whose they are is in doubt

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self._fields) >= FIELD_LIMIT:
            raise _Refused
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            if status == 101:
                raise _Refused
            return
        self._in_head = False
        first: dict[bytes, bytes] = {}
        for name, value in self._fields:
            first.setdefault(name.lower(), value)
        until_close = not (b"content-length" in first or b"transfer-encoding" in first or status in _NO_BODY)
        self._spoiled = until_close or not self._parser.should_keep_alive()
        if self._answer is not None:
            self._answer.began(status, self._fields, first, until_close=until_close)

    def on_body(self, body: bytes) -> None:
        self._framing = 0
        answer = self._answer
        if answer is not None and answer.arrived(body) and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._in_head:  # an interim answer
            self._fields = []
        elif self._answer is not None:
            self._answer.ended()


class _Refused(Exception):
    """An answer that the parser would take and we do not."""
