"""How many requests a gate needs: as many as the tests then take."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from policies.evidence import Evidence, Side, bucket_of
from policies.migrating import Gate, Measure, Step
from policies.sequential import quantiles, shares
from policies.sizes import Baseline, required, visible
from policies.verdicts import Answer

ERRORS = Gate(Measure.ERRORS, 0.002)
LATENCY = Gate(Measure.LATENCY_P95, 0.1)
FIVE = Step(share=0.05, hold=1)


def binomial(chance: random.Random, n: float, p: float) -> float:
    return min(n, max(0.0, round(chance.gauss(n * p, math.sqrt(n * p * (1 - p))))))


@pytest.mark.parametrize(("share", "base"), [(0.01, 0.005), (0.05, 0.005), (0.5, 0.005), (0.05, 0.02)])
def test_errors_are_green_by_then_nine_times_of_ten(share: float, base: float) -> None:
    """Simulated: with so many requests on the new side, and nothing worse, 90 % are green; with a third, few are."""
    new = required(ERRORS, Step(share=share), Baseline(errors=base), 0.001)
    old = new * (1 - share) / share

    def green(part: float) -> float:
        chance = random.Random(11)
        told = 0
        for _ in range(100):
            counts = [(binomial(chance, n * part, base), n * part) for n in (old, new)]
            told += shares(counts[0], counts[1], 0.002, 0.001) is Answer.GREEN
        return told / 100

    assert 0.8 <= green(1.0) <= 1.0
    assert green(1 / 3) <= 0.2


def test_latency_is_green_by_then() -> None:
    """The same of a quantile, whose need is worked out from the latency's spread: never too few."""
    new = required(LATENCY, Step(share=0.5), Baseline(spread=0.3), 0.01)
    told = 0
    for seed in range(10):
        chance = random.Random(seed)
        old, late = (Counter(bucket_of(chance.lognormvariate(0, 0.3)) for _ in range(new)) for _ in range(2))
        told += quantiles(old, late, 0.95, 0.1, 0.01) is Answer.GREEN
    assert told >= 8
    assert new < 20_000


def test_what_so_few_requests_can_see() -> None:
    """500 can't see +0.2 points, as `check` says; they see some points, and ten times as many see less."""
    assert required(ERRORS, FIVE, Baseline(), 0.001) > 10_000
    few, many = (visible(count, FIVE, Baseline(), 0.001) for count in (500, 5000))
    assert 0.01 < few < 0.1
    assert many < few / 2


def test_finer_gates_need_more() -> None:
    """A quarter of the difference takes about sixteen times as much; wider spread, smaller chance: more as well."""
    wide, narrow = (required(Gate(Measure.ERRORS, bound), FIVE, Baseline(), 0.001) for bound in (0.004, 0.001))
    assert 9 < narrow / wide < 20
    assert required(LATENCY, FIVE, Baseline(spread=0.9), 0.001) > required(LATENCY, FIVE, Baseline(), 0.001)
    assert required(ERRORS, FIVE, Baseline(), 0.0001) > required(ERRORS, FIVE, Baseline(), 0.001)


def test_what_the_old_target_shows_is_taken() -> None:
    """Its own failures and spread, once there are any; the assumption where it shows nothing, or no spread."""
    chance = random.Random(3)
    times = Counter(bucket_of(chance.lognormvariate(0, 0.4)) for _ in range(5000))
    seen = Baseline.of(Evidence(old=Side(5000, 50, 5, times)))
    assert seen.spread == pytest.approx(0.4, rel=0.1)
    assert seen.errors == pytest.approx(0.0101, rel=0.01)
    assert seen.cold == pytest.approx(0.0011, rel=0.01)
    assert Baseline.of(Evidence()) == Baseline()
    assert Baseline.of(Evidence(old=Side(9, latency={700: 9}))).spread == Baseline().spread


def test_gates_that_count_nothing() -> None:
    """Cost is worked out and not counted; agreement is comparison's to say; cold copies are rarer than errors."""
    assert required(Gate(Measure.COST, 0.8), FIVE, Baseline(), 0.001) == 0
    assert required(Gate(Measure.AGREEMENT, 0.97), FIVE, Baseline(), 0.001) > 10
    cold = Gate(Measure.COLD_SHARE, 0.002)
    assert required(cold, FIVE, Baseline(), 0.001) < required(ERRORS, FIVE, Baseline(), 0.001)
