"""The attempts of one request at a route's targets: choose, try, and what follows a failure.

`Answering` is begun with a call and gives the reply of the first target that answers; ended, it frees that target. The
only loop is the one over attempts, and what follows a failure is decided by `policies.choose` from facts.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING

from backends.base import Call, Invocation, Reply
from backends.errors import BackendError, let_go
from backends.gates import Gate, Refused
from backends.http.edge import BodyTooLarge
from backends.patience import limit
from backends.series import Flight
from backends.temperatures import in_part
from policies import sessions
from policies.choose import (
    Attempt,
    Plan,
    after_failure,
    attempt_deadline,
    first_plan,
    plan_for,
    sticky_key,
    taken_back,
    turn_deadline,
)
from policies.facts import FailureFacts, Fault
from policies.kinds import alike
from policies.quotas import Quota
from policies.table import Route, Target

from . import cold, hedges
from .charging import charge
from .record import Record
from .refusals import noted
from .services import Services
from .spans import Step
from .traced import RequestTrace
from .ways import Lane, Way, way_of

if TYPE_CHECKING:
    from warmers.shadow import Taken


class NoTarget(Exception):
    """The route has a plan without a single target: nothing lies inside its boundary."""


class Answering:
    """The answer of the first of a route's targets that gives one. A whole answer frees its target at once, a stream
    when it ends."""

    # What most requests never have stands here, and is not set for each.
    _attempt: Attempt | None = None
    _reply: Reply | None = None
    _taken: Taken | None = None
    _since: float
    _flight: Flight

    def __init__(
        self, route: Route, call: Call, deadline: float, record: Record, trace: RequestTrace, services: Services
    ) -> None:
        self._route = route
        self._call = call
        self._deadline = deadline
        self._record = record
        self._trace = trace
        self._services = services

    async def __aenter__(self) -> Reply:
        return await self.begin()

    async def __aexit__(self, kind: object, error: BaseException | None, at: object) -> None:
        await self.end(error)

    async def begin(self) -> Reply:
        """The reply. Raises as `Serving` does; then there is nothing to `end`."""
        route, call, services, record, trace = self._route, self._call, self._services, self._record, self._trace
        if 0 < route.body_limit < len(call.body):
            raise BodyTooLarge(route.body_limit)
        if trace.sampled:
            with trace.step(Step.CHOOSE):
                lane, call = self._planned()
        else:
            lane, call = self._planned()
        services.book.arrived(route, record.arrived)
        if route.quota is not None:
            _admit(route, route.quota, record, services)
        plan, way, flight = lane.plan, lane.way, lane.flight
        self._flight = flight
        flight.count += 1
        attempt = plan.attempts[0]
        try:
            reply: Reply | None = None
            if route.hedge is None and not services.temperatures.tracked:  # most need no more than one attempt
                try:
                    reply = await _attempt(way, route, plan, call, self._deadline, record, trace, services)
                except BackendError as error:
                    plan = await _following(plan, error, route, call, self._deadline, record, services)
            if reply is None:
                attempt, reply = await _first_answer(route, plan, call, self._deadline, record, trace, services)
                record.refused = None  # a hook may ask more than once
                way = way_of(attempt, record.policy, services)
        except BaseException as error:
            flight.count -= 1
            if route.shift is not None and services.shadows is not None and isinstance(error, BackendError):
                services.shadows.refused(route, self._call, error)
            raise
        return self._begun(attempt, way, reply)

    def _begun(self, attempt: Attempt, way: Way, reply: Reply) -> Reply:
        """The attempt has answered: a whole answer frees its target now."""
        route, services, record = self._route, self._services, self._record
        if route.shift is not None and services.shadows is not None:
            waited = record.lasted
            self._taken, reply = services.shadows.answered(route, self._call, attempt.target, reply, waited)
        self._reply = reply
        if reply.stream is None:
            way.place.end()
            way.gate.leave()
        else:
            self._attempt = attempt
            self._since = services.now() - record.lasted  # when that attempt began
            way.gate.streams()
        if reply.new_session_id is not None or reply.closed_session_id is not None:
            return _session_marked(reply, route, attempt, self._call.invocation)
        return reply

    def _planned(self) -> tuple[Lane, Call]:
        """What to try in which order, and the call as it goes out: a session is known there by another id."""
        route, call, services, record = self._route, self._call, self._services, self._record
        invocation, policy = call.invocation, record.policy
        home = sessions.home(route, invocation.session_id) if invocation.session_id is not None else None
        if home is None and invocation.sdk_attempt == 1 and policy is services.policy.current:
            lane: Lane | None = policy.lanes.get(route.key)
            if lane is None and route.key in policy.usual:
                lane = policy.lanes[route.key] = Lane(policy.usual[route.key], route, policy, services)
            if lane is not None:
                record.why = lane.plan.why
                return lane, call
        if home is not None:
            call = replace(call, invocation=replace(invocation, session_id=home.session_id))
            plan = plan_for(route, home, invocation.sdk_attempt)
        else:
            views = {} if route.sole is not None else services.book.views(route.targets, services.now())
            key = None
            if route.sticky.by != "none":
                session, inference = invocation.session_id, invocation.inference_id
                key = sticky_key(route.sticky, session, inference, invocation.header, call.body)
            plan = first_plan(route, views, key, services.draw, len(call.body), invocation.sdk_attempt)
        record.why, record.side = plan.why, plan.side
        if not plan.attempts:
            raise NoTarget(plan.why)
        return Lane(plan, route, policy, services), call

    @property
    def streams(self) -> bool:
        """There is an answer, and it is a stream: `end` has to be awaited."""
        return self._reply is not None and self._reply.stream is not None

    def ended(self) -> None:
        """`end` of a whole answer that was passed on, or of none at all."""
        reply = self._reply
        if reply is not None:
            self._over(reply)

    async def end(self, error: BaseException | None) -> None:
        """The answer is passed on, or given up for `error`. Does nothing when there was none, or the second time."""
        reply, attempt = self._reply, self._attempt
        if reply is None:
            return
        try:
            if attempt is not None:
                self._services.gates.of(attempt.target).streamed(self._services.now() - self._since)
                _end(attempt, error if isinstance(error, BackendError) else None, self._services, self._since)
            if reply.stream is not None:
                await reply.stream.aclose()
        finally:
            self._over(reply)

    def _over(self, reply: Reply) -> None:
        self._reply = None
        self._flight.count -= 1
        if self._taken is not None:
            self._taken.done()
        if self._route.quota is not None:
            charge(self._route, reply, self._record, self._services)


def _session_marked(reply: Reply, route: Route, attempt: Attempt, invocation: Invocation) -> Reply:
    """The reply with the session's id as the client is to know it."""
    if reply.new_session_id is not None:
        known = sessions.marked(route, attempt.target, attempt.replica, reply.new_session_id)
        reply = replace(reply, new_session_id=known)
    if reply.closed_session_id is not None:
        reply = replace(reply, closed_session_id=invocation.session_id)
    return reply


