"""The one place that knows the order of steps: look up, choose, try, answer.

`serve` is entered with a validated invocation and gives the reply of the first target that gave one; leaving it frees
the upstream, however it is left. What happens at the targets is in attempts.py. The steps are plain methods and not
generators behind `asynccontextmanager`: three of those took 10 us a request. Nothing here knows a wire format or a kind
of hosting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from dataclasses import replace
from typing import Any

from backends.base import Call, Invocation, Reply
from backends.errors import BackendError
from backends.wire.usage import counted
from policies.table import Miss, Route, RouteTable

from . import ensembles
from .attempts import Answering
from .attempts import NoTarget as NoTarget
from .handlers.errors import HandlerError
from .handlers.guest.values import Question
from .handlers.guest.values import Reply as Given
from .handlers.passages import Passage
from .record import Record
from .services import Services
from .spans import Step
from .traced import RequestTrace


class RouteMissing(Exception):
    """The policy has no route for the invocation; each face has its own words for it."""

    def __init__(self, miss: Miss) -> None:
        super().__init__(miss.value)
        self.miss = miss


class Serving:
    """One request in the pipeline. Entering it gives the reply, and the deadline (on the loop's clock) that binds
    writing it; leaving it frees the target.

    Raises, when it is entered:
        RouteMissing: the policy knows no such endpoint or component.
        NoTarget: it does, but nothing may serve it.
        BodyTooLarge: none of the targets that may serve it takes a body of that length.
        BackendError: the last of the attempts that the policy and the facts allow has failed.
        HandlerError: the customer's code has.
    """

    _passage: Passage | None = None
    _answering: Answering | None = None
    _call: Call
    _own: BackendError | None = None
    """How the route's own target failed a hook that asked it."""
    deadline: float
    """Once it has begun."""

    def __init__(
        self, invocation: Invocation, record: Record, trace: RequestTrace, services: Services, depth: int = 0
    ) -> None:
        """`depth` counts the requests of handlers that this one is inside of."""
        self._invocation = invocation
        self._record = record
        self._trace = trace
        self._services = services
        self._depth = depth

    async def __aenter__(self) -> tuple[Reply, float]:
        return await self.begin(), self.deadline

    def begin(self) -> Coroutine[Any, Any, Reply]:
        """The reply, to be awaited; then, and only then, `end` has to follow."""
        invocation, record, trace = self._invocation, self._record, self._trace
        if trace.sampled:
            with trace.step(Step.LOOKUP):
                route = self._route()
        else:
            route = self._route()
        allowed = route.stream_timeout if invocation.streaming else route.timeout
        longest = invocation.longest
        deadline = self.deadline = record.arrived + (allowed if longest is None or longest > allowed else longest)
        call = Call(
            invocation,
            invocation.body,
            invocation.content_type,
            invocation.accept,
            invocation.custom_attributes,
            trace.outgoing,
            invocation.speaks or route.clients_speak,
            route.translate,
        )
        if route.handler is not None:
            self._call = call
            return self._handled(route, call)
        answering = self._answering = Answering(route, call, deadline, record, trace, self._services)
        return answering.begin()

    def _route(self) -> Route:
        record, invocation = self._record, self._invocation
        record.policy = policy = self._services.policy.current
        route = policy.table.routes.get((invocation.endpoint, invocation.component))
        if route is None:
            raise self._missing(policy.table)
        record.route = route
        return route

    def _missing(self, table: RouteTable) -> RouteMissing:
        miss = table.lookup(self._invocation.endpoint, self._invocation.component)
        assert isinstance(miss, Miss)  # noqa: S101 - a look-up that finds nothing says why
        self._record.asked_for(self._invocation.endpoint, table.endpoints)
        return RouteMissing(miss)

    async def __aexit__(self, kind: object, error: BaseException | None, at: object) -> None:
        await self.end(error)

    async def end(self, error: BaseException | None) -> None:
        """The reply is passed on, or given up for `error`. Does nothing the second time."""
        try:
            if self._answering is not None:
                await self._answering.end(error)
        finally:
            self._close()

    @property
    def streams(self) -> bool:
        """The target's answer is a stream, so that `end` has to be awaited."""
        return self._answering is not None and self._answering.streams

    def ended(self) -> None:
        """`end` of an answer that was passed on and is no stream: there is nothing to wait for."""
        if self._answering is not None:
            self._answering.ended()
        if self._passage is not None:
            self._close()

    def _close(self) -> None:
        passage, self._passage = self._passage, None
        if passage is not None:
            passage.close()

    async def _handled(self, route: Route, call: Call) -> Reply:
        """The reply, with the customer's code before and behind the target; whatever fails, it is ended."""
        record, trace, services = self._record, self._trace, self._services
        passage = self._passage = services.handlers.open(route, call, self)
        try:
            if trace.sampled:
                with trace.step(Step.BEFORE):
                    changed = await self._hooked(passage.before())
            else:
                hooked = passage.before()
                changed = hooked if hooked is call or isinstance(hooked, (Call, Reply)) else await self._hooked(hooked)
            if changed is not call and isinstance(changed, Reply):
                record.why = record.why or f"{route.key}'s handler answered by itself"
                return changed
            answering = self._answering = Answering(route, changed, self.deadline, record, trace, services)
            reply = await answering.begin()
            if trace.sampled:
                with trace.step(Step.AFTER):
                    given = passage.after(reply, self._invocation.streaming)
                    return given if isinstance(given, Reply) else await given
            given = passage.after(reply, self._invocation.streaming)
            return given if given is reply or isinstance(given, Reply) else await given
        except BaseException as error:
            await self.end(error)
            raise

    async def _hooked(self, hooked: Call | Reply | Awaitable[Call | Reply]) -> Call | Reply:
        """What the hook ahead of the model makes of the call. One that lets the failure of its own model through has
        not failed itself: then it is that failure."""
        try:
            return hooked if isinstance(hooked, (Call, Reply)) else await hooked
        except HandlerError as error:
            if self._own is None or not error.of_invoke:
                raise
            raise self._own from error

    async def invoke(self, question: Question) -> Given:
        """`call.invoke` of a hook. Raises InvokeError."""
        if question.endpoint is None:
            return await self._ask_own(question)
        services = self._services
        began = services.now()
        try:
            return await ensembles.ask(
                question, self._invocation, self.deadline, self._depth, self._trace, services, serve
            )
        finally:
            self._record.backend_seconds += services.now() - began

    async def _ask_own(self, question: Question) -> Given:
        record, route = self._record, self._record.route
        assert route is not None  # noqa: S101 - a hook is a route's
        call = replace(
            self._call,
            invocation=replace(self._invocation, streaming=False),
            body=question.body,
            content_type=question.content_type,
            accept=question.accept,
        )
        try:
            async with Answering(route, call, self.deadline, record, self._trace, self._services) as reply:
                record.usage = counted(reply)
                return await ensembles.whole(reply)
        except (BackendError, NoTarget) as error:
            self._own = error if isinstance(error, BackendError) else None
            raise ensembles.refusal(error) from error


def serve(invocation: Invocation, record: Record, trace: RequestTrace, services: Services, depth: int = 0) -> Serving:
    """`invocation` in the pipeline. `depth` counts the requests of handlers that this one is inside of."""
    return Serving(invocation, record, trace, services, depth)
