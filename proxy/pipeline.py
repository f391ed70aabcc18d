"""The one place that knows the order of steps: look up, choose, try, answer.

`serve` is entered with a validated invocation and yields the reply of the first target that gave one; leaving it frees
the upstream, however it is left. The only loop is the one over attempts, and what follows a failure is decided by
`policies.choose` from facts. Nothing here knows a wire format or a kind of hosting.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from backends.base import Call, Invocation, Reply
from backends.errors import BackendError
from policies.choose import Attempt, Plan, after_failure, first_plan
from policies.table import Miss, Route

from .record import Record
from .services import Services
from .telemetry import RequestTrace

LOOKUP, CHOOSE, BACKEND = "lookup", "choose", "backend"
"""Names of the steps, in spans and docs."""


class RouteMissing(Exception):
    """The policy has no route for the invocation; each face has its own words for it."""

    def __init__(self, miss: Miss) -> None:
        super().__init__(miss.value)
        self.miss = miss


class NoTarget(Exception):
    """The route has a plan without a single target: nothing lies inside its boundary."""


@asynccontextmanager
async def serve(
    invocation: Invocation, record: Record, trace: RequestTrace, services: Services
) -> AsyncIterator[tuple[Reply, float]]:
    """The reply to `invocation`, with the deadline (on the loop's clock) that binds writing it.

    Raises:
        RouteMissing: the policy knows no such endpoint or component.
        NoTarget: it does, but nothing may serve it.
        BackendError: the last of the attempts that the policy and the facts allow has failed.
    """
    with trace.step(LOOKUP):
        record.policy = policy = services.policy.current
        route = policy.table.lookup(invocation.endpoint, invocation.component)
        if isinstance(route, Miss):
            raise RouteMissing(route)
        record.route = route
    deadline = record.arrived + (route.stream_timeout if invocation.streaming else route.timeout)
    call = Call(
        invocation=invocation,
        body=invocation.body,
        content_type=invocation.content_type,
        accept=invocation.accept,
        custom_attributes=invocation.custom_attributes,
        trace=trace.outgoing,
    )
    with trace.step(CHOOSE):
        views = services.book.views(route.targets)
        plan = first_plan(route, views, sticky_key(route, invocation), services.draw, len(call.body))
        record.why = plan.why
        if not plan.attempts:
            raise NoTarget(plan.why)
    attempt, reply = await _first_answer(plan, call, deadline, record, trace, services)
    failure: BackendError | None = None
    try:
        yield reply, deadline
    except BackendError as error:
        failure = error
        raise
    finally:
        services.book.end(attempt.target, attempt.replica, failure.facts if failure else None)
        if reply.stream is not None:
            await reply.stream.aclose()


def sticky_key(route: Route, invocation: Invocation) -> str | None:
    """What keeps this caller on one side of a split; None when the policy or the request gives nothing to hold on to."""
    match route.sticky.by:
        case "session":
            session = invocation.session_id
            return None if session == "NEW_SESSION" else session
        case "inference-id":
            return invocation.inference_id
        case "header":
            return invocation.header(route.sticky.header or "")
        case _:
            return None


async def _first_answer(
    plan: Plan, call: Call, deadline: float, record: Record, trace: RequestTrace, services: Services
) -> tuple[Attempt, Reply]:
    """Try the plan's targets in turn until one answers; that one stays in flight in the book."""
    while True:
        attempt = plan.attempts[0]
        try:
            return attempt, await _attempt(attempt, call, deadline, record, trace, services)
        except BackendError as error:
            following = after_failure(plan, error.facts)
            if following is None or services.now() >= deadline:
                raise
            plan = following
            record.why = plan.why


async def _attempt(
    attempt: Attempt, call: Call, deadline: float, record: Record, trace: RequestTrace, services: Services
) -> Reply:
    target = attempt.target
    services.book.begin(target, attempt.replica)
    began = services.now()
    failure: BackendError | None = None
    answered = False
    try:
        with trace.attempt(target, len(record.attempts) + 1) as context:
            reply = await services.backends[target.kind].invoke(
                target, replace(call, trace=context), deadline, attempt.replica
            )
        answered = True
        return reply
    except BackendError as error:
        failure = error
        raise
    finally:
        record.attempted(attempt, services.now() - began, failure, answered=answered)
        if not answered:
            services.book.end(target, attempt.replica, failure.facts if failure else None)
