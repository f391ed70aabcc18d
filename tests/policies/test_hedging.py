"""Whether and where a slow request is asked for once more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.choose import Attempt, Plan
from policies.facts import FailureFacts, Fault, TargetView
from policies.hedging import MOST, paid, saved, second, settles, without
from policies.table import RetryRule, Target

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
