"""The concurrency limit: it grows while all is quick, shrinks when it is not, and is never stuck."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.limits import BURST, SHRINK, START, Bounds, Limit, after_answer, after_pushback, queue_holds

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


def stood_still(limit: Limit, seconds: float, now: float, rate: int = 100, service: float = 0.05) -> Limit:
    """The limit after everything stood for `seconds` while requests came at `rate`, and then all were answered."""
    waiting = int(seconds * rate)
    for number in range(waiting):
        took = service + seconds * (1 - number / waiting)
        limit = after_answer(limit, took, waiting - number, now + number * 0.0003, BOUNDS)
    return limit


def steady(limit: Limit, now: float, seconds: float, rate: int = 100, service: float = 0.05) -> Limit:
    """The limit after good traffic that a calm target answers at once."""
    for number in range(int(seconds * rate)):
        limit = after_answer(limit, service, int(rate * service), now + number / rate, BOUNDS)
    return limit


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_a_moment_in_which_everything_stood_does_not_shrink_it(seconds: float) -> None:
    """Nobody had an answer and then all had: that is no sign of too many requests, however late all of them are."""
    limit = steady(Limit(), 0.0, 5.0)
    now = 5.0
    for _ in range(5):
        limit = stood_still(limit, seconds, now + seconds)
        limit = steady(limit, now + 2 * seconds, 4 * seconds)
        now += 6 * seconds
    assert limit.value >= START


def test_what_stands_half_of_the_time_is_slow() -> None:
    """Only what is rare is passed over."""
    limit, now = steady(Limit(), 0.0, 5.0), 5.0
    for _ in range(20):
        limit = stood_still(limit, 0.5, now + 0.5)
        limit = steady(limit, now + 0.6, 0.4)
        now += 1.0
    assert limit.value < START


def test_lateness_beyond_the_standstill_counts() -> None:
    """A queue that was there before everything stood is seen all the same."""
    limit = steady(Limit(), 0.0, 5.0)
    for number in range(600):
        limit = after_answer(limit, 2.0, 200, 5.5 + number / 100, BOUNDS)
    assert limit.value < START / 2


def test_a_limit_that_hardly_anyone_uses_shrinks_little() -> None:
    """Eight late requests of 256 are no measure of what the target bears."""
    limit = warmed(0.05)
    for number in range(40):
        limit = after_answer(limit, 0.5, 8, 1.0 + number / 40, BOUNDS)
    assert START * SHRINK**3 <= limit.value <= START * SHRINK


def test_what_was_learnt_fades() -> None:
    """A limit that overload has made small finds its way back where there is no sign of it any more, used or not."""
    limit = simulated(10, 0.1, 100, warmed(0.1))
    assert limit.value < 40
    now = limit.answered_at
    for second in range(600):
        limit = after_answer(limit, 0.1, 1, now + second, BOUNDS)
    assert limit.value == START
    narrow = Bounds(4, 100)
    for second in range(600):
        limit = after_answer(replace(limit, value=10.0) if not second else limit, 0.1, 1, now + 600 + second, narrow)
    assert limit.value == narrow.most


def test_a_queue_that_stands_is_short_and_a_burst_is_not_refused() -> None:
    """What was empty a moment ago may hold more; neither holds less than an answer takes."""
    assert queue_holds(warmed(0.01), BURST / 2) == BURST
    assert queue_holds(warmed(0.01), BURST) < BURST
    assert queue_holds(warmed(3.0), BURST) == 3.0
    assert queue_holds(Limit(), 0.0) == BURST
