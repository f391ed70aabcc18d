"""Whether a request that waits is asked for once more elsewhere before its first target has answered, and where.

A hedge is for the odd answer that is slow for no reason of the request's: the second place is another one, well, warm
and with room, else there is none; a target that is slow since it has too much to do is not helped by more work.

The budget is a purse that each request of a route puts its share into and each hedge takes one out of. It starts empty
and nothing else fills it, so that hedges are at no moment more than that share of the requests, in each process and so
over all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from .choose import Attempt, Plan
from .facts import FailureFacts, Fault
from .standing import IDLE, Views
from .table import Target

MOST = 10.0
"""Hedges that a route can have saved up: a target that stalls for a moment may cost so many at once."""


def saved(purse: float, share: float) -> float:
    """The purse after one more request of a route that may hedge `share` of them."""
    return min(MOST, purse + share)


def paid(purse: float) -> float | None:
    """The purse after one hedge, or None when it cannot be paid for."""
    return purse - 1.0 if purse >= 1.0 else None


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
