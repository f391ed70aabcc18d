"""How many requests it takes until a gate can say something.

The counts come from the very tests that the gates use (`sequential`), asked about counts as they are expected when the
new target does as well as the old one, with so much room for luck that a gate is green by then nine times out of ten. A
latency's spread decides how well a difference shows; it is taken to be lognormal, as latencies roughly are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

from . import agreement, sequential
from .evidence import WIDER, Evidence, quantile
from .migrating import Gate, Measure, Step

POWER = NormalDist().inv_cdf(0.9)
"""Standard deviations that are allowed for, so that nine of ten migrations need no more."""
MOST = 1e12
RANKS = {
    Measure.LATENCY_P95: 0.95,
    Measure.LATENCY_P99: 0.99,
    Measure.FIRST_BYTE_P95: 0.95,
    Measure.FIRST_BYTE_P99: 0.99,
}
"""Measures that are quantiles of a latency."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is assumed of the old target, or known of it."""

    errors: float = 0.005
    """Share of its requests that fail."""
    cold: float = 0.001
    """Share that meets a cold copy."""
    spread: float = 0.6
    """Standard deviation of the latency's logarithm; 0.6 puts the 95th percentile at 2.7 times the median."""

    @classmethod
    def of(cls, evidence: Evidence) -> Baseline:
        """As the old side of a window shows it; the assumption where it shows nothing yet."""
        side = evidence.old
        if not side.requests:
            return cls()
        middle, high = quantile(side.latency, 0.5), quantile(side.latency, 0.95)
        spread = math.log(high / middle) / NormalDist().inv_cdf(0.95) if 0 < middle < high else cls().spread
        return cls((side.errors + 0.5) / (side.requests + 1), (side.cold + 0.5) / (side.requests + 1), spread)


def required(gate: Gate, step: Step, baseline: Baseline, chance: float) -> int:
    """Requests on the new side until the gate is green with a probability of 90 %, nothing being worse; 0 for cost."""
    if gate.measure is Measure.COST:
        return 0
    if gate.measure is Measure.AGREEMENT:
        return agreement.required(agreement.Agreement(gate.allowed), chance)
    # In a step without a share the old side serves everything, and the copies come on top.
    ratio = (1 - step.share) / step.share if step.share else 1 / step.shadow
    if gate.measure in RANKS:
        return _of_quantile(RANKS[gate.measure], gate.allowed, baseline.spread, ratio, chance)
    share = baseline.errors if gate.measure is Measure.ERRORS else baseline.cold
    return _of_share(share, gate.allowed, ratio, chance)


def visible(requests: float, step: Step, baseline: Baseline, chance: float) -> float:
    """The least difference of errors, as a fraction, that so many requests on the new side can prove absent."""
    ratio = (1 - step.share) / step.share if step.share else 1 / step.shadow
    return _first(lambda allowed: _of_share(baseline.errors, allowed, ratio, chance) <= requests, 1e-6, 0.5)


def _of_quantile(rank: float, allowed: float, spread: float, ratio: float, chance: float) -> int:
    """The same for `sequential.quantiles`, whose evidence is worked out: asking it is too slow for a look at a gate.

    Of the new side's requests, more lie below the longest allowed quantile than its rank says, by what the allowed
    difference leaves of a lognormal tail when buckets are taken at their worst. Each request is worth the divergence of
    the two shares, less where the old side's quantile is known no better; two mixtures have to be paid for.
    """
    normal = NormalDist()
    within = min(1 - 1e-9, normal.cdf(normal.inv_cdf(rank) + math.log((1 + allowed) / WIDER**2) / spread))
    worth = within * math.log(within / rank) + (1 - within) * math.log((1 - within) / (1 - rank))
    worth *= ratio / (1 + ratio)
    new = 100.0
    for _ in range(20):
        needed = -math.log(chance) + math.log(max(1.0, new)) + math.log(ratio) / 2
        # Evidence varies by about the root of twice as much.
        new = (math.sqrt(max(1.0, needed) + POWER**2 / 2) + POWER / math.sqrt(2)) ** 2 / worth
    return math.ceil(min(new, MOST))


def _of_share(share: float, allowed: float, ratio: float, chance: float) -> int:
    """Requests on the new side at which `sequential.shares` is green, for expected counts, with room for luck."""

    one = sequential.deviations((share * ratio, ratio), (share, 1.0), allowed, chance)[0]

    def told(new: float) -> bool:
        # The likeliest shares are the same however many requests there are, so deviations grow with their root.
        seen = -one * math.sqrt(new)
        return seen - POWER >= sequential.needed(seen * seen, chance)

    return math.ceil(_first(told, 1.0, MOST))


def _first(told: Callable[[float], bool], low: float, high: float) -> float:
    """The least value for which `told` is true, to 1 %; `high` when it is for none."""
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if told(middle) else (middle, high)
    return high
