"""PURE. Replays one copy of an imported model over a trace: when it is loaded, who meets it cold, what is billed.

The rules, with where they come from:
- A copy stays loaded while it is used at least every `idle_limit` seconds; AWS's pages say 5 minutes and "normally one
  hour", the 14 minutes between Salesforce's pings imply 15. It is the caller's to say which.
- A request or ping that meets it cold wakes it; `restore` seconds later it is loaded, and the one restore probe of that
  target is its first successful call. Everything that arrives until then meets it cold as well.
- Billing counts windows of five minutes from the first successful call of a copy on, side by side as long as it stays
  loaded, and a window with at least one call is paid whole (Bedrock user guide, "Calculate the cost of running a custom
  model"). A copy that was evicted starts a new row of windows. Calls that fail open none.
- A ping is due `interval` seconds after the last use, whoever used it: real traffic suppresses pings.

Requests that follow each other closer than all of these times are one run (`arrivals.Runs`): once it is loaded, nothing
but windows comes of them, so that a busy fortnight costs as many steps as it has pauses.

The trace is taken to repeat itself, so that its first request is not cold just for being first: the end of it is played
once ahead, uncounted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from math import ceil, inf

from .arrivals import Arrivals, Runs, in_runs

WINDOW = 300.0
"""Seconds of a billing window."""

Span = tuple[float, float]
"""Start and end in seconds since the start of the trace; the end is not part of it."""


@dataclass(frozen=True, slots=True)
class Warming:
    """Pings that keep a copy loaded."""

    interval: float
    """Seconds without use after which a ping is due; positive."""
    open: tuple[Span, ...] | None = None
    """When the warmer is on duty, ascending and apart from each other; None: always."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a copy went through over one trace."""

    windows: int
    """Billing windows opened."""
    requests: int
    cold: int
    """Requests that met it cold: the one that woke it, and those that came before it was ready."""
    pings: int
    cold_pings: int

    @property
    def cold_share(self) -> float:
        """Share of requests that met it cold; 0 where there were none."""
        return self.cold / self.requests if self.requests else 0.0


