"""SageMaker's container contract: the proxy as the model container of an endpoint, `GET /ping` and `POST /invocations`.

Which route a request takes is decided by the endpoint that the process was started for, or by an item of
CustomAttributes where one is declared (`--endpoint-attribute`); with neither, by the policy's only route. Inside
SageMaker nothing else counts, since only the contract's headers reach a container; outside, the inference component's
header, trace headers and the rest of the runtime API's are understood as well.

`/ping` says 200 while that route can be served and 503 otherwise, with the reason in words; it is not a request of a
client, so it is neither logged nor counted. Answers come within 58 s (streams: 478 s), before SageMaker cuts them off.
A body with `"stream": true` is answered in chunks, one event each; a stream that breaks ends in a broken connection,
which SageMaker turns into a ModelStreamError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from backends.base import Invocation, Reply
from backends.errors import BackendError
from backends.http.edge import Answer, Exchange, lines
from backends.wire import container as wire
from backends.wire import sagemaker
from backends.wire.framing import Reframer, reframer
from backends.wire.openai import split_model, wants_stream
from backends.wire.sagemaker import Kind, Operation
from policies.table import Miss, Route, RouteTable

from ..record import Record
from ..services import Services
from . import container_failures, failures
from .passage import handle, unread

MAX_HOPS = 3
"""How often a request may pass through proxies of this kind before it is taken for a loop."""

NEAR = 3.0
"""Seconds before the platform's cut from which on a time-out is left to the platform to tell."""
PATIENCE = 1.0
"""Seconds beyond it after which we tell it ourselves; the cut was measured at 60.2 s."""

Ready = Callable[[Route], str | None]
"""Why a route can't be served yet, beyond what the policy says; None when it can."""


@dataclass(frozen=True, slots=True)
class Started:
    """What the process was started for."""

    endpoint: str | None = None
    """`endpoint` or `endpoint/component`."""
    attribute: str | None = None
    """The item of CustomAttributes that names an endpoint."""
    inside: bool = True
    """The platform is SageMaker: only the contract's headers count, and its time limits."""
    cut: float = wire.CUT
    """Seconds after which the platform gives up waiting for a whole answer."""

    @property
    def longest(self) -> float:
        """Seconds in which a whole answer is given."""
        return self.cut - wire.MARGIN

    def default(self, table: RouteTable) -> str | None:
        """The endpoint of a request that names none."""
        if self.endpoint is not None or self.attribute is not None or len(table.routes) != 1:
            return self.endpoint
        return next(iter(table.routes.values())).key

    def unready(self, table: RouteTable, ready: Ready) -> str | None:
        """Why the process can't serve what it was started for; None when it can."""
        name = self.default(table)
        if name is None:
            if self.attribute is not None and table.routes:
                return next((why for route in table.routes.values() if (why := _unready(route, ready))), None)
            return "the policy has several endpoints: say which with --endpoint, or with --endpoint-attribute"
        endpoint, component = split_model(name)
        found = table.lookup(endpoint, component)
        if found is Miss.COMPONENT_REQUIRED and not self.inside:  # a header says which
            routes = tuple(route for route in table.routes.values() if route.endpoint == endpoint)
        elif isinstance(found, Miss):
            return f"the policy has no route for {name} ({found.value})"
        else:
            routes = (found,)
        return next((why for route in routes if (why := _unready(route, ready))), None)


def _unready(route: Route, ready: Ready) -> str | None:
    if not (route.admitted or route.reserves):
        return f"nothing inside the boundary of {route.key} may serve it"
    return ready(route)


class Container:
    """`Face` of the contract; one for the process."""

    def __init__(self, services: Services, started: Started, ready: Ready) -> None:
        self._services = services
        self._started = started
        self._ready = ready

    @property
    def inside(self) -> bool:
        """The platform is SageMaker."""
        return self._started.inside

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request; an invocation is recorded once."""
        path = exchange.raw_path.partition("?")[0]
        if path == wire.INVOCATIONS and exchange.method == "POST":
            await handle(exchange, self, self._services)
        elif path == wire.PING and exchange.method in {"GET", "POST"}:
            await exchange.reply(self._health())
        else:
            known = path in {wire.PING, wire.INVOCATIONS}
            said = "This container has GET /ping and POST /invocations."
            request_id = self._services.new_id()
            await exchange.reply(container_failures.other_path(405 if known else 404, said, request_id))

    def malformed(self, status: int, what: str) -> Answer:
        """The answer to bytes that are no HTTP request."""
        return unread(failures.malformed(status, what), container_failures.written, self._services)

    def _health(self) -> Answer:
        why = self._started.unready(self._services.policy.current.table, self._ready)
        if why is None:
            return Answer(200, (), b"")
        return Answer(503, (("Content-Type", "text/plain; charset=utf-8"),), f"{why}\n".encode())

    async def read(self, exchange: Exchange, record: Record) -> Invocation:
        record.operation = "Invocations"
        started = self._started
        headers = wire.passed(exchange.headers) if started.inside else exchange.headers
        longest = min(started.longest, self._services.body_time)
        body = await exchange.read_body(self._services.body_limit, exchange.arrived + longest)
        attributes = next((value for name, value in headers if name.lower() == _ATTRIBUTES), None)
        named = wire.read_attribute(attributes, started.attribute) if started.attribute else None
        name = named or started.default(self._services.policy.current.table)
        if name is None:
            raise container_failures.no_endpoint(started.attribute)
        endpoint, component = split_model(name)
        invocation = sagemaker.read_invocation(Operation(Kind.INVOKE, endpoint), headers, body, record.request_id)
        failures.refuse_loop(invocation, MAX_HOPS)
        streaming = wants_stream(body)
        return replace(
            invocation,
            component=component or invocation.component,
            streaming=streaming,
            longest=wire.STREAM_DEADLINE if streaming else started.longest,
        )

    def named(self, exchange: Exchange) -> tuple[str, str]:
        name = self._started.default(self._services.policy.current.table)
        return "Invocations", split_model(name)[0] if name is not None else ""

    def answer(self, reply: Reply, record: Record) -> str:
        return lines(wire.write_head(reply, record.request_id))

    def stream_head(self, reply: Reply, record: Record) -> str:
        return lines(wire.write_head(reply, record.request_id))

    def reframer(self, reply: Reply) -> Reframer:
        return reframer(reply.content_type)

    def frames(self, parts: list[bytes]) -> list[bytes]:
        return parts  # a chunk each, since the platform makes its PayloadParts of chunks

    def broken(self, error: BackendError, reply: Reply) -> tuple[str, None]:
        return failures.stream_failure(error).type, None

    def refuse(self, error: Exception, record: Record) -> tuple[str, Answer]:
        kind, answer = container_failures.answer(error, record)
        return kind, replace(answer, silence=self._silence(answer.status, record))

    def _silence(self, status: int, record: Record) -> float:
        """How long to say nothing of a time-out, so that the platform cuts and tells it as no container can."""
        asked = record.invocation
        left = self._started.cut - (self._services.now() - record.arrived)
        told = status != wire.TIMED_OUT or asked is None or asked.streaming or not self.inside
        return 0.0 if told or left > NEAR else max(0.0, left + PATIENCE)

    def unexpected(self, error: Exception) -> bool:
        return failures.is_bug(error)


_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
