"""The copies of one process: which requests are sampled, which of those are asked again, and what came of it.

`answered` and `refused` are what the pipeline calls: they only look, count and put away. `run` is one owned task with
`AT_A_TIME` others under it that do the rest. A sampled request is dropped, and the reason counted, when there is no
room for it at any point; nothing waits for room.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from backends.base import Backend, Call, Invocation, Reply
from backends.book import Book
from backends.errors import BackendError
from backends.gates import Gates
from backends.meters import Meters
from backends.outcome import Outcome
from backends.tasks import start
from backends.temperatures import Temperatures, in_part
from backends.wire.comparison import Comparison, Heard, comparing
from policies import sessions
from policies.agreement import observed
from policies.evidence import Evidence, Side, bucket_of
from policies.standing import replica
from policies.table import Route, RouteTable, Target
from policies.temperature import Warmth

from ..ping import PingTrace
from .copies import Copy, copied
from .plans import Shadowing, shadowing_of
from .purse import Purse
from .sharing import Sharing
from .taken import Taken
from .telling import outcome_of

log = logging.getLogger("pointsman.shadow")

T = TypeVar("T")

AT_A_TIME = 4
"""Sampled requests that are asked again at a time; each is two requests, of two targets."""
WAITING = 64
"""Sampled requests that wait for that."""
HELD = 32 * 1024**2
"""Bytes that are kept of sampled requests, from being sampled to being compared."""
BUSY = 0.02
"""Seconds that one turn of the event loop may take before copies are left to later: clients wait as long."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two answers to one request that are less alike than the policy's `below`."""

    plan: Shadowing
    route: Route
    call: Call
    old: Heard
    """What the client was answered."""
    new: Heard
    comparison: Comparison
    floor: Comparison
    at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the copies work with: the traffic's own backends, book and gates, clocks, and where to tell."""

    table: Callable[[], tuple[RouteTable, str]]
    """The policy in force, with migrations laid over it, and its label."""
    backends: Mapping[str, Backend]
    book: Book
    gates: Gates
    meters: Meters
    purse: Purse
    temperatures: Temperatures
    now: Callable[[], float]
    """Seconds on the event loop's clock."""
    wall: Callable[[], float]
    """Seconds since 1970."""
    draw: Callable[[], float]
    new_id: Callable[[], str]
    trace: Callable[[Invocation, int], PingTrace]
    """Begins the trace of an invocation at that many nanoseconds since 1970."""
    tell: Callable[[Outcome], None]
    pause: Callable[[float], Awaitable[None]]
    """Waits that many seconds of `now`."""
    sharing: Sharing | None = None
    """Tells other processes what this one spends; None: it is alone."""
    keep: Callable[[Difference], None] | None = None
    """Takes a difference that is to be kept."""


