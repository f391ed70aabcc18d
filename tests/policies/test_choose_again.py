"""What follows a failure: the share of the time that an attempt gets, waits, and what is paid for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.choose import Plan, after_failure, attempt_deadline, first_plan, turn_deadline
from policies.facts import FailureFacts, Fault
from policies.table import RetryRule, Route, Weighted

from .written import engine, split, target

NOT_SENT = FailureFacts(Fault.NETWORK, retry_safe=True)
UNKNOWN = FailureFacts(Fault.NETWORK, retry_safe=None)
COLD = FailureFacts(Fault.PLATFORM, retry_safe=True, cold=True)


def half() -> float:
    return 0.5


def names(plan: Plan) -> list[str]:
    return [attempt.target.name for attempt in plan.attempts]


# --- shares of the time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("idempotent", "fallbacks", "until"),
    [(False, "b", 60.0), (True, "", 60.0), (True, "b", 35.0), (True, "bc", 10 + 50 / 3)],
)
def test_an_attempt_gets_its_share_where_another_target_may_take_over(
    idempotent: bool, fallbacks: str, until: float
) -> None:
    """Time is divided only where a lost answer may be asked for again: elsewhere giving up early wins nothing."""
    spare = tuple(target(name) for name in fallbacks)
    route = Route("x", None, split(a=1), spare, retry=RetryRule(3), idempotent=idempotent)
    plan = first_plan(route, {}, None, half)
    assert attempt_deadline(plan, 10.0, 60.0) == pytest.approx(until)
    waits = attempt_deadline(replace(plan, idempotent=True), 10.0, 60.0)
    assert turn_deadline(plan, 10.0, 60.0) == waits  # for a place: nothing has been sent


# --- repeats ----------------------------------------------------------------------------------------------------------

LONE = Route("x", None, split(a=1), retry=RetryRule(3))
BESIDE = Route("x", None, split(a=1), (target("b"),), retry=RetryRule(3))
THROTTLED = FailureFacts(Fault.PLATFORM, retry_safe=True, throttled=True, retry_after=2.0)


def test_repeat_waits_and_is_paid_for_and_a_fallback_is_not() -> None:
    """The same target is asked again after a drawn wait, another one at once and free of charge."""
    again = after_failure(first_plan(LONE, {}, None, half), NOT_SENT, 60.0, half)
    assert again is not None
    assert (again.wait, again.charged, again.repeats) == (0.05, True, 1)
    third = after_failure(again, NOT_SENT, 60.0, half)
    assert third is not None
    assert (third.wait, third.repeats) == (0.1, 2)
    elsewhere = after_failure(first_plan(BESIDE, {}, None, half), THROTTLED, 60.0, half)
    assert elsewhere is not None
    assert (elsewhere.wait, elsewhere.charged, elsewhere.repeats) == (0.0, False, 0)


def test_a_wait_is_for_the_replica_that_asked_for_it() -> None:
    """Another one is asked after the drawn wait alone, and the request does not come back to the first."""
    route = Route("x", None, (Weighted(engine("e", 2), 1.0),), retry=RetryRule(4))
    plan = first_plan(route, {}, None, half)
    assert [one.replica for one in plan.attempts] == [1, 0, 1, 0]
    again = after_failure(plan, THROTTLED, 1.0, half)
    assert again is not None
    assert (again.wait, again.charged, again.repeats) == (0.05, True, 1)
    assert [one.replica for one in again.attempts] == [0, 0]
    third = after_failure(again, THROTTLED, 60.0, half)
    assert third is not None
    assert third.wait == pytest.approx(2.1)
    unasked = after_failure(plan, NOT_SENT, 60.0, half)
    assert unasked is not None
    assert [one.replica for one in unasked.attempts] == [0, 1, 0]


@pytest.mark.parametrize(("left", "goes_on"), [(2.06, True), (2.05, False), (0.0, False), (-1.0, False)])
def test_wait_that_does_not_fit_is_not_begun(left: float, goes_on: bool) -> None:
    """The client gets the failure, with the wait it asks for, rather than a deadline."""
    assert (after_failure(first_plan(LONE, {}, None, half), THROTTLED, left, half) is not None) is goes_on


def test_no_repeat_inside_the_clients_own() -> None:
    """From the SDK's second attempt on each target is asked once: two nested loops would multiply."""
    assert names(first_plan(LONE, {}, None, half, sdk_attempt=1)) == ["a", "a", "a"]
    assert names(first_plan(LONE, {}, None, half, sdk_attempt=2)) == ["a"]
    assert names(first_plan(BESIDE, {}, None, half, sdk_attempt=2)) == ["a", "b"]


@pytest.mark.parametrize(
    ("facts", "sdk_attempt", "charged"),
    [(NOT_SENT, 1, False), (NOT_SENT, 2, True), (COLD, 2, False), (UNKNOWN, 1, True)],
)
def test_what_may_multiply_is_paid_for(facts: FailureFacts, sdk_attempt: int, charged: bool) -> None:
    """What may have run, and what the client repeats by itself, comes out of the budget; a cold copy is no failure."""
    route = Route("x", None, split(a=1), (target("b"),), idempotent=True)
    plan = after_failure(first_plan(route, {}, None, half, sdk_attempt=sdk_attempt), facts, 60.0, half)
    assert plan is not None
    assert plan.charged is charged
