"""The concurrency limit where clients wait no longer: nobody knows what their answers would have taken."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from policies.limits import BURST, after_answer, queue_holds
from policies.pace import Pace

from .test_limits import BOUNDS, played, warmed


@pytest.mark.parametrize("processes", [1, 3])
def test_overload_whose_clients_leave_is_seen(processes: int) -> None:
    """They leave before they are answered, so that nobody learns what an answer would have taken: it is known all the
    same that hardly any came."""
    came = played("three times too much, impatient clients", processes, 0.3)
    assert came.goodput > 0.75
    assert came.late_goodput > 0.9


@pytest.mark.parametrize("processes", [1, 3])
def test_where_clients_leave_less_waiting_is_too_much(processes: int) -> None:
    """They wait three times as long as an answer takes, and that is what counts as late where many are in flight: two
    fifths of what the target began was for nobody."""
    assert played("three times too much, clients in a hurry", processes, 0.3).goodput > 0.85


@pytest.mark.parametrize(
    ("leaving", "as_ever", "late"),
    [(0.0, 0.0, False), (0.05, 0.0, False), (0.2, 0.0, True), (0.8, 0.0, True), (0.2, 0.15, False), (0.2, 0.3, False)],
)
def test_the_more_of_them_leave_the_less_lateness_is_borne(leaving: float, as_ever: float, late: bool) -> None:
    """Of answers that take 1.6 times as long as on a calm target. Those that leave a calm one as well say nothing."""
    calm, recent = Pace(0.0, 0.0, 50, lost=as_ever), Pace(math.log(1.6), math.log(16.0), 30, lost=leaving)
    limit = replace(warmed(1.0), calm=calm, recent=recent, spread=0.01, answered_at=9.9)
    assert (after_answer(limit, 1.6, 16, 10.0, BOUNDS).value < limit.value) is late


@pytest.mark.parametrize("processes", [1, 3])
def test_clients_that_leave_a_healthy_target_refuse_nobody(processes: int) -> None:
    """Some of whose answers are longer than they wait."""
    assert played("answers of all lengths, impatient clients", processes, 0.8).refused == 0.0


def test_where_hardly_any_answer_comes_fewer_and_fewer_are_tried() -> None:
    """Though fewer do not make clients wait for longer before they leave: it is never in vain. Nobody queues for what
    does not come, and the first answers let the limit grow again."""
    limit, now = warmed(1.0), 10.0
    for _ in range(400):
        now += 0.5
        limit = after_answer(limit, 4.0, round(limit.value), now, BOUNDS, came=False)
    assert limit.value < 8.0
    assert queue_holds(limit, BURST) < 1.0
    assert after_answer(limit, 0.5, 100, now, BOUNDS, came=False) is limit
    for _ in range(400):
        now += 0.5
        limit = after_answer(limit, 1.0, round(limit.value), now, BOUNDS)
    assert limit.value > 50.0


@pytest.mark.parametrize(("until", "shrinks"), [(42.0, False), (90.0, True)])
def test_what_was_lost_in_an_outage_that_is_over_says_nothing(until: float, shrinks: bool) -> None:
    """Requests of a target that was gone for a moment miss their deadline a while later, when those that were sent
    after them have long been answered; as soon as none of those is, it is not over."""
    limit, now = warmed(1.0), 10.0
    while now < 30.0:
        now += 0.1
        limit = after_answer(limit, 1.0, 10, now, BOUNDS)
    value = limit.value
    while now < until:
        now += 0.5
        limit = after_answer(limit, 15.0, 100, now, BOUNDS, came=False)
    assert (limit.value < value) is shrinks
