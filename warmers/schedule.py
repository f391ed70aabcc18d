"""PURE. Which targets are due for a warm-up, and when the next one will be.

A warm-up is due when its target has not been used for its interval, whoever used it: real traffic within the interval
suppresses it. Jitter makes it earlier by up to its share and never later, so that an interval below the idle limit
stays below it. Outside its hours a target is left alone; when they begin it is due at once, unless it was used just
before.

Two clocks: `now` counts seconds steadily and measures gaps; `wall` is seconds since 1970 and is read by calendars only.
Nothing here counts copies: `Warmup.copies` is how many warm-ups the caller sends at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf

from policies.calendar import Calendar, open_spans
from policies.table import Warmup

DAY = 86_400.0
HORIZON = 8 * DAY
"""Seconds that are searched for the next opening: a calendar of weekly hours opens within them, if ever."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One target's warm-ups."""

    warmup: Warmup
    used: float | None = None
    """When the target was last used, on the steady clock; None: never, as far as is known."""
    drawn: float = 0.0
    """The draw, in [0, 1), that decides how early the next warm-up is."""
    not_before: float = -inf
    """No warm-up before that, on the steady clock: the last one has failed a moment ago."""

    @property
    def interval(self) -> float:
        """Seconds without use after which the next warm-up is due."""
        return self.warmup.every * (1.0 - self.warmup.jitter * self.drawn)


@dataclass(frozen=True, slots=True)
class Ping:
    """A warm-up that is due."""

    warmup: Warmup
    gap: float | None
    """Seconds since the last use; None: no use is known."""
    drawn: float
    """The draw for the one after it."""


def due(entries: Iterable[Entry], now: float, wall: float, draw: Callable[[], float]) -> tuple[tuple[Ping, ...], float]:
    """The warm-ups that are due, and the moment (on the steady clock) at which another will be.

    The moment leaves out those that are due now, and is infinite when nothing else will be within eight days.
    """
    pings: list[Ping] = []
    wake = inf
    for entry in entries:
        moment = max(now, entry.not_before, -inf if entry.used is None else entry.used + entry.interval)
        moment = now + _opening(entry.warmup.hours, wall, wall + moment - now)
        if moment > now:
            wake = min(wake, moment)
            continue
        gap = None if entry.used is None else now - entry.used
        pings.append(Ping(entry.warmup, gap, draw()))
    return tuple(pings), wake


def _opening(hours: Calendar | None, wall: float, wanted: float) -> float:
    """Seconds from `wall` to the first open moment at or after `wanted`; infinite when there is none."""
    if hours is None:
        return wanted - wall
    for ahead in (DAY, HORIZON):  # mostly it is today, and every target is asked at each look
        spans = open_spans(hours, wanted, wanted + ahead)
        if spans:
            return spans[0][0] - wall
    return inf
