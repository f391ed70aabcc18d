"""What a request does at a target that is not known to be loaded: go, wait a moment, spill, be held, or fail.

Asked before each attempt at a target that is not calm (`Temperatures.calm`); everyone else never comes here.

| the target is | the request |
|---|---|
| ready, but only just back | goes there, or spills, so that traffic comes back bit by bit |
| unknown or cooling | goes if it is the first; others wait for its verdict, a second at most, and then go as well |
| cold or warming | by the route's `when_cold`; one restore probe is out meanwhile, whoever asked for it |

Spill: to the route's fallbacks, all of them inside its boundary; with none that is warm it fails. Hold: until the
target is back or the deadline leaves no room for an answer, with as many waiting as the target's queue may hold; nobody
is held for a restore that can't be over in time. Fail: at once. Who fails is told when to come again. A session lives
in the memory of a copy, so a request that belongs to one spills nowhere. That a call has been out for as long as a
restore takes proves nothing yet: the probe has a second to show that the target is only slow.
"""

from __future__ import annotations

from backends.base import Call, Invocation
from backends.errors import BackendError
from backends.temperatures import VERDICT, Full
from policies import sessions
from policies.choose import Attempt, Plan, sticky_key
from policies.facts import FailureFacts, Fault
from policies.spilling import spilled
from policies.standing import place
from policies.table import Route, Target
from policies.temperature import Warmth

from .record import Record
from .services import Services

SPILL, HOLD, FAIL = "spill", "hold", "fail"
NOT_LOADED = frozenset({Warmth.COLD, Warmth.WARMING})
ANSWER_SHARE = 0.1
"""Of the time that is left, kept free for an answer where nobody knows yet how long one takes."""


async def passed(route: Route, plan: Plan, call: Call, deadline: float, record: Record, services: Services) -> Plan:
    """The plan, changed where its next target is cold, once that target may be asked.

    Raises:
        BackendError: it is cold, and the route's policy, or the time that is left, lets the request go nowhere.
    """
    passage = _Passage(route, call, deadline, record, services)
    waited = False
    while True:
        target, now = plan.attempts[0].target, services.now()
        if services.temperatures.calm(target, now):
            return plan
        warmth = services.temperatures.warmth(target, now)
        if warmth in NOT_LOADED:
            probed = passage.restoring(target)
            if not probed and services.temperatures.may_try(target, now):
                return plan
            if not waited and not services.temperatures.proven(target):
                waited = True
                await passage.changed(target, VERDICT)
            else:
                plan = await passage.cold(plan, warmth, probed=probed)
        elif warmth is Warmth.READY:
            return passage.eased(plan)
        elif waited or services.temperatures.first(target, now):
            return plan
        else:
            waited = True
            await passage.changed(target, VERDICT)


def answered(target: Target, sent_at: float, now: float, services: Services) -> None:
    """Write down that a call of `sent_at` was answered, or began to be, and what a restore took that it ends."""
    took = services.temperatures.answered(target, sent_at, now)
    if took is not None:
        services.meters.cold.restored(target.name, took)


def refused(
    attempt: Attempt,
    failure: BackendError | None,
    sent_at: float,
    now: float,
    services: Services,
    *,
    part: bool = False,
) -> bool:
    """Write down that an attempt of `sent_at` failed, or was given up. True: the target is cold, and not at fault.

    It is cold by its own word, unless the call was for a `part` of it, or because it has held the call for as long as a
    restore takes.
    """
    if failure is not None and failure.facts.cold and not part:
        services.temperatures.met_cold(attempt.target, now, attempt.replica)
        return True
    return services.temperatures.failed(attempt.target, sent_at, now)


class _Passage:
    """One request at targets that are not calm."""

    def __init__(self, route: Route, call: Call, deadline: float, record: Record, services: Services) -> None:
        self._route = route
        self._call = call
        self._deadline = deadline
        self._record = record
        self._services = services

    def restoring(self, target: Target) -> bool:
        """See to it that a probe is out; False: this request has to be the probe."""
        restorer = self._services.restorer
        return restorer is not None and restorer.restore(self._route, target)

    async def changed(self, target: Target, seconds: float) -> bool | None:
        """Wait for news of the target; False: none in time; None: too many wait already."""
        began = self._services.now()
        try:
            return await self._services.temperatures.change(
                target, min(seconds, self._deadline - began), len(self._call.body)
            )
        except Full:
            return None
        finally:
            self._record.backend_seconds += self._services.now() - began

    async def cold(self, plan: Plan, warmth: Warmth, *, probed: bool) -> Plan:
        """The plan of a request whose next target is cold, after its wait. Raises BackendError when it fails.

        Where nothing is `probed`, those who are held take turns: one of them at a time is the probe.
        """
        target, temperatures, now = plan.attempts[0].target, self._services.temperatures, self._services.now()
        state = f"{target.name} is {warmth.name.lower()}"
        if self._route.when_cold == SPILL:
            other = self._spilled(plan, state)
            if other is not None:
                return other
        elif self._route.when_cold == HOLD:
            left = self._deadline - now
            room = left - (temperatures.expected(target) or left * ANSWER_SHARE)
            if room > temperatures.earliest(target, now):
                wait = room if probed else min(room, temperatures.until_try(target, now))
                heard = await self.changed(target, wait)
                if heard or (heard is False and wait < room):
                    self._met(HOLD, f"{self._route.rule}: {target.name}, cold-hold: {state}")
                    return plan
        wait = temperatures.remaining(target, self._services.now())
        self._met(FAIL, f"{self._route.rule}: cold-fail: {state}")
        facts = FailureFacts(Fault.PLATFORM, retry_safe=True, retry_after=wait, cold=True)
        raise BackendError(facts, target, f"{state}, expected back in {wait:.0f} s")

    def eased(self, plan: Plan) -> Plan:
        """The plan for a target that is just back: of a route that spills, only a share of the requests goes there."""
        target = plan.attempts[0].target
        share = self._services.temperatures.share(target, self._services.now())
        if share >= 1.0 or plan.made or self._route.when_cold != SPILL:
            return plan
        asked = self._asked
        key = sticky_key(self._route.sticky, asked.session_id, asked.inference_id, asked.header, self._call.body)
        if place(target, key, self._services.draw) < share:
            return plan
        return self._spilled(plan, f"{target.name} is just back") or plan

    @property
    def _asked(self) -> Invocation:
        """As the client has sent it: the call has the session's id as the copy has it."""
        return self._record.invocation or self._call.invocation

    def _spilled(self, plan: Plan, reason: str) -> Plan | None:
        route, services = self._route, self._services
        invocation = self._asked
        if sessions.home(route, invocation.session_id) is not None:
            return None
        now = services.now()
        places = (*(attempt.target for attempt in plan.attempts), *route.reserves)
        out = {one.name for one in places if services.temperatures.warmth(one, now) in NOT_LOADED}
        out.add(plan.attempts[0].target.name)
        views = services.book.views(route.targets, now)
        other = spilled(route, plan, out, views, services.draw, len(self._call.body), reason)
        if other is not None:
            self._met(SPILL, other.why)
        return other

    def _met(self, became: str, why: str) -> None:
        self._record.cold, self._record.why = became, why
