"""The concurrency limit: it grows while all is quick, shrinks when it is not, and is never stuck."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.limits import SHRINK, START, Bounds, Limit, after_answer, after_pushback

from .written import PATIENT

BOUNDS = Bounds(4, 1000)


def simulated(capacity: int, service: float, rounds: int, limit: Limit, demand: int = 10_000) -> Limit:
    """The limit after `rounds` batches at a target that does `capacity` requests at a time, the rest queued there."""
    now = 0.0
    for _ in range(rounds):
        inside = max(1, min(demand, int(limit.value)))
        seconds = service * max(1.0, inside / capacity)
        now += seconds
        for _ in range(inside):
            limit = after_answer(limit, seconds, inside, now, BOUNDS)
    return limit


def warmed(service: float) -> Limit:
    """A limit that has seen a calm target."""
    limit = Limit()
    for _ in range(10):
        limit = after_answer(limit, service, 1, 0.0, BOUNDS)
    return limit


@pytest.mark.parametrize("capacity", [10, 40, 150])
def test_it_settles_near_what_the_target_bears(capacity: int) -> None:
    """Above the target's capacity, so that it is used whole, and not far above, so that its queue stays short."""
    limit = simulated(capacity, 0.1, 100, warmed(0.1))
    assert capacity <= limit.value <= 3 * capacity


def test_an_unused_limit_does_not_grow() -> None:
    """What few requests tell says nothing of many."""
    assert simulated(1000, 0.1, 50, warmed(0.1), demand=20).value == START


def test_a_target_that_is_quick_enough_gets_all_there_is() -> None:
    """Without a sign of overload the policy's most is the limit."""
    assert simulated(100_000, 0.1, 50, warmed(0.1)).value == BOUNDS.most


def test_a_target_that_became_slower_for_good_is_not_strangled() -> None:
    """At the least limit the new pace is learnt as the calm one, and the limit rises again."""
    slow = simulated(100, 1.0, 400, warmed(0.1))
    assert slow.calm is not None
    assert slow.calm > 0.5
    assert slow.value > 50


def test_pushback_shrinks_it_once_a_round() -> None:
    """Throttling of a whole burst is one sign, not a hundred."""
    limit = warmed(0.1)
    once = after_pushback(limit, 10.0, BOUNDS)
    assert once.value == START * SHRINK
    assert after_pushback(once, 10.05, BOUNDS) is once
    assert after_pushback(once, 10.2, BOUNDS).value == pytest.approx(START * SHRINK * SHRINK)


@PATIENT
@given(
    st.integers(1, 50),
    st.integers(0, 500),
    st.lists(st.tuples(st.booleans(), st.floats(0.001, 60), st.integers(1, 2000), st.floats(0, 10)), max_size=60),
)
def test_it_stays_inside_its_bounds(least: int, more: int, steps: list[tuple[bool, float, int, float]]) -> None:
    """Whatever happens, the policy's least and most hold."""
    bounds, limit, now = Bounds(least, least + more), Limit(), 0.0
    for answered, seconds, in_flight, waited in steps:
        now += waited
        limit = after_answer(limit, seconds, in_flight, now, bounds) if answered else after_pushback(limit, now, bounds)
        assert not answered or bounds.least <= limit.value <= bounds.most


def test_a_queue_at_the_target_does_not_pass_for_its_pace() -> None:
    """Seconds of full load under a limit that was never tried teach no slower calm time; minutes of it do."""
    limit, now = warmed(0.1), 0.0
    for _ in range(600):
        now += 0.01
        limit = after_answer(limit, 0.3, 30, now, BOUNDS)
    assert limit.calm is not None
    assert limit.calm < 0.12
    for _ in range(600):
        now += 1.0
        limit = after_answer(limit, 0.15, 4, now, BOUNDS)
    assert limit.calm is not None
    assert limit.calm > 0.14
