"""The SageMaker Runtime API: InvokeEndpoint and InvokeEndpointWithResponseStream, as AWS's SDKs know them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from cachetools import LRUCache

from backends.base import Invocation, Reply
from backends.errors import BackendError
from backends.http.edge import Answer, Exchange
from backends.wire import sagemaker as wire
from backends.wire.eventstream import payload_parts
from backends.wire.framing import Reframer, reframer

from ..policy_source import InForce
from ..record import Record
from ..services import Services
from . import failures
from .passage import handle, unread

KEPT, LONGEST_KEPT = 2048, 512
"""Paths that are remembered, and the characters of the longest: at most 1 MiB, whatever clients send."""

MAX_HOPS = 3
"""How often a request may pass through proxies of this kind before it is taken for a loop."""


class RuntimeApi:
    """`Face` of the Runtime API; one for the process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._policy: InForce | None = None
        self._usual: dict[str, wire.Operation] = {}
        """By plain path of an endpoint in the policy: no more than those."""
        self._known: LRUCache[str, wire.Operation] = LRUCache(KEPT)

    def handle(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        """Answer one request, and record it once."""
        return handle(exchange, self, self._services)

    def malformed(self, status: int, what: str) -> Answer:
        """The answer to bytes that are no HTTP request."""
        return unread(failures.malformed(status, what), _written, self._services)

    def read(self, exchange: Exchange, record: Record) -> Invocation | Coroutine[Any, Any, Invocation]:
        path = exchange.raw_path
        operation = self._usual.get(path) if exchange.method == "POST" else None
        if operation is None:
            operation = self._operation(exchange.method, path)
        record.operation = operation.name
        body = exchange.body_at_hand(self._services.body_limit)
        if body is None:
            return self._awaited(operation, exchange, record)
        invocation = wire.read_invocation(operation, exchange.headers, body, record.request_id)
        if invocation.hops is not None:
            failures.refuse_loop(invocation, MAX_HOPS)
        return invocation

    async def _awaited(self, operation: wire.Operation, exchange: Exchange, record: Record) -> Invocation:
        services = self._services
        body = await exchange.read_body(services.body_limit, exchange.arrived + services.body_time)
        invocation = wire.read_invocation(operation, exchange.headers, body, record.request_id)
        failures.refuse_loop(invocation, MAX_HOPS)
        return invocation

    def named(self, exchange: Exchange) -> tuple[str, str]:
        try:
            operation = self._operation(exchange.method, exchange.raw_path)
        except wire.WireError:
            return Record.operation, ""
        return operation.name, operation.endpoint

    def _operation(self, method: str, path: str) -> wire.Operation:
        """Clients call a few paths again and again: taking one apart costs ten times as much as finding it.

        The plain ones of the policy's endpoints are so few that they are kept as they are; of others (with a prefix, a
        query, an unknown endpoint) the last ones.
        """
        found = self._known.get(path) if method == "POST" else None
        if found is not None:
            return found
        found, policy = wire.read_operation(method, path), self._services.policy.current
        if policy is not self._policy:
            self._policy, self._usual = policy, {}
        if found.endpoint in policy.table.endpoints and path == f"/endpoints/{found.endpoint}/{found.kind.value}":
            self._usual[path] = found
        elif len(path) <= LONGEST_KEPT:
            self._known[path] = found
        return found

    def answer(self, reply: Reply, record: Record) -> str:
        return wire.reply_lines(reply, record.request_id)

    def stream_head(self, reply: Reply, record: Record) -> str:
        return wire.stream_lines(reply, record.request_id)

    def reframer(self, reply: Reply) -> Reframer:
        return reframer(reply.content_type)

    def frames(self, parts: list[bytes]) -> list[bytes]:
        return [payload_parts(parts)]

    def broken(self, error: BackendError, reply: Reply) -> tuple[str, bytes]:
        failure = failures.stream_failure(error)
        return failure.type, wire.stream_failure(failure.type, failure.message, failure.error_code)

    def refuse(self, error: Exception, record: Record) -> tuple[str, Answer]:
        reply = failures.error_reply(error, record)
        return reply.type, _written(reply, record.request_id)

    def unexpected(self, error: Exception) -> bool:
        return failures.is_bug(error)


def _written(reply: wire.ErrorReply, request_id: str) -> Answer:
    return Answer(*wire.write_error(reply, request_id))
