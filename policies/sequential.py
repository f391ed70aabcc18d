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
approximation, and not a safe one for red where few fail: failures come in larger clumps than a normal number does. So
few counts are red by the exact ratio of counts below alone, and many by either test, each with half of the chance. The
exact one is also the quicker by far where everything fails: five requests instead of hundreds.

A quantile is tested by the share of requests below it (Howard and Ramdas, "Sequential estimation of quantiles", 2022):
for the true quantile, the ratio of what a Beta(1/2, 1/2) mixture of shares makes of the counts to what the true share
makes of them is a martingale, and so is the product of both sides' (Turner, Ly and Gruenwald, "Generic E-variables for
exact sequential k-sample tests", 2024). What lies inside a bucket is taken for whatever speaks against an answer. The
same product, at the shares under the allowed difference that are likeliest, is the exact test of shares.

Red: what is not allowed is proven. Green: what is not allowed is ruled out. Either is wrong with a probability of at
most c, however often one looks and with any share of traffic. Both need nothing but counts, which add up over workers.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import NamedTuple

from .evidence import LAST, upper
from .verdicts import Answer

Counts = tuple[float, float]
"""How many of how many."""

MANY = 30.0
"""Failures, and successes, that the new side would have under what is allowed, from which on their number is taken for
normal: with fewer, alarms were up to three times as frequent as stated (10,000 simulated migrations)."""

_HALF = math.lgamma(0.5) * 2 - math.lgamma(1.0)


def shares(old: Counts, new: Counts, allowed: float, chance: float) -> Answer:
    """Whether the new side's share exceeds the old side's by more than `allowed`, an absolute difference in (0, 1)."""
    if not old[1] or not new[1]:
        return Answer.NOT_YET
    if new[0] / new[1] - old[0] / old[1] > allowed:
        return Answer.RED if _too_many(old, new, allowed, chance / 2) else Answer.NOT_YET
    seen, enough = deviations(old, new, allowed, chance)
    return Answer.GREEN if -seen >= enough else Answer.NOT_YET


def _too_many(old: Counts, new: Counts, allowed: float, chance: float) -> bool:
    """Whether more than what is allowed is proven, by one of two tests that are each wrong as rarely as `chance`."""
    low = _likeliest(old, new, allowed)
    if surprise(old, low) + surprise(new, low + allowed) >= -math.log(chance):
        return True
    if new[1] * min(low + allowed, 1 - low - allowed) < MANY:
        return False
    seen, enough = deviations(old, new, allowed, chance)
    return seen >= enough


def deviations(old: Counts, new: Counts, allowed: float, chance: float) -> tuple[float, float]:
    """How many standard deviations the difference lies above what is allowed, and how many an answer takes."""
    low = _likeliest(old, new, allowed)
    high = low + allowed
    variance = low * (1 - low) / old[1] + high * (1 - high) / new[1]
    seen = (new[0] / new[1] - old[0] / old[1] - allowed) / math.sqrt(variance)
    return seen, needed(allowed * allowed / variance, chance)


def needed(wide: float, chance: float) -> float:
    """Standard deviations that an answer takes; `wide` is the square of how many of them the allowed difference is."""
    return math.sqrt((1 + wide) / wide * (math.log1p(wide) - 2 * math.log(chance)))


def _likeliest(old: Counts, new: Counts, difference: float) -> float:
    """The old side's share that makes the counts most probable, given the difference: where the slope is 0.

    By Newton's method, within what is known to hold it. The slope has poles at both ends of what is possible; times the
    distances from both it is next to straight there, so that a few steps do.
    """
    (k0, n0), (k1, n1) = old, new
    low, high = 0.0, 1.0 - difference
    room = high
    p = min(max((k0 + k1 - difference * n1) / (n0 + n1), low), high)
    for _ in range(60):
        mine, other = p * (room - p) / (1 - p), p * (room - p) / (p + difference)
        slope = (n0 - k0) * mine - k0 * (room - p) + (n1 - k1) * p - k1 * other
        bend = (n0 - k0) * (room - 2 * p + mine) / (1 - p) + k0
        bend += n1 - k1 - k1 * (room - 2 * p - other) / (p + difference)
        low, high = (low, p) if slope > 0 else (p, high)
        before, p = p, p - slope / bend if bend > 0 else math.inf
        if not low <= p <= high:
            p = (low + high) / 2
        if abs(p - before) <= 1e-15 * before:
            break
    return p


def quantiles(old: Mapping[int, float], new: Mapping[int, float], rank: float, allowed: float, chance: float) -> Answer:
    """Whether the new side's quantile of that rank exceeds the old side's by more than `allowed`, relative.

    The mappings are counts by bucket of `evidence`.
    """
    if not any(old.values()) or not any(new.values()):
        return Answer.NOT_YET
    enough = -math.log(chance)
    # What one side alone has spoken out cannot come back: the other side's counts never speak for a place by more.
    mine = _places(new, rank, enough + _favour(sum(old.values())))
    theirs = _places(old, rank, enough + _favour(sum(new.values())))
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
    return _against(counts[1], p)(counts[0])


def _against(n: float, p: float) -> Callable[[float], float]:
    """`surprise` of n requests, for each number of them below: a look at a gate asks for dozens of these."""
    whole = math.lgamma(n + 1.0) + _HALF
    below, above = (math.log(q) if q > 0 else -math.inf for q in (p, 1.0 - p))

    def surprise(k: float) -> float:
        made = math.lgamma(k + 0.5) + math.lgamma(n - k + 0.5) - whole
        return made - (k * below if k > 0 else 0.0) - ((n - k) * above if n > k else 0.0)

    return surprise


class _Place(NamedTuple):
    """Somewhere that a quantile may lie, in seconds, and how much the counts speak against it."""

    bottom: float
    top: float
    surprise: float


def _favour(n: float) -> float:
    """The most by which n counts can speak for a share: what the mixture loses to the likeliest one (Krichevsky and
    Trofimov, 1981), and as much again as fractions of a count may make of it."""
    return math.log(2 * math.sqrt(max(n, 1.0))) + 1.0


def _places(counts: Mapping[int, float], rank: float, most: float) -> list[_Place]:
    """Every bucket that holds something, and every stretch between them, ascending; not those beyond a surprise of
    `most`, which lie at both ends, since surprise grows on either side of the rank."""
    buckets = sorted(bucket for bucket, held in counts.items() if held)
    reached = list(accumulate(counts[bucket] for bucket in buckets))
    total = reached[-1]
    surprise = _against(total, rank)
    middle = min(bisect_left(reached, rank * total), len(buckets) - 1)
    first = bisect_left(range(middle), True, key=lambda turn: surprise(reached[turn]) <= most)
    last = bisect_left(range(len(buckets)), True, middle + 1, key=lambda turn: surprise(reached[turn - 1]) > most)
    found: list[_Place] = []
    for turn in range(first, last):
        bucket, below = buckets[turn], reached[turn - 1] if turn else 0.0
        bottom = upper(bucket - 1) if bucket else 0.0
        following = buckets[turn - 1] + 1 if turn else 0
        if bucket > following:
            found.append(_Place(upper(following - 1) if following else 0.0, bottom, surprise(below)))
        # As many of the bucket's own as suits a quantile in it best: ties count on either side of it.
        inside = min(max(rank * total, below), reached[turn])
        found.append(_Place(bottom, upper(bucket), surprise(inside)))
    if last == len(buckets) and buckets[-1] < LAST:
        found.append(_Place(upper(buckets[-1]), math.inf, surprise(total)))
    return found
