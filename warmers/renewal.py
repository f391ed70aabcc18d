"""PURE. Arrivals out of rates: traces that give each window's rate and the spread of its gaps, not its requests.

A window's number of requests is its rate times its length, exactly; where they stand in it is drawn from gaps of the
stated spread, stretched to fill the window. A window with more than a request a second is spread evenly: no gap that
matters to a model's warmth can occur in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from .arrivals import GRAIN


class Draws(Protocol):
    """Randomness, as `random.Random` gives it."""

    def gammavariate(self, alpha: float, beta: float) -> float:
        """A draw of a gamma distribution with this shape and scale."""

    def weibullvariate(self, alpha: float, beta: float) -> float:
        """A draw of a Weibull distribution with this scale and shape."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some time in which one client kept to one rate."""

    begin: float
    """Seconds since the start of the trace."""
    length: float
    """Seconds."""
    rate: float
    """Requests a second."""
    pattern: str
    """How gaps are spread: `Gamma` or `Weibull`."""
    shape: float
    """Shape parameter of that distribution; the scale follows from the rate."""


def arrivals_of(stretches: Iterable[Stretch], draws: Draws) -> Iterator[tuple[float, int]]:
    """(seconds since the start, requests) of these stretches. Raises ValueError for an unknown pattern."""
    for stretch in stretches:
        count = round(stretch.rate * stretch.length)
        if stretch.rate > 1.0:
            yield from _evenly(stretch, count)
        elif count:
            gaps = [_gap(stretch, draws) for _ in range(count + 1)]
            scale = stretch.length / (sum(gaps) or 1.0)
            *places, _end = accumulate(gaps)
            end = stretch.begin + stretch.length  # where rounding would put a place behind it
            yield from ((min(stretch.begin + place * scale, end), 1) for place in places)


def _evenly(stretch: Stretch, count: int) -> Iterator[tuple[float, int]]:
    slots = max(1, round(stretch.length / GRAIN))
    for slot in range(slots):
        share = count * (slot + 1) // slots - count * slot // slots
        yield stretch.begin + slot * stretch.length / slots, share


def _gap(stretch: Stretch, draws: Draws) -> float:
    match stretch.pattern:
        case "Gamma":
            return draws.gammavariate(stretch.shape, 1.0)
        case "Weibull":
            return draws.weibullvariate(1.0, stretch.shape)
        case _:
            message = f"gaps are spread by {stretch.pattern}, which is neither Gamma nor Weibull"
            raise ValueError(message)
