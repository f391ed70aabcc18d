"""What is known right now: of every target what is in flight, whether it was cold and its breaker; of every route its
budget of repeats.

One entry per replica and one per route, found by name, never scanned. `begin` and `end` write, `views` reads; `choose`
decides from the views and never sees the book.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b

from policies.breaker import (
    CONSECUTIVE,
    NEW,
    SLOW_START,
    Breaker,
    State,
    admitted,
    after,
    is_failure,
    state,
    with_answers,
)
from policies.facts import FailureFacts, TargetView
from policies.hedging import Pace, paced, paid, patience, saved, unpaid
from policies.retries import Budget, earned, reserve, spent, unspent
from policies.table import HedgeRule, Route, Target, VllmSpec

AT_ONCE = 0.1
"""Seconds whose answers are counted together, where nothing has failed: they lose a hundredth of their weight in it."""
MOST_COPIES = 16
"""As many copies of a target as a warmer keeps, at most: uses are told apart up to so many at a time."""


def places(target: Target) -> tuple[object, ...]:
    """What each replica of a target is. One that differs from what it was is somewhere else, or asked as somebody else:
    nothing is known of it."""
    spec = target.spec
    if isinstance(spec, VllmSpec):
        return tuple((url, spec.model, spec.adapter) for url in spec.urls)
    return ((target.region, spec),)


def named_place(target: Target) -> str:
    """The target's name, and in a few letters where it is: the same in all processes that have it there."""
    return f"{target.name}@{blake2b(repr(places(target)).encode(), digest_size=8).hexdigest()}"


class Replica:
    """What is known of one copy of a target. `begin` and `end` come in pairs."""

    __slots__ = ("_draw", "answers", "breaker", "cold", "in_flight", "probing", "refused", "used")

    def __init__(self, draw: Callable[[], float]) -> None:
        """`draw`: see `Book`."""
        self._draw = draw
        self.in_flight = 0
        self.cold = False
        self.breaker = NEW
        self.probing = False
        self.refused = 0
        """Requests in a row that it turned away, in a manner that does not speak against it."""
        self.answers = 0
        """Answers that the breaker has not been told of: it hears of those of a moment together."""
        self.used: list[float | None] = [None] * (MOST_COPIES + 1)

    def begin(self) -> None:
        """A request is about to be sent."""
        self.in_flight += 1
        if self.breaker.until is not None:
            self.probing = True

    def answered(self, now: float) -> None:
        """It has answered, or begun to: it is well."""
        breaker = self.breaker
        if breaker.until is None and not breaker.consecutive and now - breaker.at < AT_ONCE:
            self.answers += 1
        else:
            self.breaker = after(self.counted(), False, now, self._draw)
        self.probing = False
        self.refused = 0
        together = self.in_flight
        self.used[together if 0 < together < MOST_COPIES else min(max(together, 1), MOST_COPIES)] = now

    def end(self, failure: FailureFacts | None = None, now: float = 0.0, began: float = math.inf) -> None:
        """The request that `begin` announced is over: its answer ended, was given up, or failed with `failure`.

        One that `began` before the breaker opened is no probe: it has been judged with those that opened it.
        """
        self.in_flight -= 1
        self.cold = failure is not None and failure.cold
        if failure is not None and is_failure(failure) is None:
            self.refused += 1
        if self.breaker.until is not None and began < self.breaker.at:
            return
        self.probing = False
        if failure is not None and is_failure(failure):
            self.breaker = after(self.counted(), True, now, self._draw)

    def moved(self) -> None:
        """It is another copy from now on. What is in flight is so all the same."""
        self.breaker, self.probing, self.answers, self.cold, self.refused = NEW, False, 0, False, 0
        self.used = [None] * (MOST_COPIES + 1)

    def counted(self) -> Breaker:
        """The breaker with all answers so far."""
        count, self.answers = self.answers, 0
        return with_answers(self.breaker, count) if count else self.breaker

    def view(self, now: float) -> TargetView:
        breaker = self.breaker
        if breaker.until is None and now - breaker.recovered >= SLOW_START:
            return TargetView(self.in_flight, self.cold, refuses=self.refused >= CONSECUTIVE)
        health = 0.0 if self.probing else admitted(breaker, now)
        return TargetView(self.in_flight, self.cold, health, breaker.until or 0.0, self.refused >= CONSECUTIVE)


