"""How long to wait before the same target is asked again, and how many such repeats a route may afford.

Backoff is exponential with full jitter: a uniform draw from nothing to the step, so that requests that failed together
do not come back together (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015). A wait that the target asked
for is kept, and the jitter comes on top of it.

The budget is a bucket: each request of a route puts its share into it, each repeat takes one out, and a trickle keeps a
quiet route from having none for ever (the shape of Finagle's RetryBudget). Promise: in any stretch of time the repeats
are at most `RESERVE`, plus the share of the requests, plus `TRICKLE` a second; several processes that serve one policy
divide reserve and trickle, though none has less than one repeat saved up. A request counts from when it came, which
may be before the last repeat: no time counts twice.
"""

from __future__ import annotations

from collections.abc import Callable

from .facts import FailureFacts
from .values import value

STEP = 0.1
"""Seconds; the first wait is drawn from nothing to this."""
LONGEST = 5.0
"""Seconds; no step is longer."""
RESERVE = 10.0
"""Repeats that a route can have saved up."""
TRICKLE = 0.1
"""Repeats a second that a route gains without traffic."""


def wait_before(nth: int, facts: FailureFacts, draw: Callable[[], float]) -> float:
    """Seconds before the `nth` repeat (from 1) at a target whose last answer was `facts`."""
    step = min(LONGEST, STEP * 2.0 ** min(nth - 1, 30))
    return (facts.retry_after or 0.0) + draw() * step


@value(frozen=True, slots=True)
class Budget:
    """What one route has saved up, at one moment."""

    tokens: float = RESERVE
    at: float = 0.0


def reserve(workers: int) -> float:
    """Repeats that a route can have saved up in each of so many processes."""
    return max(1.0, RESERVE / workers)


def earned(budget: Budget, share: float, now: float, workers: int = 1) -> Budget:
    """The budget after one more request of a route that may repeat `share` of them."""
    return Budget(min(reserve(workers), _grown(budget, now, workers) + share), max(now, budget.at))


def spent(budget: Budget, now: float, workers: int = 1) -> Budget | None:
    """The budget after one repeat, or None when it cannot be paid for."""
    tokens = _grown(budget, now, workers)
    return Budget(tokens - 1.0, max(now, budget.at)) if tokens >= 1.0 else None


def unspent(budget: Budget, workers: int = 1) -> Budget:
    """The budget after a repeat that was paid for and is not made."""
    return Budget(min(reserve(workers), budget.tokens + 1.0), budget.at)


def _grown(budget: Budget, now: float, workers: int) -> float:
    return min(reserve(workers), budget.tokens + TRICKLE / workers * max(0.0, now - budget.at))
