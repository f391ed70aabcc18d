"""Whether a request that waits is asked for once more elsewhere before its first target has answered, and where.

A hedge is for the odd answer that is slow for no reason of the request's: the second place is another one, well, warm
and with room, else there is none; a target that is slow since it has too much to do is not helped by more work.

The budget is a purse that each request of a route puts its share into and each hedge takes one out of. It starts empty
and nothing else fills it, so that hedges are at no moment more than that share of the requests, in each process and so
over all of them.

How long is long may be a percentile of what the same target took for the same route of late, so that nobody has to keep
a time true. Of an attempt that was cancelled nobody knows how long it would have taken, only that it was slow; so, once
the first answers have shown where to begin, nothing else is looked at: what is slow raises the time, and what is not
lowers it, by so much less that they balance where the percentile is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .choose import Attempt, Plan
from .facts import FailureFacts, Fault
from .standing import IDLE, Views
from .table import HedgeRule, Target

MOST = 10.0
"""Hedges that a route can have saved up: a target that stalls for a moment may cost so many at once."""

BEYOND = 5
"""Answers above a percentile that have to be known before it is believed: the 95th takes 100 answers, the 99th 500."""
GAIN = 0.05
"""Share by which a slow answer raises a high percentile: one that is ten times too low is right after 50 of them."""
FORGOTTEN = 600.0
"""Seconds without an answer after which what is known is old."""
LEAST = 0.001
"""Seconds; a time that is multiplied can't leave nothing."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known of how long a target takes."""

    percentile: int
    first: tuple[float, ...] = ()
    """Seconds of the first answers, as long as they are too few."""
    usual: float | None = None
    """The percentile in seconds, once it is known."""
    at: float = 0.0
    """When that was last heard of."""


def enough(percentile: int) -> int:
    """How many answers have to be known before `percentile` of them is believed."""
    return -(-100 * BEYOND // (100 - percentile))


def patience(rule: HedgeRule, pace: Pace | None, now: float) -> float:
    """Seconds without an answer after which a second place is asked."""
    if pace is None or pace.usual is None or pace.percentile != rule.percentile or now - pace.at > FORGOTTEN:
        return rule.after
    return max(rule.floor, pace.usual)


def paced(pace: Pace | None, percentile: int, seconds: float, now: float) -> Pace:
    """What is known after one more answer. It took `seconds`, or was cancelled then, after `patience` or later."""
    if pace is None or pace.percentile != percentile or now - pace.at > FORGOTTEN:
        pace = Pace(percentile)
    if pace.usual is not None:
        change = percentile if seconds >= pace.usual else percentile - 100
        return Pace(percentile, usual=max(LEAST, pace.usual * (1 + GAIN * change / 100)), at=now)
    first = (*pace.first, seconds)
    if len(first) < enough(percentile):
        return Pace(percentile, first, at=now)
    return Pace(percentile, usual=max(LEAST, sorted(first)[len(first) * percentile // 100]), at=now)


def saved(purse: float, share: float) -> float:
    """The purse after one more request of a route that may hedge `share` of them."""
    return min(MOST, purse + share)


def paid(purse: float) -> float | None:
    """The purse after one hedge, or None when it cannot be paid for."""
    return purse - 1.0 if purse >= 1.0 else None


def unpaid(purse: float) -> float:
    """The purse after a hedge that was paid for and is not made."""
    return min(MOST, purse + 1.0)


def second(plan: Plan, views: Views, fit: Callable[[Target], bool]) -> Attempt | None:
    """Where the plan's first attempt may be overtaken, or None. `fit` says of a target that it is warm and has room.

    The place is one of the plan's own, so that it lies inside the route's boundary. A request that the client's SDK
    repeats by itself, or that we have repeated, has been sent twice already.
    """
    if plan.made or plan.client_retries or not plan.idempotent or not plan.attempts or not fit(plan.attempts[0].target):
        return None
    for attempt in plan.attempts[1:]:
        seen = views.get(attempt.target.name, ())
        view = seen[attempt.replica] if attempt.replica < len(seen) else IDLE
        if attempt != plan.attempts[0] and not view.cold and view.health >= 1.0 and fit(attempt.target):
            return attempt
    return None


def without(plan: Plan, other: Attempt) -> Plan:
    """The plan whose first attempt is still out, `other` having been made beside it."""
    left = tuple(attempt for attempt in plan.attempts[1:] if attempt != other)
    return replace(plan, attempts=(plan.attempts[0], *left), made=plan.made + 1)


def settles(facts: FailureFacts) -> bool:
    """Whether a failure of the first attempt is the answer, whatever the second one would say."""
    return facts.fault is Fault.CALLER or facts.retry_safe is False
