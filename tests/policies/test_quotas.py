"""Buckets of requests and tokens."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.quotas import Bucket, Rate, estimated, full, refilled, taken, wait_for

from .written import PATIENT

MINUTE = Rate(60.0, 60.0)


def test_one_periods_worth_may_come_at_once_and_no_more() -> None:
    """A full bucket holds what a period grants, however long nobody came."""
    bucket = refilled(full(MINUTE, 0.0), MINUTE, 1e6)
    for _ in range(60):
        assert wait_for(bucket, MINUTE, 1.0) == 0.0
        bucket = taken(bucket, 1.0)
    assert wait_for(bucket, MINUTE, 1.0) == 1.0


def test_debt_is_paid_off_first() -> None:
    """Tokens are charged afterwards; the next request waits until nothing is owed."""
    bucket = taken(full(MINUTE, 0.0), 90.0)
    assert wait_for(bucket, MINUTE, 0.0) == 30.0
    assert wait_for(refilled(bucket, MINUTE, 30.0), MINUTE, 0.0) == 0.0


@pytest.mark.parametrize(("rate", "wait"), [(Rate(0.5, 1.0), 0.0), (Rate(0.0, 1.0), 0.0)])
def test_a_rate_of_less_than_one_still_lets_one_through(rate: Rate, wait: float) -> None:
    """A period may grant less than one request; a full bucket is then enough."""
    assert wait_for(full(rate, 0.0), rate, 1.0) == wait


def test_a_rate_of_nothing_is_waited_for_in_vain() -> None:
    """What is owed to an empty rate is never paid off."""
    assert wait_for(Bucket(-1.0, 0.0), Rate(0.0, 1.0), 0.0) == math.inf


def test_what_nobody_has_counted_is_estimated() -> None:
    """Four bytes a token, begun ones whole; an event is one, however long."""
    assert (estimated(0, 0), estimated(1, 4), estimated(8, 9), estimated(8, 900, 7)) == (0, 2, 5, 9)


@PATIENT
@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 60)), max_size=100), st.floats(1, 20), st.floats(0.5, 60))
def test_never_more_than_the_rate_and_one_period(
    comings: list[tuple[float, float]], count: float, period: float
) -> None:
    """In any stretch at most one bucket, and what the rate grants in that time, gets through; whose body was long under
    way, and who counts from when it began, brings no time back."""
    rate = Rate(count, period)
    bucket, now, admitted = full(rate, 0.0), 0.0, 0
    for waited, late in comings:
        now += waited
        bucket = refilled(bucket, rate, now - late)
        if wait_for(bucket, rate, 1.0) == 0.0:
            bucket, admitted = taken(bucket, 1.0), admitted + 1
        assert admitted <= count + now * count / period + 1e-6
