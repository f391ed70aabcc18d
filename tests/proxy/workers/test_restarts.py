"""Waits before a worker is started again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.workers.restarts import FIRST, LONGEST, STEADY, falls_in_a_row, wait_before_start


def test_a_worker_that_had_served_comes_back_at_once() -> None:
    """Its end says nothing against the next one, however often others fell before."""
    assert falls_in_a_row(7, STEADY) == 0
    assert wait_before_start(0, lambda: 1.0) == 0.0


@pytest.mark.parametrize(("falls", "most"), [(1, FIRST), (2, 2 * FIRST), (4, 8 * FIRST), (9, LONGEST), (99, LONGEST)])
def test_each_fall_doubles_the_wait_up_to_the_longest(falls: int, most: float) -> None:
    """The draw covers the upper half of the step."""
    assert wait_before_start(falls, lambda: 1.0) == pytest.approx(most)
    assert wait_before_start(falls, lambda: 0.0) == pytest.approx(most / 2)


@given(st.lists(st.floats(0, STEADY - 0.001), min_size=1, max_size=40), st.floats(0, 0.999))
@settings(max_examples=50)
def test_a_crash_loop_never_gets_quicker(lives: list[float], draw: float) -> None:
    """With the same draw each wait is at least the one before, and never none."""
    falls, waits = 0, []
    for lived in lives:
        falls = falls_in_a_row(falls, lived)
        waits.append(wait_before_start(falls, lambda: draw))
    assert waits == sorted(waits)
    assert 0 < waits[0] <= waits[-1] <= LONGEST