class Shadows:
    """The copies of one process, made inside its loop."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._waiting: deque[Taken] = deque()
        self._some = asyncio.Event()
        self._held = 0
        self._seen: dict[tuple[str, str], dict[str, Evidence]] = {}

    def answered(
        self, route: Route, call: Call, target: Target, reply: Reply, waited: float
    ) -> tuple[Taken | None, Reply]:
        """The request if it is sampled, to be told when it is `done`, and the reply to pass on.

        `target` answered it after `waited` seconds. To be called only for a route with a shift: others pay nothing.
        """
        taken = self._sampled(route, call, target, waited)
        return taken, reply if taken is None else taken.watch(reply)

    def refused(self, route: Route, call: Call, error: BackendError) -> None:
        """The client is told a failure; where it is the model's own, another model has to refuse as well."""
        taken = self._sampled(route, call, error.target, 0.0)
        if taken is not None:
            taken.failed(error)
            taken.done()

    def _sampled(self, route: Route, call: Call, target: Target, waited: float) -> Taken | None:
        shift = route.shift
        if shift is None or not shift.shadow or target.name != shift.old or self._parts.draw() >= shift.shadow:
            return None
        table, _ = self._parts.table()
        plan = shadowing_of(route, table)
        if plan is None:
            return None
        reason = self._unfit(plan, route, call)
        if reason is not None:
            self._parts.meters.shadow.result(route.key, reason)
            return None
        return Taken(plan, route, call, self._parts.now() - waited, self._parts.now, self)

    def grew(self, size: int) -> bool:
        """See `Keeper`."""
        self._held += size
        return self._held <= HELD

    def offered(self, taken: Taken) -> None:
        """See `Keeper`: the client has its answer, or has gone, or was told a failure."""
        if taken.heard is not None and len(self._waiting) < WAITING:
            self._waiting.append(taken)
            self._some.set()
            return
        self._drop(taken, "load" if taken.heard is not None else taken.spoiled or "client_gone")

    def collect(self) -> Mapping[tuple[str, str], Mapping[str, Evidence]]:
        """What has been seen since the last call, by migration and window, by key of the route."""
        seen, self._seen = self._seen, {}
        return seen

    async def run(self) -> None:
        """Ask and compare until cancelled; what waits then is dropped."""
        tasks = [start(self._work(), name=f"shadow-{number}") for number in range(AT_A_TIME)]
        if self._parts.sharing is not None:
            tasks.append(start(self._parts.sharing.run(self._parts.pause), name="shadow-spent"))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            while self._waiting:
                self._drop(self._waiting.popleft(), "ended")

    def _unfit(self, plan: Shadowing, route: Route, call: Call) -> str | None:
        """Why a request is not copied, in one word."""
        invocation = call.invocation
        if self._held + len(call.body) > HELD or len(self._waiting) >= WAITING:
            return "load"
        if plan.new.body_limit < len(call.body) or (invocation.streaming and not plan.new.streams):
            return "size" if plan.new.body_limit < len(call.body) else "streams"
        if _is_stateful(route, invocation.session_id):
            return "session"
        return None

    def _drop(self, taken: Taken, reason: str) -> None:
        self._held -= taken.held
        self._parts.meters.shadow.result(taken.route.key, reason)

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._some.clear()
                await self._some.wait()
            taken = self._waiting.popleft()
            try:
                result = await self._one(taken)
            except Exception:
                # Whatever goes wrong with one copy must not end the others.
                log.exception("a copy for the migration %s broke", taken.plan.migration)
                result = "broken"
            self._drop(taken, result)

    async def _one(self, taken: Taken) -> str:
        """Ask both targets and compare; what became of it in one word."""
        parts, plan = self._parts, taken.plan
        turn = parts.now()
        await asyncio.sleep(0)
        if parts.now() - turn > BUSY:
            return "load"
        table, _ = parts.table()
        now_in_force = table.lookup(taken.route.endpoint, taken.route.component)
        if not isinstance(now_in_force, Route) or shadowing_of(now_in_force, table) != plan:
            return "moved"
        if not parts.purse.affords(plan.migration, plan.budget, parts.wall()):
            return "budget"
        if self._loading(plan.new):
            self._add(taken.route.key, plan, _side(plan, cold=True))
            return "cold"
        if not parts.gates.enter_spare(plan.new):
            return "load"
        try:
            if not parts.gates.enter_spare(plan.old):
                return "load"
            try:
                new, again = await _both(self._ask(taken, plan.new), self._ask(taken, plan.old))
            finally:
                parts.gates.leave_spare(plan.old)
        finally:
            parts.gates.leave_spare(plan.new)
        return await self._judge(taken, new, again)

    def _loading(self, target: Target) -> bool:
        """Whether it is cold, and has been asked so recently that one more request would only be one more."""
        temperatures, now = self._parts.temperatures, self._parts.now()
        if temperatures.calm(target, now) or temperatures.warmth(target, now) not in (Warmth.COLD, Warmth.WARMING):
            return False
        return not temperatures.may_try(target, now)

    async def _ask(self, taken: Taken, target: Target) -> Copy:
        parts, route = self._parts, taken.route
        number = replica(target, parts.book.views((target,), parts.now()), None, parts.draw)
        call = _copy_of(taken.call, parts.new_id())
        deadline = parts.now() + (route.stream_timeout if call.streaming else route.timeout)
        started, trace = parts.wall(), parts.trace(call.invocation, int(parts.wall() * 1e9))
        begin = parts.now()
        parts.book.begin(target, number)
        parts.temperatures.sent(target, begin)
        copy: Copy | None = None
        try:
            with trace.attempt(target, 1, number) as context:
                sent = replace(call, trace=context)
                copy = await copied(parts.backends[target.kind], target, sent, deadline, number, parts.now)
        finally:
            self._known(target, number, begin, copy, part=in_part(target, call))
        usd = parts.purse.charge(taken.plan.migration, target, copy.seconds, parts.wall())
        parts.meters.shadow.usd(route.key, usd)
        outcome = outcome_of(taken, call, copy, number, started, parts.table()[1], trace.trace_id)
        trace.finish(outcome)
        parts.tell(outcome)
        return copy

    def _known(self, target: Target, number: int, begin: float, copy: Copy | None, *, part: bool) -> None:
        """What a request that began at `begin` says of its target is told as of a client's; None: it was given up."""
        parts, now = self._parts, self._parts.now()
        failure = copy.failure if copy is not None else None
        if copy is not None and failure is None:
            parts.book.answered(target, number, now)
            took = parts.temperatures.answered(target, begin, begin + copy.first)
            if took is not None:
                parts.meters.cold.restored(target.name, took)
        elif failure is not None and failure.facts.cold and not part:
            parts.temperatures.met_cold(target, now, number)
        else:
            parts.temperatures.failed(target, begin, now)
        parts.book.end(target, number, failure.facts if failure is not None else None, now)

    async def _judge(self, taken: Taken, new: Copy, again: Copy) -> str:
        parts, plan, key = self._parts, taken.plan, taken.route.key
        assert taken.heard is not None  # noqa: S101 - else it had not been put away for this
        seen = _side(plan, new, cold=new.cold)
        if new.heard is None or again.heard is None:
            self._add(key, plan, seen)
            return "cold" if new.cold else "candidate_failed" if new.heard is None else "floor_failed"
        candidate, floor = await _slowly(comparing(taken.call.speaks, taken.heard, (new.heard, again.heard)))
        agreement = observed(plan.bound, candidate.score, floor.score, candidate.parts, floor.parts)
        self._add(key, plan, replace(seen, agreement=agreement))
        parts.meters.shadow.score(key, "candidate", candidate.score)
        parts.meters.shadow.score(key, "floor", floor.score)
        if parts.keep is not None and plan.keep is not None and candidate.score < min(plan.keep.below, floor.score):
            parts.keep(
                Difference(plan, taken.route, taken.call, taken.heard, new.heard, candidate, floor, parts.wall())
            )
        return "compared"

    def _add(self, key: str, plan: Shadowing, seen: Evidence) -> None:
        seen = replace(seen, at=self._parts.wall())
        routes = self._seen.setdefault((plan.migration, plan.window), {})
        try:
            routes[key] = routes[key] + seen if key in routes else seen
        except ValueError:  # the policy's bound has changed within the window: what was seen under the old one is void
            routes[key] = seen


