"""The breaker: what opens it, what does not, and how a target comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.breaker import (
    CONSECUTIVE,
    FIRST_OPEN,
    FIRST_SHARE,
    FORGIVEN,
    LONGEST_OPEN,
    NEW,
    PROBES,
    SLOW_START,
    Breaker,
    State,
    admitted,
    after,
    is_failure,
    state,
)
from policies.facts import FailureFacts, Fault

from .written import PATIENT


def half() -> float:
    return 0.5


def fed(breaker: Breaker, outcomes: str, now: float) -> Breaker:
    """The breaker after answers (`.`) and failures (`x`), all at `now`."""
    for outcome in outcomes:
        breaker = after(breaker, outcome == "x", now, half)
    return breaker


@pytest.mark.parametrize(
    ("outcomes", "opens"),
    [
        ("x" * (CONSECUTIVE - 1), False),
        ("x" * CONSECUTIVE, True),
        ("xxxx.xxxx", False),  # fewer than ten
        ("xxxx.xxxx.", False),  # the tenth is an answer: what opens it is a failure
        ("xxxx.xxxx.x", True),
        ("x." * 20, True),
        ("x.." * 20, False),
        ("." * 50, False),
    ],
)
def test_what_opens_it(outcomes: str, opens: bool) -> None:
    """Five failures in a row, or half of at least ten requests."""
    assert (state(fed(NEW, outcomes, 100.0), 100.0) is State.OPEN) is opens


def test_old_failures_fade() -> None:
    """Failures of minutes ago do not add up with those of now."""
    early = fed(NEW, "xxxx.xxxx.", 100.0)
    assert state(fed(early, "x", 101.0), 101.0) is State.OPEN
    assert state(fed(early, "x", 200.0), 200.0) is State.CLOSED


def test_open_half_open_closed() -> None:
    """After its time one probe at a time is let through, and enough answers close it."""
    opened = fed(NEW, "xxxxx", 100.0)
    assert (opened.until, admitted(opened, 104.9), state(opened, 104.9)) == (105.0, 0.0, State.OPEN)
    assert fed(opened, "...", 104.9) is opened
    assert (admitted(opened, 105.0), state(opened, 105.0)) == (1.0, State.HALF_OPEN)
    once = fed(opened, ".", 105.0)
    assert state(once, 105.0) is State.HALF_OPEN
    assert state(fed(once, "." * (PROBES - 1), 105.0), 105.0) is State.CLOSED


def test_a_failed_probe_opens_it_for_longer() -> None:
    """Each opening is twice as long as the last, up to a minute, and forgets the probes that had passed."""
    breaker, now, lengths = fed(NEW, "xxxxx", 0.0), 0.0, []
    for _ in range(6):
        assert breaker.until is not None
        lengths.append(breaker.until - now)
        now = breaker.until
        breaker = fed(breaker, ".x", now)
        assert breaker.passed == 0
    assert lengths == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_a_drawn_quarter_keeps_processes_out_of_step() -> None:
    """The length is drawn between three and five quarters of the nominal one."""
    nearly = fed(NEW, "xxxx", 0.0)
    until = [after(nearly, True, 0.0, draw).until for draw in (float, iter([1.0]).__next__)]
    assert until == [FIRST_OPEN * 0.75, FIRST_OPEN * 1.25]


def test_traffic_comes_back_bit_by_bit() -> None:
    """A target that has just recovered is not buried under what had waited for it."""
    closed = fed(fed(NEW, "xxxxx", 0.0), "." * PROBES, 10.0)
    shares = [admitted(closed, 10.0 + seconds) for seconds in (0.0, SLOW_START / 2, SLOW_START, 1e6)]
    assert shares == [FIRST_SHARE, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(("later", "length"), [(10.0, 2 * FIRST_OPEN), (FORGIVEN + 1, FIRST_OPEN)])
def test_health_is_rewarded(later: float, length: float) -> None:
    """A relapse opens it for longer; after minutes of health it is a first time again."""
    recovered = fed(fed(NEW, "xxxxx", 0.0), "." * PROBES, 10.0)
    again = fed(recovered, "xxxxx", 10.0 + later)
    assert again.until == 10.0 + later + length


@pytest.mark.parametrize(
    ("facts", "counts"),
    [
        (FailureFacts(Fault.NETWORK, retry_safe=True), True),
        (FailureFacts(Fault.NETWORK, retry_safe=None, timed_out=True), True),
        (FailureFacts(Fault.MODEL, retry_safe=None), True),
        (FailureFacts(Fault.PLATFORM, retry_safe=True), True),
        (FailureFacts(Fault.CONFIG, retry_safe=True), True),
        (FailureFacts(Fault.PLATFORM, retry_safe=True, throttled=True), None),
        (FailureFacts(Fault.PLATFORM, retry_safe=True, cold=True), None),
        (FailureFacts(Fault.MODEL, retry_safe=False), None),
        (FailureFacts(Fault.CALLER, retry_safe=None), None),
    ],
)
def test_what_speaks_against_a_target(facts: FailureFacts, counts: bool | None) -> None:
    """Throttling backs off, cold is a state, and what the request brings on itself is nobody's failure."""
    assert is_failure(facts) is counts


@PATIENT
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 30), st.floats(0, 1, exclude_max=True)), max_size=60))
def test_whatever_comes_it_can_come_back(steps: list[tuple[bool, float, float]]) -> None:
    """No breaker is open for more than its longest time and a quarter, and answers always close it."""
    breaker, now = NEW, 0.0
    for failed, waited, drawn in steps:
        now += waited
        before, breaker = breaker, after(breaker, failed, now, iter([drawn]).__next__)
        assert 0.0 <= admitted(breaker, now) <= 1.0
        assert breaker.until is None or breaker.until <= now + LONGEST_OPEN * 1.25
        assert state(before, now) is not State.OPEN or breaker is before
        assert failed or state(breaker, now) is not State.OPEN or breaker is before
    now += 2 * LONGEST_OPEN
    assert state(fed(breaker, "." * PROBES, now), now) is State.CLOSED


@PATIENT
@given(st.lists(st.floats(0, 5), max_size=50))
def test_answers_alone_never_open_it(waits: list[float]) -> None:
    """A healthy target is never left alone, at whatever rate it is asked."""
    breaker, now = NEW, 0.0
    for waited in waits:
        now += waited
        breaker = after(breaker, False, now, half)
        assert admitted(breaker, now) == 1.0
