"""Whether one side does worse than the other by more than is allowed: tests that may be looked at at any time.

A gate is looked at every few seconds for weeks. A test made for one look would call a breach sooner or later; these
hold their error over all looks together, by martingales that begin at 1 and so ever reach 1/c with probability c at
most (Ville, 1939).

Shares are held against each other by the mixture sequential probability ratio test: how much more probable the
difference seen is under a normal mixture of differences than under the one that is just allowed (Robbins, "Statistical
methods related to the law of the iterated logarithm", 1970; Johari, Koomen, Pekelis and Walsh, "Always valid inference:
continuous monitoring of A/B tests", 2022). The mixture is as wide as what is allowed, since differences of that size
are to be told. The variance is the one under the allowed difference (Miettinen and Nurminen, 1985), so that a side on
which next to nothing has failed does not look more certain than it is. That the difference is normal is an
approximation: an answer takes five or six deviations, which is where few counts do not get to.

A quantile is tested by the share of requests below it (Howard and Ramdas, "Sequential estimation of quantiles", 2022):
for the true quantile, the ratio of what a Beta(1/2, 1/2) mixture of shares makes of the counts to what the true share
makes of them is a martingale, and so is the product of both sides' (Turner, Ly and Gruenwald, "Generic E-variables for
exact sequential k-sample tests", 2024). What lies inside a bucket is taken for whatever speaks against an answer.

Red: what is not allowed is proven. Green: what is not allowed is ruled out. Either is wrong with a probability of at
most c, however often one looks and with any share of traffic. Both need nothing but counts, which add up over workers.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import NamedTuple

from .evidence import LAST, upper
from .verdicts import Answer

Counts = tuple[float, float]
"""How many of how many."""

_HALF = math.lgamma(0.5) * 2 - math.lgamma(1.0)


def shares(old: Counts, new: Counts, allowed: float, chance: float) -> Answer:
    """Whether the new side's share exceeds the old side's by more than `allowed`, an absolute difference in (0, 1)."""
    if not old[1] or not new[1]:
        return Answer.NOT_YET
    seen, needed = deviations(old, new, allowed, chance)
    if abs(seen) < needed:
        return Answer.NOT_YET
    return Answer.RED if seen > 0 else Answer.GREEN


def deviations(old: Counts, new: Counts, allowed: float, chance: float) -> tuple[float, float]:
    """How many standard deviations the difference lies above what is allowed, and how many an answer takes."""
    low = _likeliest(old, new, allowed)
    high = low + allowed
    variance = low * (1 - low) / old[1] + high * (1 - high) / new[1]
    seen = (new[0] / new[1] - old[0] / old[1] - allowed) / math.sqrt(variance)
    wide = allowed * allowed / variance
    needed = math.sqrt((1 + wide) / wide * (math.log1p(wide) - 2 * math.log(chance)))
    return seen, needed


def _likeliest(old: Counts, new: Counts, difference: float) -> float:
    """The old side's share that makes the counts most probable, given the difference: where the slope is 0."""
    low, high = 0.0, 1.0 - difference
    for _ in range(60):
        middle = (low + high) / 2
        if _slope(old, middle) + _slope(new, middle + difference) > 0:
            high = middle
        else:
            low = middle
    return (low + high) / 2


def _slope(counts: Counts, p: float) -> float:
    k, n = counts
    return (n - k) / max(1.0 - p, 1e-300) - k / max(p, 1e-300)


def quantiles(old: Mapping[int, float], new: Mapping[int, float], rank: float, allowed: float, chance: float) -> Answer:
    """Whether the new side's quantile of that rank exceeds the old side's by more than `allowed`, relative.

    The mappings are counts by bucket of `evidence`.
    """
    if not any(old.values()) or not any(new.values()):
        return Answer.NOT_YET
    enough = -math.log(chance)
    mine, theirs = _places(new, rank), _places(old, rank)
    bottoms, tops = [one.bottom for one in mine], [one.top for one in mine]
    low = list(accumulate((one.surprise for one in mine), min))
    """Of the places up to each one, the least surprise that the new side's quantile lies there."""
    high = list(accumulate((one.surprise for one in reversed(mine)), min))[::-1]
    possible = forbidden = math.inf
    for one in theirs:
        # In the best case the old quantile is the top of its place and the new one the bottom of its own.
        within = bisect_left(bottoms, (1 + allowed) * one.top) - 1
        possible = min(possible, one.surprise + (low[within] if within >= 0 else math.inf))
        beyond = bisect_right(tops, (1 + allowed) * one.bottom)
        forbidden = min(forbidden, one.surprise + (high[beyond] if beyond < len(high) else math.inf))
    if possible >= enough:
        return Answer.RED
    return Answer.GREEN if forbidden >= enough else Answer.NOT_YET


def surprise(counts: Counts, p: float) -> float:
    """Logarithm of the ratio for quantiles: how much the counts speak against a share of `p`; infinite: it can't be."""
    k, n = counts
    mixture = math.lgamma(k + 0.5) + math.lgamma(n - k + 0.5) - math.lgamma(n + 1.0) - _HALF
    return mixture - _times_log(k, p) - _times_log(n - k, 1.0 - p)


def _times_log(count: float, p: float) -> float:
    if count <= 0:
        return 0.0
    return count * math.log(p) if p > 0 else -math.inf


class _Place(NamedTuple):
    """Somewhere that a quantile may lie, in seconds, and how much the counts speak against it."""

    bottom: float
    top: float
    surprise: float


def _places(counts: Mapping[int, float], rank: float) -> list[_Place]:
    """Every bucket that holds something, and every stretch between them, ascending."""
    total = sum(counts.values())
    found: list[_Place] = []
    below, following = 0.0, 0
    for bucket in sorted(bucket for bucket, held in counts.items() if held):
        bottom = upper(bucket - 1) if bucket else 0.0
        if bucket > following:
            found.append(_Place(upper(following - 1) if following else 0.0, bottom, surprise((below, total), rank)))
        # As many of the bucket's own as suits a quantile in it best: ties count on either side of it.
        inside = min(max(rank * total, below), below + counts[bucket])
        found.append(_Place(bottom, upper(bucket), surprise((inside, total), rank)))
        below, following = below + counts[bucket], bucket + 1
    if following <= LAST:
        found.append(_Place(upper(following - 1), math.inf, surprise((total, total), rank)))
    return found
