"""The one place that knows the order of steps: look up, choose, try, answer.

`serve` is entered with a validated invocation and gives the reply of the first target that gave one; leaving it frees
the upstream, however it is left. What happens at the targets is in attempts.py. The steps are plain methods and not
generators behind `asynccontextmanager`: three of those took 10 us a request. Nothing here knows a wire format or a kind
of hosting.
"""

from __future__ import annotations

from dataclasses import replace

from backends.base import Call, Invocation, Reply
from backends.errors import BackendError
from policies.table import Miss, Route

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
from .telemetry import RequestTrace


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

    __slots__ = ("_answering", "_depth", "_invocation", "_passage", "_record", "_services", "_trace")

    def __init__(
        self, invocation: Invocation, record: Record, trace: RequestTrace, services: Services, depth: int
    ) -> None:
        self._invocation = invocation
        self._record = record
        self._trace = trace
        self._services = services
        self._depth = depth
        self._passage: Passage | None = None
        self._answering: Answering | None = None

    async def __aenter__(self) -> tuple[Reply, float]:
        invocation, record, trace, services = self._invocation, self._record, self._trace, self._services
        if trace.sampled:
            with trace.step(Step.LOOKUP):
                route = self._route()
        else:
            route = self._route()
        allowed = route.stream_timeout if invocation.streaming else route.timeout
        longest = invocation.longest
        deadline = record.arrived + (allowed if longest is None or longest > allowed else longest)
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
            return await self._handled(route, call, deadline), deadline
        answering = self._answering = Answering(route, call, deadline, record, trace, services)
        return await answering.begin(), deadline

    def _route(self) -> Route:
        record = self._record
        record.policy = policy = self._services.policy.current
        route = policy.table.lookup(self._invocation.endpoint, self._invocation.component)
        if isinstance(route, Miss):
            # A client's word becomes a label only where the policy has it, so that there are no more labels than names.
            record.endpoint = "" if route is Miss.UNKNOWN_ENDPOINT else self._invocation.endpoint
            raise RouteMissing(route)
        record.route = route
        return route

    async def __aexit__(self, kind: object, error: BaseException | None, at: object) -> None:
        try:
            if self._answering is not None:
                await self._answering.end(error)
        finally:
            if self._passage is not None:
                self._passage.close()

    async def _handled(self, route: Route, call: Call, deadline: float) -> Reply:
        """The reply, with the customer's code before and behind the target; whatever fails, the block is left."""
        record, trace, services = self._record, self._trace, self._services
        asked = _Asked(route, call, deadline, record, trace, services, self._depth)
        passage = self._passage = services.handlers.open(route)
        try:
            if trace.sampled:
                with trace.step(Step.BEFORE):
                    changed = await asked.before(passage)
            else:
                changed = await asked.before(passage)
            if isinstance(changed, Reply):
                record.why = record.why or f"{route.key}'s handler answered by itself"
                return changed
            answering = self._answering = Answering(route, changed, deadline, record, trace, services)
            reply = await answering.begin()
            if not trace.sampled:
                return await passage.after(reply, self._invocation.streaming)
            with trace.step(Step.AFTER):
                return await passage.after(reply, self._invocation.streaming)
        except BaseException as error:
            await self.__aexit__(None, error, None)
            raise


def serve(invocation: Invocation, record: Record, trace: RequestTrace, services: Services, depth: int = 0) -> Serving:
    """`invocation` in the pipeline. `depth` counts the requests of handlers that this one is inside of."""
    return Serving(invocation, record, trace, services, depth)


class _Asked:
    """What the hooks of one request ask of others, and of their own route's targets."""

    __slots__ = ("_call", "_deadline", "_depth", "_own", "_record", "_route", "_services", "_trace")

    def __init__(
        self,
        route: Route,
        call: Call,
        deadline: float,
        record: Record,
        trace: RequestTrace,
        services: Services,
        depth: int,
    ) -> None:
        self._route = route
        self._call = call
        self._deadline = deadline
        self._record = record
        self._trace = trace
        self._services = services
        self._depth = depth
        self._own: BackendError | None = None

    async def invoke(self, question: Question) -> Given:
        """`call.invoke` of a hook. Raises InvokeError."""
        if question.endpoint is None:
            return await self._ask_own(question)
        began = self._services.now()
        try:
            return await ensembles.ask(
                question, self._call.invocation, self._deadline, self._depth, self._trace, self._services, serve
            )
        finally:
            self._record.backend_seconds += self._services.now() - began

    async def before(self, passage: Passage) -> Call | Reply:
        """What the hook ahead of the model makes of the call. One that lets the failure of its own model through has
        not failed itself: then it is that failure."""
        try:
            return await passage.before(self._call, self._deadline, self.invoke)
        except HandlerError as error:
            if self._own is None or not error.of_invoke:
                raise
            raise self._own from error

    async def _ask_own(self, question: Question) -> Given:
        call = replace(
            self._call,
            invocation=replace(self._call.invocation, streaming=False),
            body=question.body,
            content_type=question.content_type,
            accept=question.accept,
        )
        try:
            async with Answering(self._route, call, self._deadline, self._record, self._trace, self._services) as reply:
                self._record.usage = reply.usage
                return await ensembles.whole(reply)
        except (BackendError, NoTarget) as error:
            self._own = error if isinstance(error, BackendError) else None
            raise ensembles.refusal(error) from error
