"""The concurrency limit where clients wait no longer: nobody knows what their answers would have taken."""

from __future__ import annotations

import pytest

from policies.limits import BURST, after_answer, queue_holds

from .test_limits import BOUNDS, played, warmed


@pytest.mark.parametrize("processes", [1, 3])
def test_overload_whose_clients_leave_is_seen(processes: int) -> None:
    """They leave before they are answered, so that nobody learns what an answer would have taken: it is known all the
    same that hardly any came."""
    came = played("three times too much, impatient clients", processes, 0.3)
    assert came.goodput > 0.75
    assert came.late_goodput > 0.9


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
