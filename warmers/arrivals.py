"""When requests arrived, as far as keeping a model warm depends on it.

Requests within `GRAIN` seconds of each other are one entry with a count: nothing that is decided here (idle limits of
minutes, billing windows of five, restores of one to five minutes) sees the difference, and a busy fortnight shrinks
from millions of requests to at most 241,920 entries.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

GRAIN = 5.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The requests of one model over `span` seconds."""

    span: float
    """Seconds that the trace covers, its quiet ends included; positive."""
    times: array[float]
    """Seconds since the start of the trace, ascending, each in [0, span)."""
    counts: array[int]
    """Requests at each of `times`."""
    start: float | None = None
    """Seconds since 1970 at which the trace starts; None when it does not say."""

    @property
    def requests(self) -> int:
        """How many there are in all."""
        return sum(self.counts)

    @property
    def busiest_minute(self) -> int:
        """Requests in the busiest of the trace's minutes, counted from its start."""
        minutes: dict[int, int] = {}
        for time, count in self:
            minutes[int(time // 60)] = minutes.get(int(time // 60), 0) + count
        return max(minutes.values(), default=0)

    def __iter__(self) -> Iterator[tuple[float, int]]:
        return iter(zip(self.times, self.counts, strict=True))


@dataclass(frozen=True, slots=True)
class Runs:
    """The same, in runs of requests that follow each other without a pause."""

    arrivals: Arrivals
    bounds: tuple[tuple[int, int], ...]
    """Of each run, where in `times` it begins, and where the next would."""
    upto: array[int]
    """How many requests came before each of `times`, and in all."""


def in_runs(arrivals: Arrivals, reach: float) -> Runs:
    """Runs in which less than `reach` seconds lie between one request and the next."""
    times = arrivals.times
    starts = [0] if times else []
    starts += [after for after, (one, two) in enumerate(pairwise(times), 1) if two - one >= reach]
    bounds = tuple(zip(starts, (*starts[1:], len(times)), strict=True)) if starts else ()
    return Runs(arrivals, bounds, array("q", accumulate(arrivals.counts, initial=0)))


def gather(moments: Iterable[tuple[float, int]], span: float, start: float | None = None) -> Arrivals:
    """Arrivals out of (seconds since the start, requests) in any order; what lies outside [0, span) is left out.

    Raises ValueError when `span` is not positive.
    """
    if not span > 0:
        message = f"a trace of {span:g} seconds says nothing; it must cover some time"
        raise ValueError(message)
    times, counts = array("d"), array("q")
    for moment, count in sorted(moments):
        if not 0 <= moment < span or count <= 0:
            continue
        if times and moment - times[-1] < GRAIN:
            counts[-1] += count
        else:
            times.append(moment)
            counts.append(count)
    return Arrivals(span, times, counts, start)


def repeated(arrivals: Arrivals, least: float) -> Arrivals:
    """The trace as often in a row as covers `least` seconds; itself when it is long enough."""
    times = -(-least // arrivals.span)
    if times <= 1:
        return arrivals
    moments = ((moment + turn * arrivals.span, count) for turn in range(int(times)) for moment, count in arrivals)
    return gather(moments, arrivals.span * times, arrivals.start)