@dataclass(slots=True)
class _Copy:
    """A copy as it lives through the trace; times below 0 are the part that is played ahead and not counted."""

    idle_limit: float
    restore: float
    end: float
    """Where the trace is over; what is opened then has its like at the start."""
    last_use: float = -inf
    ready_at: float = -inf
    row: float | None = None
    """Where its row of windows starts."""
    paid_until: float = -inf
    windows: int = 0
    cold: int = 0
    pings: int = 0
    cold_pings: int = 0

    def meets_cold(self, now: float) -> bool:
        """Whether a call at `now` finds it not loaded; if so it is on its way up afterwards."""
        if now < self.ready_at:
            return True
        if now - self.last_use < self.idle_limit:
            self._use(now)
            return False
        self.ready_at = now + self.restore
        if self.ready_at >= self.paid_until:
            self.row = None
        self._use(self.ready_at)
        return True

    def stays(self, first: float, last: float) -> None:
        """It is used from `first` on until `last`, without a pause as long as a window."""
        self._use(first)
        self.last_use = last
        if self.row is None or last < self.paid_until:
            return
        paid, needed = round((self.paid_until - self.row) / WINDOW), int((last - self.row) // WINDOW) + 1
        if needed > paid:
            self.paid_until = self.row + needed * WINDOW
            self.windows += (needed - paid) * (first >= 0)

    def _use(self, now: float) -> None:
        self.last_use = now
        if now < self.paid_until:
            return
        if self.row is None:
            self.row = start = now
        else:
            # max: a rounded quotient must not charge one window twice
            start = max(self.paid_until, self.row + (now - self.row) // WINDOW * WINDOW)
        self.paid_until = start + WINDOW
        self.windows += 0 <= now < self.end  # by the call that opens it: what the end cuts off, the start has


@dataclass(slots=True)
class _Pings:
    """When the next ping is due."""

    interval: float
    spans: Sequence[Span]
    at: int = field(default=0)

    def due(self, last_use: float) -> float:
        """The next moment on duty at which the copy has been unused for the interval; infinite when there is none."""
        wanted = last_use + self.interval
        while self.at < len(self.spans) and self.spans[self.at][1] <= wanted:
            self.at += 1
        return max(wanted, self.spans[self.at][0]) if self.at < len(self.spans) else inf


def replay(arrivals: Arrivals, warming: Warming | None, idle_limit: float, restore: float) -> Tally:
    """What one copy goes through over the trace, with these pings or with none.

    Raises ValueError when the interval or the idle limit is not positive, or the restore time negative.
    """
    return play(in_runs(arrivals, reach(warming, idle_limit)), warming, idle_limit, restore)


def reach(warming: Warming | None, idle_limit: float) -> float:
    """Requests less than so many seconds apart keep a copy loaded and paid, and leave no room for a ping."""
    return min(idle_limit, WINDOW, inf if warming is None else warming.interval)


def play(runs: Runs, warming: Warming | None, idle_limit: float, restore: float) -> Tally:
    """The same of a trace in runs, of a `reach` that is no longer than this one's; several ways can share them."""
    if idle_limit <= 0 or restore < 0 or (warming is not None and warming.interval <= 0):
        message = "an idle limit and an interval must be positive, and a restore time not negative"
        raise ValueError(message)
    span = runs.arrivals.span
    ahead = 2 * (idle_limit + restore) + (warming.interval if warming else 0.0)
    rounds = ceil(ahead / span)
    copy = _Copy(idle_limit, restore, span)
    pings = _Pings(warming.interval, _spans(warming, span, rounds, ahead)) if warming else None
    for begin, end, shift in _moments(runs, rounds, ahead):
        if pings is not None:
            _ping(copy, pings, runs.arrivals.times[begin] + shift)
        _run(copy, runs, begin, end, shift)
    if pings is not None:
        _ping(copy, pings, span)
    return Tally(copy.windows, runs.arrivals.requests, copy.cold, copy.pings, copy.cold_pings)


def _run(copy: _Copy, runs: Runs, begin: int, end: int, shift: float) -> None:
    """One run of requests: the first may meet it cold, and so do all until it is ready; the others keep it loaded."""
    times = runs.arrivals.times
    warm = begin
    if copy.meets_cold(times[begin] + shift):
        warm = max(begin + 1, bisect_left(times, copy.ready_at - shift, begin, end))
        if shift == 0:
            copy.cold += runs.upto[warm] - runs.upto[begin]
    if warm < end:
        copy.stays(times[warm] + shift, times[end - 1] + shift)


def _ping(copy: _Copy, pings: _Pings, until: float) -> None:
    for now in takewhile(lambda due: due < until, _dues(copy, pings)):
        cold = copy.meets_cold(now)
        copy.pings += now >= 0
        copy.cold_pings += cold and now >= 0


def _dues(copy: _Copy, pings: _Pings) -> Iterator[float]:
    while True:
        yield pings.due(copy.last_use)


def _moments(runs: Runs, rounds: int, ahead: float) -> Iterator[tuple[int, int, float]]:
    """Runs, and by how much their times are shifted: what is played ahead, then the trace."""
    times, span = runs.arrivals.times, runs.arrivals.span
    for turn in range(-rounds, 0):
        first = bisect_left(times, -ahead - turn * span)
        yield from ((max(begin, first), end, turn * span) for begin, end in runs.bounds if end > first)
    yield from ((begin, end, 0.0) for begin, end in runs.bounds)


def _spans(warming: Warming, span: float, rounds: int, ahead: float) -> list[Span]:
    if warming.open is None:
        return [(-ahead, span)]
    return [
        (max(start + turn * span, -ahead), end + turn * span)
        for turn in range(-rounds, 1)
        for start, end in warming.open
        if start < end and end + turn * span > -ahead
    ]