class Book:
    """Live state of all targets of one process."""

    def __init__(self, draw: Callable[[], float] = lambda: 0.5, workers: int = 1) -> None:
        """`draw` keeps the breakers of several processes out of step; `workers` processes divide budgets of repeats."""
        self._draw = draw
        self._workers = workers
        self._reserve = reserve(workers)
        self._replicas: dict[str, list[Replica]] = {}
        self._budgets: dict[str, Budget] = {}
        self._purses: dict[str, float] = {}
        self._paces: dict[tuple[str, str], Pace] = {}
        self._places: dict[str, tuple[object, ...]] = {}

    def of(self, target: Target, replica: int) -> Replica:
        """What is known of a copy of `target`; as long as a request is under way there, whoever asks gets the same."""
        entries = self._replicas.get(target.name)
        return self._of(target)[replica] if entries is None or replica >= len(entries) else entries[replica]

    def begin(self, target: Target, replica: int) -> None:
        """A request is about to be sent."""
        self.of(target, replica).begin()

    def answered(self, target: Target, replica: int, now: float) -> None:
        """The target has answered, or begun to: it is well."""
        self.of(target, replica).answered(now)

    def end(
        self, target: Target, replica: int, failure: FailureFacts | None, now: float = 0.0, began: float = math.inf
    ) -> None:
        """The request that `begin` announced is over: its answer ended, was given up, or failed with `failure`.

        A failure of a place that the target had under an older policy says nothing of where it is now.
        """
        if failure is not None and (now_at := self._places.get(target.name)) is not None:
            was_at = places(target)
            if replica >= len(now_at) or was_at[replica] != now_at[replica]:
                failure = None
        self.of(target, replica).end(failure, now, began)

    def views(self, targets: Iterable[Target], now: float = 0.0) -> dict[str, tuple[TargetView, ...]]:
        """One view per replica of each target, by the target's name."""
        return {target.name: tuple(entry.view(now) for entry in self._of(target)) for target in targets}

    def last_used(self, target: Target, together: int = 1) -> float | None:
        """When every replica of `target` had answered with at least `together` requests in flight; None: not yet.

        `together`, at most `MOST_COPIES`, is for copies that cannot be addressed: one request uses one of them.
        """
        found: list[float] = []
        for entry in self._of(target):
            used = [moment for moment in entry.used[together:] if moment is not None]
            if not used:
                return None
            found.append(max(used))
        return min(found)

    def shunned(self, target: Target, replica: int) -> bool:
        """Whether this copy of `target` turns everybody away while another does not, and so is seldom asked: what it
        says then is no word of the target."""
        entries = self._of(target)
        refusing = [entry.refused >= CONSECUTIVE for entry in entries]
        return replica < len(refusing) and refusing[replica] and not all(refusing)

    def breakers(self, now: float) -> Iterator[tuple[str, int, State]]:
        """Every replica that has been asked: its target's name, its index, and what its breaker is."""
        for name, entries in self._replicas.items():
            for index, entry in enumerate(entries):
                yield name, index, state(entry.breaker, now)

    def reset(self, name: str) -> bool:
        """Close the breakers of a target, as if it had never failed; False when nothing is known of it."""
        entries = self._replicas.get(name, [])
        for entry in entries:
            entry.breaker, entry.probing, entry.answers = NEW, False, 0
        return bool(entries)

    def arrived(self, route: Route, now: float) -> None:
        """A request of `route` has come: its share is put into the route's budget of repeats."""
        budget = self._budgets.get(route.key)
        if budget is not None and budget.tokens >= self._reserve:
            return  # it holds no more, and time only adds to it
        self._budgets[route.key] = earned(budget or Budget(at=now), route.retry.budget, now, self._workers)

    def afford(self, route: Route, now: float) -> bool:
        """Take one repeat out of the route's budget; False when there is none left."""
        left = spent(self._budgets.get(route.key, Budget(at=now)), now, self._workers)
        if left is None:
            return False
        self._budgets[route.key] = left
        return True

    def unspent(self, route: Route) -> None:
        """A repeat that was paid for is not made, since its client has gone: others may make it."""
        budget = self._budgets.get(route.key)
        if budget is not None:
            self._budgets[route.key] = unspent(budget, self._workers)

    def hedgeable(self, route: Route, rule: HedgeRule) -> None:
        """A request of `route` has come that may be hedged: its share is put into the route's purse."""
        self._purses[route.key] = saved(self._purses.get(route.key, 0.0), rule.budget)

    def afford_hedge(self, route: Route) -> bool:
        """Take one hedge out of the route's purse; False when there is none in it."""
        left = paid(self._purses.get(route.key, 0.0))
        if left is None:
            return False
        self._purses[route.key] = left
        return True

    def unspent_hedge(self, route: Route) -> None:
        """A hedge that was paid for is not made, since the owner's quota refuses it: another request may make it."""
        self._purses[route.key] = unpaid(self._purses.get(route.key, 0.0))

    def patience(self, route: Route, rule: HedgeRule, target: Target, now: float) -> float:
        """Seconds without an answer of `target` after which a request of `route` goes to a second place as well."""
        return patience(rule, self._paces.get((route.key, target.name)), now)

    def took(self, route: Route, percentile: int, target: Target, seconds: float, now: float) -> None:
        """A request of `route`, that hedges by `percentile`, was answered by `target`, or was slow and given up."""
        key = (route.key, target.name)
        self._paces[key] = paced(self._paces.get(key), percentile, seconds, now)

    def keep(self, targets: Iterable[Target], routes: Iterable[str] = ()) -> None:
        """Forget targets that no policy names any more and that nothing is in flight to, and routes that are gone; and
        what was learnt of those that are somewhere else now."""
        kept, served = {target.name: places(target) for target in targets}, set(routes)
        for name, before in self._places.items():
            self._move(name, before, kept.get(name, before))
        self._places = kept
        self._budgets = {key: budget for key, budget in self._budgets.items() if key in served}
        self._purses = {key: purse for key, purse in self._purses.items() if key in served}
        self._paces = {key: pace for key, pace in self._paces.items() if key[0] in served and key[1] in kept}
        for name in [name for name in self._replicas if name not in kept]:
            if all(entry.in_flight == 0 for entry in self._replicas[name]):
                del self._replicas[name]

    def _move(self, name: str, before: tuple[object, ...], now: tuple[object, ...]) -> None:
        if before == now:
            return
        for index, entry in enumerate(self._replicas.get(name, ())):
            if before[index : index + 1] != now[index : index + 1]:
                entry.moved()
        self._paces = {key: pace for key, pace in self._paces.items() if key[1] != name}

    def _of(self, target: Target) -> list[Replica]:
        entries = self._replicas.get(target.name)
        wanted = target.replicas
        if entries is None:
            entries = self._replicas[target.name] = [Replica(self._draw) for _ in range(wanted)]
        elif len(entries) < wanted:
            entries.extend(Replica(self._draw) for _ in range(wanted - len(entries)))
        return entries[:wanted] if len(entries) > wanted else entries