def _admit(route: Route, quota: Quota, record: Record, services: Services) -> None:
    try:
        services.gates.admit_owner(quota, record.arrived)
    except Refused as refusal:
        services.meters.shed(route.key, "owner")
        raise _shed(route.targets[0], refusal) from refusal


async def _first_answer(
    route: Route, plan: Plan, call: Call, deadline: float, record: Record, trace: RequestTrace, services: Services
) -> tuple[Attempt, Reply]:
    """Try the plan's targets in turn until one answers; that one stays in flight in the book."""
    race: hedges.Race | None = None
    while True:
        attempt = plan.attempts[0]
        if services.temperatures.tracked and not services.temperatures.calm(attempt.target, record.arrived):
            try:
                plan = await cold.passed(route, plan, call, deadline, record, services)
            except BackendError as error:
                raise record.failure(error) from None
            attempt = plan.attempts[0]
        try:
            if route.hedge is None or race is not None or not hedges.possible(route, call):
                way = way_of(attempt, record.policy, services)
                return attempt, await _attempt(way, route, plan, call, deadline, record, trace, services)

            async def tried(plan: Plan, own: Record) -> Reply:
                way = way_of(plan.attempts[0], record.policy, services)
                return await _attempt(way, route, plan, call, deadline, own, trace, services)

            race = hedges.Race(route, route.hedge, plan, tried, lambda one: _end(one, None, services), record, services)
            try:
                return await race.answer()
            finally:
                plan = race.plan
        except BackendError as error:
            plan = await _following(plan, error, route, call, deadline, record, services)


async def _following(
    plan: Plan, error: BackendError, route: Route, call: Call, deadline: float, record: Record, services: Services
) -> Plan:
    """What is left of the plan once its next attempt has failed, after the wait that it wants. Raises `error` where
    that is the answer."""
    if error.facts.cold and services.temperatures.is_state(plan.attempts[0].target, call):
        let_go(error)
        return plan  # cold is a state by now: what becomes of the request is not the retries' to say
    now = services.now()
    following = after_failure(plan, error.facts, deadline - now, services.draw)
    charged = following is not None and following.charged and not taken_back(route, plan, following)
    if following is None or (charged and not services.book.afford(route, now)):
        raise record.failure(error)
    record.why = following.why
    let_go(error)
    record.refused = noted(record.refused, error)
    if following.wait:
        try:
            await asyncio.sleep(following.wait)
        except BaseException:
            if charged:
                services.book.unspent(route)
            raise
        finally:  # a client that leaves has not waited to the end
            record.backend_seconds += services.now() - now
    return following


