"""Whether and where a slow request is asked for once more."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.choose import Attempt, Plan
from policies.facts import FailureFacts, Fault, TargetView
from policies.hedging import (
    FORGOTTEN,
    LEAST,
    MOST,
    Pace,
    enough,
    paced,
    paid,
    patience,
    saved,
    second,
    settles,
    unpaid,
    without,
)
from policies.table import HedgeRule, RetryRule, Target

from .written import PATIENT, target

A, B, C = Attempt(target("a")), Attempt(target("b")), Attempt(target("c"))
PLAN = Plan((A, B, C), 0, "why", RetryRule(3), idempotent=True)


def fit(_: Target) -> bool:
    return True


def test_next_place_that_is_another_one_is_asked() -> None:
    """The order of the plan holds; the place that is asked already is none, another replica of it is."""
    again = Attempt(A.target, 1)
    assert second(PLAN, {}, fit) == B
    assert second(replace(PLAN, attempts=(A, A, again)), {}, fit) == again
    assert second(replace(PLAN, attempts=(A, A)), {}, fit) is None
    assert second(replace(PLAN, attempts=()), {}, fit) is None


@pytest.mark.parametrize("view", [TargetView(cold=True), TargetView(health=0.0), TargetView(health=0.5)])
def test_places_that_are_cold_ejected_or_just_back_are_passed_over(view: TargetView) -> None:
    """The next one is asked instead, or nobody."""
    assert second(PLAN, {"b": (view,)}, fit) == C
    assert second(PLAN, {"b": (view,), "c": (view,)}, fit) is None


def test_nobody_is_asked_under_overload() -> None:
    """Neither a target without room, nor any while the first one has none."""
    assert second(PLAN, {}, lambda one: one.name != "b") == C
    assert second(PLAN, {}, lambda one: one.name != "a") is None


@pytest.mark.parametrize(
    "plan", [replace(PLAN, made=1), replace(PLAN, client_retries=True), replace(PLAN, idempotent=False)]
)
def test_what_was_sent_twice_or_must_not_be_is_not_hedged(plan: Plan) -> None:
    """Our own repeat, the SDK's repeat, and a request that may do something."""
    assert second(plan, {}, fit) is None


def test_hedge_counts_as_an_attempt() -> None:
    """It is out of the plan, and the retries that follow have one less."""
    assert without(PLAN, B) == replace(PLAN, attempts=(A, C), made=1)


def test_failure_that_would_be_met_anywhere_ends_it() -> None:
    """The caller's fault, and what would fail again; whatever else the second place may still answer."""
    assert settles(FailureFacts(Fault.CALLER, retry_safe=None))
    assert settles(FailureFacts(Fault.MODEL, retry_safe=False))
    assert not settles(FailureFacts(Fault.NETWORK, retry_safe=None))


@PATIENT
@given(st.integers(1, 100), st.lists(st.booleans(), max_size=400))
def test_hedges_are_at_no_moment_more_than_their_share(percent: int, slow: list[bool]) -> None:
    """Whichever requests are slow, and never more than the purse holds at once."""
    purse, hedges = 0.0, 0
    for count, wanted in enumerate(slow, start=1):
        purse = saved(purse, percent / 100)
        assert purse <= MOST
        left = paid(purse) if wanted else None
        if left is not None:
            purse, hedges = left, hedges + 1
        assert hedges <= count * percent / 100 + 1e-9


@PATIENT
@given(st.floats(1.0, MOST))
def test_hedge_that_is_not_made_costs_nothing(purse: float) -> None:
    """What was paid for it is in the purse again, which holds no more than before."""
    left = paid(purse)
    assert left is not None
    assert unpaid(left) == pytest.approx(purse)
    assert unpaid(MOST) == MOST


P95 = HedgeRule(0.5, percentile=95, floor=0.02)


def learnt(times: list[float], percentile: int = 95) -> Pace | None:
    pace = None
    for took in times:
        pace = paced(pace, percentile, took, 0.0)
    return pace


def test_a_written_time_is_the_time() -> None:
    """Whatever is known of the target."""
    assert patience(HedgeRule(0.5), learnt([9.0] * 100), 0.0) == 0.5


def test_a_percentile_holds_once_enough_answers_are_known() -> None:
    """Until then the time that is written for it does; and never less than the floor."""
    times = [number / 1000 for number in range(100)]
    assert (enough(50), enough(95), enough(99)) == (10, 100, 500)
    assert patience(P95, None, 0.0) == patience(P95, learnt(times[1:]), 0.0) == 0.5
    assert patience(P95, learnt(times), 0.0) == 0.095
    assert patience(P95, learnt([0.0] * 100), 0.0) == 0.02


def test_what_is_known_of_another_percentile_or_is_old_is_forgotten() -> None:
    """Then the answers are counted from the first one again."""
    pace = learnt([1.0] * 100)
    assert (patience(P95, pace, FORGOTTEN), patience(P95, pace, FORGOTTEN + 1)) == (1.0, 0.5)
    assert patience(replace(P95, percentile=90), pace, 0.0) == 0.5
    assert paced(pace, 95, 2.0, FORGOTTEN + 1).first == paced(pace, 90, 2.0, 0.0).first == (2.0,)


def test_what_takes_nothing_does_not_stay_there() -> None:
    """A time that has become nothing would be nothing for ever."""
    pace = learnt([0.0] * 200)
    assert pace is not None
    assert pace.usual == LEAST


@pytest.mark.parametrize("percentile", [50, 90, 95, 99])
def test_a_percentile_is_followed_though_slow_answers_are_never_seen_whole(percentile: int) -> None:
    """However many are cancelled, so many in a hundred are slow; so they are where the target is five times slower."""
    draw, rule, pace, slow = random.Random(1), replace(P95, percentile=percentile, floor=0.0), None, []
    for number in range(40_000):
        wait = patience(rule, pace, 0.0)
        took = draw.lognormvariate(-2.0, 1.0) * (5 if number >= 20_000 else 1)
        slow.append(took >= wait)
        pace = paced(pace, percentile, min(took, wait), 0.0)
    share = (100 - percentile) / 100
    for stretch in (slow[5_000:20_000], slow[25_000:]):
        assert sum(stretch) / len(stretch) == pytest.approx(share, rel=0.15)
