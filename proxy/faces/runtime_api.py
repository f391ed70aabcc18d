"""The SageMaker Runtime API: InvokeEndpoint and InvokeEndpointWithResponseStream, as AWS's SDKs know them.

A request is read, validated and served; whatever goes wrong becomes one typed answer, picked in `failures`. Once the
head of a stream is out, a failure becomes an exception frame: a broken stream never looks like a finished one. Of an
event that the upstream did not finish nothing is sent, since clients that parse each part would trip over half of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from backends.base import Headers, Reply
from backends.errors import BackendError
from backends.http.edge import Answer, ClientGone, Exchange
from backends.wire import sagemaker as wire
from backends.wire.eventstream import payload_part
from backends.wire.framing import reframer

from ..pipeline import serve
from ..record import Record
from ..services import Services
from ..telemetry import RequestTrace
from . import failures

log = logging.getLogger("pointsman.runtime_api")

READ_TIME = 60.0
"""Seconds a client has to send its request: SageMaker's own limit for a whole invocation."""

SLOW_READER_GRACE = 5.0
"""Seconds past a stream's deadline after which a client that still has not read its end is cut off."""

MAX_HOPS = 3
"""How often a request may pass through proxies of this kind before it is taken for a loop."""


class RuntimeApi:
    """Serves exchanges; one for the process."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request, and record it once."""
        services = self._services
        record = Record(request_id=services.new_id(), arrived=exchange.arrived, started=services.wall())
        passage = _Passage(exchange, record, services)
        try:
            await passage.answer()
        except ClientGone:
            record.ended = "client_gone"
            raise
        finally:
            record.bytes_in = exchange.body_size
            outcome = record.outcome(services.now())
            services.meters.record(outcome)
            services.log.write(outcome)
            if passage.trace is not None:
                passage.trace.finish(outcome)

    def malformed(self, status: int, what: str) -> Answer:
        """The answer to bytes that are no HTTP request."""
        reply = failures.malformed(status, what)
        return Answer(*wire.write_error(reply, self._services.new_id()))


class _Passage:
    """One request on its way through the face."""

    __slots__ = ("_exchange", "_record", "_services", "trace")

    def __init__(self, exchange: Exchange, record: Record, services: Services) -> None:
        self._exchange = exchange
        self._record = record
        self._services = services
        self.trace: RequestTrace | None = None

    async def answer(self) -> None:
        """Serve, or answer with the typed error that the failure is."""
        try:
            await self._serve()
        except ClientGone:
            raise
        except Exception as error:
            if not self._exchange.started:
                await self._refuse(self._reply_to(error))
            elif not isinstance(error, BackendError):  # that one was told in the stream
                log.exception("request %s failed inside the proxy", self._record.request_id)
                self._exchange.abort()
                self._record.over("failed", "InternalFailure")

    def _reply_to(self, error: Exception) -> wire.ErrorReply:
        reply = failures.error_reply(error, self._record)
        if reply is failures.UNEXPECTED:
            log.error("request %s failed inside the proxy", self._record.request_id, exc_info=error)
        return reply

    async def _serve(self) -> None:
        exchange, record, services = self._exchange, self._record, self._services
        operation = wire.read_operation(exchange.method, exchange.raw_path)
        record.operation = operation.name
        body = await exchange.read_body(services.body_limit, exchange.arrived + READ_TIME)
        invocation = wire.read_invocation(operation, exchange.headers, body, record.request_id)
        record.invocation = invocation
        failures.refuse_loop(invocation, MAX_HOPS)
        self.trace = trace = services.telemetry.start(invocation, int(record.started * 1e9))
        record.trace_id = trace.trace_id
        async with serve(invocation, record, trace, services) as (reply, deadline):
            record.usage = reply.usage
            if invocation.streaming:
                await self._stream(reply, deadline)
            else:
                await self._send(reply)

    async def _send(self, reply: Reply) -> None:
        record = self._record
        headers = wire.write_reply(reply, record.request_id) + record.headers(self._services.now())
        record.head_sent(200)
        record.bytes_out = len(reply.body)
        await self._exchange.reply(Answer(200, headers, reply.body))
        record.over("done")

    async def _refuse(self, reply: wire.ErrorReply) -> None:
        record = self._record
        status, headers, body = wire.write_error(reply, record.request_id)
        record.head_sent(status, reply.type)
        record.bytes_out = len(body)
        await self._exchange.reply(Answer(status, headers + record.headers(self._services.now()), body))
        record.over("refused" if 400 <= status < 500 and not record.attempts else "failed")

    async def _stream(self, reply: Reply, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline + SLOW_READER_GRACE):
                await self._write_stream(reply)
        except TimeoutError as error:
            self._exchange.abort()
            raise ClientGone from error

    async def _write_stream(self, reply: Reply) -> None:
        exchange, record = self._exchange, self._record
        head: Headers = wire.write_stream_head(reply, record.request_id) + record.headers(self._services.now())
        record.head_sent(200)
        await exchange.start(200, head)
        frames = reframer(reply.content_type)
        try:
            async for piece in self._pieces(reply):
                await self._write_parts(frames.feed(piece))
            await self._write_parts(frames.finish())
        except BackendError as error:
            failure = failures.stream_failure(error)
            await exchange.write(wire.stream_failure(failure.type, failure.message, failure.error_code))
            await exchange.finish()
            record.over("deadline" if error.facts.timed_out else "upstream_broken", failure.type)
            raise
        await exchange.finish()
        record.over("done")

    async def _write_parts(self, parts: list[bytes]) -> None:
        if parts:
            self._record.bytes_out += sum(map(len, parts))
            self._record.parts_out += len(parts)
            await self._exchange.write(b"".join(map(payload_part, parts)))

    async def _pieces(self, reply: Reply) -> AsyncIterator[bytes]:
        """The body's pieces; the time spent waiting for them counts as the target's."""
        record, now = self._record, self._services.now
        if reply.stream is None:
            record.first_chunk = (now() - record.arrived, record.backend_seconds)
            if reply.body:
                yield reply.body
            return
        began = now()
        async for piece in reply.stream:
            arrived = now()
            record.backend_seconds += arrived - began
            if record.first_chunk is None:
                record.first_chunk = (arrived - record.arrived, record.backend_seconds)
            yield piece
            began = now()
        record.backend_seconds += now() - began