async def _turn(
    route: Route, plan: Plan, call: Call, deadline: float, record: Record, trace: RequestTrace, services: Services
) -> None:
    """Wait for a place at the plan's next target; who gets none is shed, and may still go elsewhere in time."""
    target, began = plan.attempts[0].target, services.now()
    seconds = turn_deadline(plan, began, deadline) - began
    with trace.step(Step.QUEUE):
        try:
            await services.gates.queue(target, route.shed, len(call.body), seconds)
        except Refused as refusal:
            services.meters.shed(route.key, "target")
            services.meters.limits.refused(target.name)
            raise _shed(target, refusal) from refusal
        finally:
            record.queue_seconds += services.now() - began


def _shed(target: Target, refusal: Refused) -> BackendError:
    facts = FailureFacts(Fault.PLATFORM, True, refusal.retry_after, throttled=True, shed=True)
    return BackendError(facts, target, f"shed: {refusal}")


def _end(
    attempt: Attempt, failure: BackendError | None, services: Services, began: float = math.inf, *, cold: bool = False
) -> None:
    """The attempt is over, however it went: what is known of its target, and its place, are brought up to date."""
    facts, now = failure.facts if failure else None, services.now()
    if cold and facts is not None:
        facts = replace(facts, cold=True, timed_out=False)
    services.book.end(attempt.target, attempt.replica, facts, now, began)
    if facts is not None and facts.throttled and not services.book.shunned(attempt.target, attempt.replica):
        services.gates.pushed_back(attempt.target, now)
    services.gates.leave(attempt.target)


async def _attempt(
    way: Way,
    route: Route,
    plan: Plan,
    call: Call,
    deadline: float,
    record: Record,
    trace: RequestTrace,
    services: Services,
) -> Reply:
    """The answer of the plan's next target, to which `way` leads."""
    attempt = plan.attempts[0]
    target, gate, place = attempt.target, way.gate, way.place
    if not gate.enter():
        await _turn(route, plan, call, deadline, record, trace, services)
        way.place = place = services.book.of(target, attempt.replica)  # who waits is not there: it may be forgotten
    inside, streaming = gate.active, gate.streaming
    place.begin()
    began = services.now()
    if services.temperatures.tracked:
        services.temperatures.sent(target, began)
    try:
        if trace.sampled:
            with trace.attempt(target, max(record.tried, plan.made) + 1, attempt.replica) as context:
                reply = await _sent(way, plan, call.traced(context), began, deadline)
        elif plan.idempotent:
            reply = await _sent(way, plan, call, began, deadline)
        else:
            reply = await way.ask(target, call, deadline, attempt.replica)
    except BaseException as error:
        ended, failure = services.now(), error if isinstance(error, BackendError) else None
        record.failed(attempt, ended - began, failure)
        part = in_part(target, call)
        was_cold = cold.refused(attempt, failure, began, ended, services, part=part)
        in_time = began < deadline  # else a slow upload, or a hook, had used all of it, and the target was not asked
        _end(attempt, failure if in_time else None, services, began, cold=was_cold)
        # A client that leaves has waited in vain as well: it would have taken that long at least.
        late = isinstance(error, asyncio.CancelledError) or (failure is not None and failure.facts.timed_out)
        if late and in_time and not was_cold and not services.book.shunned(target, attempt.replica):
            _learn(gate, (ended - began, inside, streaming, ended), route, call, None, services)
        raise
    answered = services.now()
    seconds = answered - began
    place.answered(answered)
    if answered >= gate.listens_from:
        _learn(gate, (seconds, inside, streaming, answered), route, call, reply, services)
    if services.temperatures.tracked:
        cold.answered(target, began, answered, services)
    record.answered(attempt, seconds, reply.upstream_request_id)
    return reply


def _learn(
    gate: Gate,
    took: tuple[float, int, int, float],
    route: Route,
    call: Call,
    reply: Reply | None,
    services: Services,
) -> None:
    """Have the target's limit learn, later, of an answer that came, or of one that did not."""
    streaming = call.streaming if reply is None else reply.stream is not None
    told = None if streaming or reply is None else len(reply.body)
    like = alike(route.key, len(call.body), told, streaming=streaming)
    if gate.answered(*took, like, came=reply is not None):
        services.afterwards.do(gate.learn)


def _sent(way: Way, plan: Plan, call: Call, began: float, deadline: float) -> Awaitable[Reply]:
    """The answer of the plan's next target, within its share of the time."""
    attempt = plan.attempts[0]
    target = attempt.target
    asked = way.ask(target, call, deadline, attempt.replica)
    share = attempt_deadline(plan, began, deadline) if plan.idempotent else deadline
    return asked if share >= deadline else _within(share - began, asked, target)


async def _within(seconds: float, asked: Awaitable[Reply], target: Target) -> Reply:
    """The answer, if it begins in time; what was sent may have run, so the facts are those of a lost answer."""
    try:
        async with limit(seconds):
            return await asked
    except TimeoutError as error:
        facts = FailureFacts(Fault.NETWORK, retry_safe=None, timed_out=True)
        raise BackendError(facts, target, f"no answer within its share of the time, {seconds:.3g} s") from error