async def _slowly(slices: Generator[None, None, T]) -> T:
    """What is done in slices, with a turn of the event loop for everybody else after each."""
    while True:
        try:
            next(slices)
        except StopIteration as over:
            return cast(T, over.value)
        await asyncio.sleep(0)


async def _both(one: Awaitable[Copy], other: Awaitable[Copy]) -> tuple[Copy, Copy]:
    """Both, each to its end: what breaks one does not leave the other behind."""
    first, second = await asyncio.gather(one, other, return_exceptions=True)
    if isinstance(first, BaseException):
        raise first
    if isinstance(second, BaseException):
        raise second
    return first, second


def _is_stateful(route: Route, session_id: str | None) -> bool:
    """Whether the id is of a session that lives in one copy of a model, and not only what a caller is known by."""
    if session_id is None:
        return False
    return route.sticky.by != "session" or session_id == "NEW_SESSION" or sessions.home(route, session_id) is not None


def _copy_of(call: Call, request_id: str) -> Call:
    """The call without what belongs to the client's own request: sessions, ids that a capture would find twice."""
    invocation = replace(
        call.invocation,
        request_id=request_id,
        session_id=None,
        inference_id=None,
        sdk_invocation_id=None,
        sdk_attempt=1,
        trace=None,
        headers=(),
    )
    return replace(call, invocation=invocation, trace=None)


def _side(plan: Shadowing, copy: Copy | None = None, *, cold: bool) -> Evidence:
    """What one copy says of the candidate's errors and latencies; those of a cold one would mean nothing.

    Where clients are served by the candidate as well, it is they who say it.
    """
    if not plan.alone:
        return Evidence()
    if cold or copy is None:
        return Evidence(new=Side(1, 0, 1))
    failed = copy.failure is not None
    return Evidence(new=Side(1, int(failed), 0, {bucket_of(copy.seconds): 1}, {bucket_of(copy.first): 1}))
