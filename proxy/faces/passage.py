"""One request on its way through a face: read, serve, write, record. What differs between contracts is a `Face`.

Whatever goes wrong before the head of the answer is sent becomes one answer in the face's own words. Once a stream's
head is out, a failure becomes the face's way to say so inside the stream, and where the contract has none, a broken
connection: a broken stream never looks like a finished one. Of an event that the upstream did not finish nothing is
sent, since clients that parse each part would trip over half of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from backends.base import ByteStream, Invocation, Reply
from backends.errors import BackendError, Said, let_go
from backends.http.edge import Answer, BodyTooSlow, ClientGone, Exchange, lines
from backends.outcome import Outcome
from backends.patience import limit_at
from backends.wire.framing import Reframer
from backends.wire.sagemaker import ErrorReply, read_call
from backends.wire.usage import usage_of
from policies.facts import FailureFacts, Fault

from ..auth import permit
from ..door import Door
from ..handlers.errors import HandlerError
from ..pipeline import Serving
from ..record import Record
from ..services import Services
from ..traced import RequestTrace

log = logging.getLogger("pointsman.faces")

SLOW_READER_GRACE = 5.0
"""Seconds past a stream's deadline after which a client that still has not read its end is cut off."""


class Face(Protocol):
    """A contract that is served. All but `read` is pure."""

    def read(self, exchange: Exchange, record: Record) -> Invocation | Coroutine[Any, Any, Invocation]:
        """The request as an invocation, at once where its body is here; names the operation in `record` first.

        Raises what `refuse` understands.
        """
        ...

    def named(self, exchange: Exchange) -> tuple[str, str]:
        """The operation and the endpoint that a request without an invocation was about, by its request line; empty
        where that says none."""
        ...

    def answer(self, reply: Reply, record: Record) -> str:
        """The head's lines of a whole 200, whose body is the reply's. No line holds a break but at its end."""
        ...

    def stream_head(self, reply: Reply, record: Record) -> str:
        """The same of a streamed 200."""
        ...

    def reframer(self, reply: Reply) -> Reframer:
        """What cuts the body into parts."""
        ...

    def frames(self, parts: list[bytes]) -> list[bytes]:
        """Parts as they stand on the wire; each item is written, and so chunked, by itself."""
        ...

    def broken(self, error: BackendError, reply: Reply) -> tuple[str, bytes | None]:
        """Type and bytes of the failure inside the stream `reply`; None where there is only a broken connection."""
        ...

    def refuse(self, error: Exception, record: Record) -> tuple[str, Answer]:
        """Error type and answer for a failure before the head."""
        ...

    def unexpected(self, error: Exception) -> bool:
        """True for a failure that is a bug of ours and wants its traceback in the log."""
        ...


def handle(exchange: Exchange, face: Face, services: Services) -> Coroutine[Any, Any, None]:
    """Answer one request through `face`, and record it once."""
    record = Record(services.new_id(), exchange.arrived, services.wall())
    return _Passage(exchange, face, record, services).answer()


def unread(reply: ErrorReply, write: Callable[[ErrorReply, str], Answer], services: Services) -> Answer:
    """The answer to bytes that never became a request: `reply`, as `write` puts it under its id. It is recorded like a
    request; a bug of ours has been already, with the request that met it."""
    record = Record(services.new_id(), services.now(), services.wall())
    answer = write(reply, record.request_id)
    if reply.status != 500:
        record.head_sent(answer.status, reply.type)
        record.over("refused" if answer.status < 500 else "failed")
        record.bytes_out, record.why = len(answer.body), reply.message
        told = record.outcome(services.now())
        services.meters.record(told)
        services.log.write(told)
    return answer


def _reason(error: Exception, record: Record) -> str:
    """Why a request was refused before any target was tried, for the log; it holds no body and no attribute."""
    asked = record.invocation
    return f"{error}: {asked.endpoint}/{asked.component or ''}".rstrip("/") if asked else str(error)


