"""OpenAI's API over the policy's endpoints: chat and text completions, embeddings, and the list of models.

A model is `endpoint` or `endpoint/component`. It is named by the URL (`/endpoints/NAME/openai/v1`, also with
`/inference-components/NAME`, as on SageMaker; the body's `model` is then nobody's business) or, on plain `/v1` paths,
by the body. Streams are server-sent events and go through as the model wrote them, `[DONE]` included, one event at a
time. A stream that breaks ends in an event `data: {"error": ...}` without `[DONE]`, at which the openai package raises
`APIError`; an answer of another type that breaks off ends in a broken connection.

SageMaker's bearer tokens are held to their form and their time; their signature can't be verified here. Where keys are
issued (`--keys`) a bearer token is one of those; else whoever reaches this port may call what the policy has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from backends.base import Headers, Invocation, Reply
from backends.errors import BackendError
from backends.http.edge import Answer, Exchange, lines
from backends.wire import openai as wire
from backends.wire import sagemaker
from backends.wire.bearer import bearer_tokens, token_refusal
from backends.wire.framing import Reframer, reframer
from backends.wire.openai import Asked, Operation, Refused
from backends.wire.restjson import media_type
from backends.wire.sagemaker import Kind, WireError
from backends.wire.sagemaker import Operation as RuntimeOperation
from policies.table import Route

from ..keys import Principal
from ..record import Record
from ..services import Services
from . import failures, openai_failures
from .passage import handle

MAX_HOPS = 3
"""How often a request may pass through proxies of this kind before it is taken for a loop."""
LISTED = ("openai-", "opaque")
"""Routes whose clients speak one of these are in the list of models; others can be called all the same."""


class OpenAiApi:
    """Serves the API; one for the process."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request. Calls of a model are recorded once; looking at the list is not a call."""
        try:
            asked = wire.read_asked(exchange.method, exchange.raw_path)
            if asked.operation is Operation.MODELS:
                await exchange.reply(self._models(asked, self._admit(exchange)))
                return
        except Refused as error:
            await exchange.reply(Answer(*wire.write_problem(error.problem, self._services.new_id())))
            return
        await handle(exchange, _Conversation(asked, self._services), self._services)

    def _admit(self, exchange: Exchange) -> Principal | None:
        """Who looks at the list, where callers are asked who they are. Raises Refused."""
        admit(exchange.headers, self._services.wall())
        if self._services.door is None:
            return None
        try:
            return self._services.door.keeper.authenticate(exchange)
        except WireError as error:
            raise Refused(wire.unauthorized(error.reply.message)) from error

    def _models(self, asked: Asked, principal: Principal | None) -> Answer:
        """The models that there are, or those of them that the principal may call."""
        routes: Iterable[Route] = self._services.policy.current.table.routes.values()
        if principal is not None:
            routes = [route for route in routes if principal.may(route.endpoint, route.component)]
        shown = {route.key: route for route in routes if _listed(route)}
        if asked.endpoint is not None:
            wanted = (asked.endpoint, asked.component)
            shown = {key: route for key, route in shown.items() if wanted in _names(route)}
        if asked.model is None:
            body = wire.write_models((key, route.owner) for key, route in shown.items())
        elif asked.model in shown:
            body = wire.write_model(asked.model, shown[asked.model].owner)
        else:
            raise Refused(wire.model_not_found(asked.model))
        return Answer(200, wire.head(self._services.new_id(), None), body)


def admit(headers: Headers, now: float) -> None:
    """Raises Refused for a bearer token of SageMaker's that can't be valid at `now` (seconds since the epoch)."""
    for token in bearer_tokens(value for name, value in headers if name.lower() == "authorization"):
        refusal = token_refusal(token, now)
        if refusal is not None:
            raise Refused(wire.unauthorized(refusal))


def _listed(route: Route) -> bool:
    return route.clients_speak.startswith(LISTED)


def _names(route: Route) -> tuple[tuple[str, str | None], ...]:
    """What a URL can say to mean this route, or the endpoint that it belongs to."""
    return (route.endpoint, route.component), (route.endpoint, None)


class _Conversation:
    """`Face` of one call of a model."""

    __slots__ = ("_asked", "_model", "_services")

    def __init__(self, asked: Asked, services: Services) -> None:
        self._asked = asked
        self._services = services
        self._model = "" if asked.endpoint is None else "/".join(filter(None, (asked.endpoint, asked.component)))

    async def read(self, exchange: Exchange, record: Record) -> Invocation:
        asked = self._asked
        record.operation = asked.operation.title
        admit(exchange.headers, self._services.wall())
        body = await exchange.read_body(self._services.body_limit, exchange.arrived + self._services.body_time)
        endpoint, component = asked.endpoint, asked.component
        if endpoint is None:
            self._model = wire.read_model(body)
            endpoint, component = wire.split_model(self._model)
        streaming = asked.operation is not Operation.EMBEDDINGS and wire.wants_stream(body)
        if not sagemaker.is_name(endpoint):
            raise Refused(wire.model_not_found(self._model))
        # The runtime API's own headers are understood here too: session, inference id, attributes, trace.
        operation = RuntimeOperation(Kind.INVOKE, endpoint)
        invocation = sagemaker.read_invocation(operation, exchange.headers, body, record.request_id)
        failures.refuse_loop(invocation, MAX_HOPS)
        return replace(
            invocation,
            component=component,
            streaming=streaming,
            content_type=invocation.content_type or "application/json",
            accept=None if streaming else invocation.accept,  # the package asks for JSON, also of a stream
            speaks=asked.operation.speaks,
        )

    def named(self, exchange: Exchange) -> tuple[str, str]:
        return self._asked.operation.title, self._asked.endpoint or ""

    def answer(self, reply: Reply, record: Record) -> str:
        return lines(wire.head(record.request_id, reply.content_type))

    def stream_head(self, reply: Reply, record: Record) -> str:
        return lines((*wire.head(record.request_id, reply.content_type), ("Cache-Control", "no-cache")))

    def reframer(self, reply: Reply) -> Reframer:
        return reframer(reply.content_type)

    def frames(self, parts: list[bytes]) -> list[bytes]:
        return [b"".join(parts)]

    def broken(self, error: BackendError, reply: Reply) -> tuple[str, bytes | None]:
        problem = openai_failures.stream_problem(error)
        sse = media_type(reply.content_type) == wire.EVENT_TYPE
        return failures.stream_failure(error).type, wire.write_event(problem) if sse else None

    def refuse(self, error: Exception, record: Record) -> tuple[str, Answer]:
        problem = openai_failures.problem(error, record, self._model)
        return openai_failures.kind(error, record), Answer(*wire.write_problem(problem, record.request_id))

    def unexpected(self, error: Exception) -> bool:
        return openai_failures.is_bug(error)
