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
from policies.choose import Attempt, Plan, after_failure, first_plan, sticky_key
from policies.table import Miss

from .record import Record
from .services import Services
from .spans import Step
from .telemetry import RequestTrace


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
    with trace.step(Step.LOOKUP):
        record.policy = policy = services.policy.current
        route = policy.table.lookup(invocation.endpoint, invocation.component)
        if isinstance(route, Miss):
            raise RouteMissing(route)
        record.route = route
    allowed = route.stream_timeout if invocation.streaming else route.timeout
    deadline = record.arrived + (allowed if invocation.longest is None else min(allowed, invocation.longest))
    call = Call(
        invocation=invocation,
        body=invocation.body,
        content_type=invocation.content_type,
        accept=invocation.accept,
        custom_attributes=invocation.custom_attributes,
        trace=trace.outgoing,
    )
    with trace.step(Step.CHOOSE):
        views = services.book.views(route.targets)
        key = sticky_key(route.sticky, invocation.session_id, invocation.inference_id, invocation.header)
        plan = first_plan(route, views, key, services.draw, len(call.body))
        record.why = plan.why
        if not plan.attempts:
            raise NoTarget(plan.why)
    services.meters.in_flight(route.key, 1)
    try:
        attempt, reply = await _first_answer(plan, call, deadline, record, trace, services)
        async with _held(attempt, reply, services):
            yield reply, deadline
    finally:
        services.meters.in_flight(route.key, -1)


@asynccontextmanager
async def _held(attempt: Attempt, reply: Reply, services: Services) -> AsyncIterator[None]:
    """The target that answers stays in flight until its answer is passed on, or given up."""
    failure: BackendError | None = None
    try:
        yield
    except BackendError as error:
        failure = error
        raise
    finally:
        services.book.end(attempt.target, attempt.replica, failure.facts if failure else None)
        if reply.stream is not None:
            await reply.stream.aclose()


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
        with trace.attempt(target, len(record.attempts) + 1, attempt.replica) as context:
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