class _Passage:
    __slots__ = ("_ended", "_exchange", "_face", "_record", "_services", "_streamed", "_trace")
    _ended: float

    def __init__(self, exchange: Exchange, face: Face, record: Record, services: Services) -> None:
        self._exchange = exchange
        self._face = face
        self._record = record
        self._services = services
        self._streamed: Reply | None = None  # while its parts are sent
        self._trace: RequestTrace | None = None

    async def answer(self) -> None:
        """Read, serve, write; whatever keeps it from doing so is one typed answer."""
        record, services = self._record, self._services
        try:
            try:
                read = (
                    self._face.read(self._exchange, record) if services.door is None else self._admitted(services.door)
                )
                record.invocation = invocation = read if isinstance(read, Invocation) else await read
                self._trace = trace = services.telemetry.start(invocation, int(record.started * 1e9))
                record.trace_id = trace.trace_id
                serving = Serving(invocation, record, trace, services)
                reply = await serving.begin()
                try:
                    record.usage = reply.usage or record.usage  # a hook may have asked for itself
                    record.uncounted, record.counts = reply.uncounted, reply.counts
                    if invocation.streaming:
                        await self._stream(reply, serving.deadline + SLOW_READER_GRACE)
                    elif self._put(reply):
                        await self._exchange.drained()
                    record.ended = "done"
                except BaseException as error:
                    await serving.end(error)
                    raise
                if serving.streams:
                    await serving.end(None)
                else:
                    services.afterwards.do(serving.ended)  # by itself: what goes wrong there costs no line
            except Exception as error:
                if isinstance(error, ClientGone) and not isinstance(error, BodyTooSlow):
                    raise
                try:
                    await self._fail(error)
                finally:
                    let_go(error)
        except BaseException as error:
            self._given_up(error)
            raise
        finally:
            self._over()

    def _over(self) -> None:
        record = self._record
        record.bytes_in = self._exchange.body_size
        if record.invocation is None:  # it was refused, or its client left, before anybody had read all of it
            record.sdk_invocation_id, record.sdk_attempt, context = read_call(self._exchange.headers)
            record.trace_id = None if context is None else context.trace_id
            record.operation, endpoint = self._face.named(self._exchange)
            if not record.endpoint:
                record.asked_for(endpoint, self._services.policy.current.table.endpoints)
        self._ended, trace = self._services.now(), self._trace
        if trace is not None and trace.sampled:
            trace.over()
        self._services.afterwards.do(self._recorded)

    def _recorded(self) -> None:
        record, services = self._record, self._services
        now, trace = self._ended, self._trace
        if record.uncounted is not None:
            record.usage = usage_of(record.uncounted) or record.usage
        elif record.counts is not None:
            record.usage = record.counts.usage or record.usage
        told = record.note(now) or record.outcome(now)
        services.meters.record(told)
        services.log.write(told)
        if trace is not None and trace.sampled:
            trace.finish(told)
        route = record.route
        if (
            route is not None
            and route.shift is not None
            and services.follower is not None
            and isinstance(told, Outcome)
        ):
            services.follower.witness.saw(route.key, route.shift, told)

    async def _fail(self, error: Exception) -> None:
        """One typed answer, unless the failure was told in the stream."""
        if not self._exchange.started:
            await self._refuse(as_model(error, self._record) if isinstance(error, HandlerError) else error)
        elif not isinstance(error, BackendError | HandlerError):
            self._log(error)
            self._exchange.abort()
            self._record.over("failed", "InternalFailure")

    def _given_up(self, error: BaseException) -> None:
        if isinstance(error, ClientGone):
            self._record.ended = "client_gone"
        elif isinstance(error, asyncio.CancelledError) and self._exchange.connected:
            self._cut_off()

    def _cut_off(self) -> None:
        """The proxy ends first: that is told as an answer that was lost, since SDKs would send again what they hear
        nothing of, and it may have run."""
        record, exchange, reply = self._record, self._exchange, self._streamed
        record.cut_off()
        record.over("failed")
        if record.route is None:
            return  # nothing of it has run
        facts = FailureFacts(Fault.NETWORK, retry_safe=None)
        error = BackendError(facts, record.route.targets[0], "the proxy ended first")
        if not exchange.started:
            answer, said = self._typed(error)
            exchange.answer(answer.status, said, answer.body)
        elif reply is not None:
            kind, frame = self._face.broken(error, reply)
            record.over("failed", kind)
            self._end_broken(frame)

    def _end_broken(self, frame: bytes | None) -> bool:
        """End a stream that broke; True when it has to be waited for that the client takes what was sent."""
        self._streamed = None
        if frame is None:
            self._exchange.abort()
            return False
        self._exchange.put(frame)
        return self._exchange.finish()

    async def _admitted(self, door: Door) -> Invocation:
        exchange, record, keeper = self._exchange, self._record, door.keeper
        claimed = keeper.claim(exchange.headers, exchange.certificate)
        read = self._face.read(exchange, record)
        invocation = read if isinstance(read, Invocation) else await read
        try:
            principal = keeper.prove(claimed, exchange.method, exchange.raw_path, exchange.headers, invocation.body)
            record.principal = principal.name
            permit(principal, record.operation, invocation.endpoint, invocation.component)
        except BaseException:
            record.asked_for(invocation.endpoint, self._services.policy.current.table.endpoints)
            raise
        return invocation

    def _put(self, reply: Reply) -> bool:
        """Send a whole answer; True when it has to be waited for that the client takes it."""
        record, body = self._record, reply.body
        said = self._face.answer(reply, record)
        record.status = 200
        record.bytes_out = len(body)
        return self._exchange.answer(200, said + record.lines(self._services.now()), body)

    async def _refuse(self, error: Exception) -> None:
        record = self._record
        if self._face.unexpected(error):
            self._log(error)
        elif isinstance(error, BackendError) and error.facts.shed:
            record.why = f"{record.why}; {error.cause}"
        elif not record.attempts:
            record.why = record.why or _reason(error, record)
        answer, said = self._typed(error)
        ours = not record.attempts and record.handler_status is None and record.cold is None
        record.over("refused" if 400 <= answer.status < 500 and ours else "failed")
        if answer.silence:
            await asyncio.sleep(answer.silence)
        if self._exchange.answer(answer.status, said, answer.body):
            await self._exchange.drained()

    def _typed(self, error: Exception) -> tuple[Answer, str]:
        """The answer that `error` is in the face's words, and the lines of its head; the record has what it says."""
        record = self._record
        kind, answer = self._face.refuse(error, record)
        record.head_sent(answer.status, kind)
        record.bytes_out = len(answer.body)
        return answer, lines(answer.headers) + record.lines(self._services.now())

    def _log(self, error: Exception) -> None:
        log.error("request %s failed inside the proxy", self._record.request_id, exc_info=error)

    async def _stream(self, reply: Reply, last: float) -> None:
        """Send a streamed answer. It has its target's limits; `last` is when a client that does not read it is cut
        off."""
        exchange, record, face = self._exchange, self._record, self._face
        head = face.stream_head(reply, record) + record.lines(self._services.now())
        record.head_sent(200)
        exchange.start(200, head)
        self._streamed = reply
        parts = face.reframer(reply)
        try:
            if reply.stream is not None:
                await self._pass_on(reply.stream, parts, last)
            else:
                record.first_chunk = (self._services.now() - record.arrived, record.backend_seconds)
                await self._write_parts(parts.feed(reply.body), last)
            rest = parts.finish()
            if rest:
                await self._write_parts(rest, last)
        except BackendError as error:
            await self._break(error, reply, last)
            raise
        except HandlerError as error:
            await self._break(as_model(error, record), reply, last)
            raise
        self._streamed = None
        if exchange.finish():
            await self._taken(last)

    async def _taken(self, last: float) -> None:
        """Wait until the client has taken enough of what was sent."""
        try:
            async with limit_at(last):
                await self._exchange.drained()
        except TimeoutError as error:
            self._exchange.abort()
            raise ClientGone from error

    async def _break(self, error: BackendError, reply: Reply, last: float) -> None:
        kind, frame = self._face.broken(error, reply)
        self._record.over("deadline" if error.facts.timed_out else "upstream_broken", kind)
        if self._end_broken(frame):
            await self._taken(last)

    async def _write_parts(self, parts: list[bytes], last: float) -> None:
        if parts:
            self._record.bytes_out += sum(map(len, parts))
            self._record.parts_out += len(parts)
            for frame in self._face.frames(parts):
                if self._exchange.put(frame):
                    await self._taken(last)

    async def _pass_on(self, stream: ByteStream, parts: Reframer, last: float) -> None:
        """The body as it comes; the time spent waiting for it counts as the target's, to the last: for its end, too, or
        for what broke it off."""
        record, now, exchange, face = self._record, self._services.now, self._exchange, self._face
        began, waits = now(), True
        try:
            async for piece in stream:
                arrived = now()
                record.backend_seconds += arrived - began
                waits = False
                if record.first_chunk is None:
                    record.first_chunk = (arrived - record.arrived, record.backend_seconds)
                cut = parts.feed(piece)
                first = not record.bytes_out
                if cut:
                    record.bytes_out += sum(map(len, cut))
                    record.parts_out += len(cut)
                    for frame in face.frames(cut):
                        if exchange.put(frame):
                            piece, cut = b"", []  # what a slow reader's frames were made of
                            await self._taken(last)
                    if first:
                        exchange.uncork()  # what is there now goes out now, and not with the end of the turn
                began, waits = now(), True
        finally:
            if waits:
                record.backend_seconds += now() - began


def as_model(error: HandlerError, record: Record) -> BackendError:
    """A failure of the customer's code in the words of every face: their model answered with that error."""
    assert record.route is not None  # noqa: S101 - a handler is a route's
    record.handler_status = error.status
    record.why = f"{record.why}{'; ' * bool(record.why)}{record.route.key}'s handler: {error.reason}"
    facts = FailureFacts(Fault.MODEL, retry_safe=False, timed_out=error.timed_out)
    return BackendError(facts, record.route.targets[0], error.reason, Said(error.status, error.said))
