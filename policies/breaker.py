"""When a target is left alone, and when it is tried again: one breaker for each replica, as a value.

Closed, all is well: each answer and each failure is counted. `CONSECUTIVE` failures in a row, or a share of `SHARE`
over at least `ENOUGH` requests of the last `WINDOW` seconds or so, open it. Open, nothing is sent for a while that
doubles each time, drawn a quarter up or down so that processes do not come back in step. Then it is half open: one
request at a time is let through, `PROBES` answers in a row close it, a failure opens it for longer. Once closed it gets
its traffic back bit by bit over `SLOW_START` seconds.

Throttling and a cold copy are no failures: the one backs off, the other comes back by being asked. Nor is what the same
request would meet anywhere. Defaults follow the field (Envoy: five in a row; LiteLLM and vllm-router: opened for up to
a minute). Promises: `after` never changes an open breaker before its time; one that only sees answers never opens.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import replace

from .facts import FailureFacts, Fault
from .values import value

CONSECUTIVE = 5
SHARE = 0.5
ENOUGH = 10.0
WINDOW = 10.0
"""Seconds in which a counted request loses two thirds of its weight."""
FIRST_OPEN, LONGEST_OPEN = 5.0, 60.0
"""Seconds."""
PROBES = 2
SLOW_START = 10.0
"""Seconds."""
FIRST_SHARE = 0.1
"""Of its usual traffic, right after recovery."""
FORGIVEN = 300.0
"""Seconds of health after which the next opening is a first one again."""


class State(enum.IntEnum):
    """As the metric `pointsman_breaker_state` has it."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@value(frozen=True, slots=True)
class Breaker:
    """What a breaker remembers. Times are seconds on the clock that `now` is read from."""

    consecutive: int = 0
    failures: float = 0.0
    """Of the last seconds, with weights that fade."""
    requests: float = 0.0
    at: float = 0.0
    """When the two were brought up to date."""
    openings: int = 0
    until: float | None = None
    """Until when it is open, and half open from then on; None: closed."""
    passed: int = 0
    """Probes answered in a row."""
    recovered: float = -math.inf


NEW = Breaker()


def is_failure(facts: FailureFacts) -> bool | None:
    """Whether a failed attempt speaks against its target; None when it says nothing either way."""
    if facts.cold or facts.throttled or facts.retry_safe is False or facts.fault is Fault.CALLER:
        return None
    return True


def state(breaker: Breaker, now: float) -> State:
    """What the breaker is at `now`."""
    if breaker.until is None:
        return State.CLOSED
    return State.OPEN if now < breaker.until else State.HALF_OPEN


def admitted(breaker: Breaker, now: float) -> float:
    """The share of its usual traffic that the target may get, from 0 to 1; half open it is 1, for one at a time."""
    if breaker.until is not None:
        return 0.0 if now < breaker.until else 1.0
    return min(1.0, max(FIRST_SHARE, (now - breaker.recovered) / SLOW_START))


def after(breaker: Breaker, failed: bool, now: float, draw: Callable[[], float]) -> Breaker:
    """The breaker after an answer, or a failure, that came at `now`."""
    if breaker.until is None:
        return _counted(breaker, failed, now, draw)
    if now < breaker.until:
        return breaker  # sent before it opened: it has been judged already
    if failed:
        return _opened(breaker, now, draw)
    if breaker.passed + 1 < PROBES:
        return replace(breaker, passed=breaker.passed + 1)
    return Breaker(at=now, openings=breaker.openings, recovered=now)


def with_answers(breaker: Breaker, count: int) -> Breaker:
    """The breaker after so many answers that came when it was last brought up to date, or right after that."""
    return replace(breaker, requests=breaker.requests + count)


def _counted(breaker: Breaker, failed: bool, now: float, draw: Callable[[], float]) -> Breaker:
    fade = math.exp((breaker.at - now) / WINDOW) if now > breaker.at else 1.0
    counted = Breaker(  # not `replace`, which costs five times as much, on each answer
        consecutive=breaker.consecutive + 1 if failed else 0,
        failures=breaker.failures * fade + failed,
        requests=breaker.requests * fade + 1.0,
        at=now,
        openings=breaker.openings,
        until=breaker.until,
        passed=breaker.passed,
        recovered=breaker.recovered,
    )
    many = counted.requests >= ENOUGH and counted.failures >= SHARE * counted.requests
    return _opened(counted, now, draw) if failed and (many or counted.consecutive >= CONSECUTIVE) else counted


def _opened(breaker: Breaker, now: float, draw: Callable[[], float]) -> Breaker:
    openings = 0 if breaker.until is None and now - breaker.recovered > FORGIVEN else breaker.openings
    length = min(LONGEST_OPEN, FIRST_OPEN * 2.0 ** min(openings, 10))
    until = now + length * (0.75 + draw() / 2)
    return Breaker(openings=openings + 1, until=until, at=now, recovered=breaker.recovered)
