"""One request at two targets, where its route hedges and the first one is slow: the first answer wins.

The second one is asked once the first has been silent for `hedge.after` (a time, or a percentile of what it took of
late), if `policies.hedging` names a place that is well, warm and has room, and if the budget and the owner's quota can
pay for it. Whoever is beaten is cancelled, which frees its connection and its place at its target, before the answer
goes on. A failure of the second place is nobody's answer: the first one's is waited for, and what follows its failure
is for the retries, with one attempt less.

Streams are never hedged, nor what belongs to a session or opens one, nor requests of a route that is migrating.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace

from backends.base import Call, Reply
from backends.errors import BackendError, let_go
from backends.gates import Refused
from backends.patience import waited
from backends.tasks import start
from policies import hedging
from policies.choose import Attempt, Plan
from policies.table import HedgeRule, Route, Target

from .charging import charge
from .record import Record
from .refusals import noted
from .services import Services

Try = Callable[[Plan, Record], Coroutine[object, object, Reply]]
"""Asks the plan's next target and writes that into the record."""


@dataclass(frozen=True, slots=True)
class _Run:
    attempt: Attempt
    record: Record
    """Of this attempt alone, so that two at a time can be put in order."""
    task: asyncio.Task[Reply]

    def settled(self, *, first: bool) -> bool:
        """Whether what became of it ends the race. A failure that is no BackendError is a bug, and does."""
        if not self.task.done():
            return False
        error = None if self.task.cancelled() else self.task.exception()
        return not isinstance(error, BackendError) or (first and hedging.settles(error.facts))


def possible(route: Route, call: Call) -> bool:
    """Whether a request of a route that hedges is one that may be sent to two targets."""
    return not call.streaming and call.invocation.session_id is None and route.shift is None


class Race:
    """One request, and a second attempt at it if the first one takes its time."""

    __slots__ = ("_late", "_over", "_patience", "_record", "_route", "_rule", "_services", "_try", "plan")

    def __init__(
        self,
        route: Route,
        rule: HedgeRule,
        plan: Plan,
        attempt: Try,
        over: Callable[[Attempt], None],
        record: Record,
        services: Services,
    ) -> None:
        """`over` frees the place of an attempt whose answer nobody wants."""
        self.plan = plan
        """What is left to try should all fail: one less where a second place has been asked."""
        self._route = route
        self._rule = rule
        self._try = attempt
        self._over = over
        self._record = record
        self._services = services
        self._patience = rule.after
        """Seconds of silence after which another place is asked."""
        self._late = False
        """They have passed."""

    async def answer(self) -> tuple[Attempt, Reply]:
        """The first answer, and whose it is; the other attempt is over. Raises BackendError: the first place's."""
        book, began = self._services.book, self._services.now()
        book.hedgeable(self._route, self._rule)
        if self._rule.percentile is not None:
            self._patience = book.patience(self._route, self._rule, self.plan.attempts[0].target, began)
        runs = [self._run(self.plan, "first")]
        winner: _Run | None = None
        try:
            self._late = not await waited(runs[0].task, self._patience)
            other = self._second() if self._late else None
            if other is not None:
                made = len(self._record.attempts) + 1
                runs.append(self._run(replace(self.plan, attempts=(other,), made=made), "second"))
                self.plan = hedging.without(self.plan, other)
            winner = await _winner(runs)
            return winner.attempt, winner.task.result()
        finally:
            await self._settle(runs, winner, began)
            runs.clear()  # an error that is raised here has this frame, which must not have the error
            winner = None

    def _run(self, plan: Plan, which: str) -> _Run:
        own = self._record.beside()
        return _Run(plan.attempts[0], own, start(self._try(plan, own), name=f"hedge {which}"))

    def _second(self) -> Attempt | None:
        """Where to ask as well, paid for; None: nowhere, which is counted."""
        route, services, now = self._route, self._services, self._services.now()

        def fit(target: Target) -> bool:
            return services.temperatures.calm(target, now) and services.gates.spacious(target)

        other = hedging.second(self.plan, services.book.views(route.targets, now), fit)
        if other is None:
            services.meters.hedge(route.key, "nowhere")
            return None
        if not services.book.afford_hedge(route):
            services.meters.hedge(route.key, "budget")
            return None
        try:
            if route.quota is not None:
                services.gates.admit_owner(route.quota, now)
        except Refused:
            services.book.unspent_hedge(route)
            services.meters.hedge(route.key, "quota")
            return None
        first = self.plan.attempts[0].target.name
        self._record.why = f"{self.plan.why}; silent for {self._patience:.3g} s, so {other.target.name} as well"
        if other.target.name == first:
            self._record.why += f" at replica {other.replica}"
        return other

    async def _settle(self, runs: list[_Run], winner: _Run | None, began: float) -> None:
        """End what still runs and write down both attempts, the one that counts as the last."""
        beaten = [run for run in runs if run is not winner]
        for run in beaten:
            run.task.cancel()
        if beaten:
            await asyncio.wait({run.task for run in beaten})
        record, before = self._record, len(self._record.attempts)
        for run in beaten:
            made = run.record.attempts[before:]
            if run.task.cancelled():
                told = "given up: another attempt answered first" if winner is not None else "given up: nobody waits"
                made = [replace(one, failure=told, given_up=True) for one in made]
            else:
                await self._unwanted(run)
            record.attempts.extend(made)
        if winner is not None:
            record.attempts.extend(winner.record.attempts[before:])
        together = self._services.now() - began
        if len(runs) == 1:
            record.backend_seconds += runs[0].record.backend_seconds
            record.queue_seconds += runs[0].record.queue_seconds
        else:
            record.backend_seconds += together
        if len(runs) == 2:
            self._count(runs, winner)
        if self._rule.percentile is not None:
            self._learn(self._rule.percentile, runs[0], together)

    def _learn(self, percentile: int, first: _Run, took: float) -> None:
        """How long the first place took, or took at least. What ended sooner without an answer says nothing of that."""
        answered = not first.task.cancelled() and first.task.exception() is None
        if answered or self._late:
            seconds = max(took, self._patience) if self._late else took  # a loop's timers may be early by a little
            book, target = self._services.book, first.attempt.target
            book.took(self._route, percentile, target, seconds, self._services.now())

    async def _unwanted(self, run: _Run) -> None:
        """It has failed, which may say when to come again; or both have answered in the same moment."""
        error = run.task.exception()
        if isinstance(error, BackendError):
            let_go(error)
            self._record.refused = noted(self._record.refused, error)
        if error is not None:
            return
        self._over(run.attempt)
        stream = run.task.result().stream
        if stream is not None:
            await stream.aclose()

    def _count(self, runs: list[_Run], winner: _Run | None) -> None:
        route, services = self._route, self._services
        if winner is None:
            services.meters.hedge(route.key, "given_up")
            return
        if winner.task.exception() is not None:
            services.meters.hedge(route.key, "failed")
            return
        services.meters.hedge(route.key, "won" if winner is runs[1] else "lost")
        # What the other one has used nobody has counted: it is taken to be as much.
        charge(route, winner.task.result(), self._record, services)


async def _winner(runs: list[_Run]) -> _Run:
    """The first attempt to answer, or the first place's where none does."""
    pending = {run.task for run in runs}
    while pending:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for run in runs:
            if run.settled(first=run is runs[0]):
                return run
    return runs[0]
