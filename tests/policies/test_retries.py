"""Waits between repeats, and the budget they are paid from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.facts import FailureFacts, Fault
from policies.retries import LONGEST, RESERVE, STEP, TRICKLE, Budget, earned, spent, unspent, wait_before

from .written import PATIENT


@pytest.mark.parametrize(
    ("nth", "drawn", "asked", "seconds"),
    [
        (1, 1.0, None, STEP),
        (1, 0.5, None, STEP / 2),
        (2, 1.0, None, 2 * STEP),
        (4, 1.0, None, 8 * STEP),
        (99, 1.0, None, LONGEST),
        (5, 0.0, None, 0.0),
        (1, 0.5, 3.0, 3.0 + STEP / 2),
    ],
)
def test_wait_doubles_is_drawn_and_keeps_what_was_asked(
    nth: int, drawn: float, asked: float | None, seconds: float
) -> None:
    """Full jitter over a doubling step; a wait that the target asked for comes first and whole."""
    facts = FailureFacts(Fault.PLATFORM, retry_safe=True, throttled=True, retry_after=asked)
    assert wait_before(nth, facts, lambda: drawn) == pytest.approx(seconds)


def test_a_new_route_has_its_reserve_and_no_more() -> None:
    """A quiet route may repeat at once; what it has not earned it cannot spend."""
    budget: Budget | None = Budget(at=5.0)
    for _ in range(int(RESERVE)):
        assert budget is not None
        budget = spent(budget, 5.0)
    assert budget is not None
    assert spent(budget, 5.0) is None
    assert spent(budget, 5.0 + 1 / TRICKLE) is not None


@pytest.mark.parametrize(("workers", "saved"), [(1, 10), (2, 5), (4, 2), (64, 1)])
def test_processes_divide_the_reserve_and_the_trickle(workers: int, saved: int) -> None:
    """Together they repeat as often as one would, though each can repeat once."""
    budget: Budget | None = Budget(at=5.0)
    for _ in range(saved):
        assert budget is not None
        budget = spent(budget, 5.0, workers)
    assert budget is not None
    assert spent(budget, 5.0, workers) is None
    owed = 1.0 - budget.tokens
    assert spent(budget, 5.0 + 0.99 * owed * workers / TRICKLE, workers) is None
    assert spent(budget, 5.0 + 1.01 * owed * workers / TRICKLE, workers) is not None
    assert earned(budget, 100.0, 5.0, workers).tokens == max(1.0, RESERVE / workers)


@pytest.mark.parametrize(("tokens", "workers", "left"), [(3.5, 1, 4.5), (9.5, 1, 10.0), (4.5, 2, 5.0)])
def test_a_repeat_that_is_not_made_is_there_for_another(tokens: float, workers: int, left: float) -> None:
    """One more than before, though never more than can be saved up."""
    assert unspent(Budget(tokens, 7.0), workers) == Budget(left, 7.0)


def test_ten_requests_pay_for_one_repeat() -> None:
    """A share of 10 % is one in ten, to the request."""
    budget = Budget(0.0, 1.0)
    for _ in range(9):
        budget = earned(budget, 0.1, 1.0)
    assert spent(budget, 1.0) is None
    assert spent(earned(budget, 0.11, 1.0), 1.0) is not None


@PATIENT
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=80), st.floats(0, 1), st.floats(0, RESERVE))
def test_repeats_never_exceed_what_the_traffic_pays_for(
    steps: list[tuple[bool, float]], share: float, saved: float
) -> None:
    """Whatever comes in whatever order: what was saved, share of the requests and trickle are never exceeded."""
    budget, now, requests, repeats = Budget(saved), 0.0, 0, 0
    for is_request, waited in steps:
        now += waited
        if is_request:
            budget = earned(budget, share, now)
            requests += 1
        elif (left := spent(budget, now)) is not None:
            budget = left
            repeats += 1
        assert 0.0 <= budget.tokens <= RESERVE
        assert budget.tokens + repeats <= saved + share * requests + TRICKLE * now + 1e-6


def test_a_clock_that_goes_back_costs_nothing() -> None:
    """Nothing is taken away when time seems to run backwards."""
    assert earned(Budget(3.0, 10.0), 0.1, 5.0).tokens == pytest.approx(3.1)


def test_who_came_long_before_brings_no_time_back() -> None:
    """A request counts from its head, which may be a minute old when its body is there: time adds once."""
    budget = Budget(0.0, 100.0)
    for _ in range(10):
        assert spent(budget, 100.0) is None
        budget = earned(budget, 0.0, 40.0)
    assert budget == Budget(0.0, 100.0)
    paid = spent(Budget(1.5, 100.0), 40.0)
    assert paid == Budget(0.5, 100.0)
