"""Arrivals out of rates."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.policies.written import PATIENT
from warmers.renewal import Stretch, arrivals_of


def test_same_draws_same_arrivals() -> None:
    """A seed gives one trace, another seed another."""
    stretch = Stretch(600.0, 600.0, 0.05, "Weibull", 0.7)
    one, same, other = (list(arrivals_of([stretch], Random(seed))) for seed in (1, 1, 2))
    assert one == same != other
    assert len(one) == 30


def test_a_busy_stretch_is_spread_evenly() -> None:
    """Above a request a second no draw is taken, and each slot of the grain has its part."""
    found = list(arrivals_of([Stretch(0.0, 20.0, 1.5, "Gamma", 1.0)], Random(1)))
    assert found == [(0.0, 7), (5.0, 8), (10.0, 7), (15.0, 8)]


def test_bursts_are_bursts() -> None:
    """A small shape puts requests close together; a large one spaces them out."""

    def longest(shape: float) -> float:
        times = [time for time, _ in arrivals_of([Stretch(0.0, 600.0, 0.05, "Gamma", shape)], Random(3))]
        return max(later - sooner for sooner, later in pairwise(times))

    assert longest(0.05) > 100.0 > 25.0 > longest(1000.0)


def test_gaps_that_all_vanish_are_no_failure() -> None:
    """A shape so small that draws underflow to nothing still gives every request its place."""
    found = list(arrivals_of([Stretch(60.0, 600.0, 0.01, "Gamma", 1e-9)], Random(1)))
    assert [count for _, count in found] == [1] * 6
    assert all(60.0 <= time <= 660.0 for time, _ in found)


def test_unknown_pattern() -> None:
    """A spread that is not known is not guessed at."""
    with pytest.raises(ValueError, match="Pareto, which is neither"):
        list(arrivals_of([Stretch(0.0, 600.0, 0.5, "Pareto", 1.0)], Random(1)))


@PATIENT
@example(rate=0.03125, pattern="Weibull", shape=0.05, seed=70)
@given(st.floats(0, 3), st.sampled_from(["Gamma", "Weibull"]), st.floats(0.05, 5), st.integers(0, 99))
def test_rate_is_kept(rate: float, pattern: str, shape: float, seed: int) -> None:
    """Whatever the spread, the number of requests is the rate's, and all lie in the stretch."""
    found = list(arrivals_of([Stretch(100.0, 600.0, rate, pattern, shape)], Random(seed)))
    assert sum(count for _, count in found) == round(rate * 600)
    assert all(100.0 <= time <= 700.0 for time, _ in found)
