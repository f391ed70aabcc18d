"""When requests arrived."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policies.written import PATIENT
from warmers.arrivals import GRAIN, gather, in_runs, repeated


def test_requests_close_to_each_other_are_one_entry() -> None:
    """What came within the grain of an entry counts there; order does not matter, and what lies outside is left out."""
    found = gather([(61.0, 1), (0.0, 2), (4.9, 1), (5.0, 3), (-1.0, 7), (100.0, 7), (70.0, 0)], 100.0, 12.0)
    assert list(found) == [(0.0, 3), (5.0, 3), (61.0, 1)]
    assert (found.requests, found.busiest_minute, found.span, found.start) == (7, 6, 100.0, 12.0)


def test_a_trace_without_requests() -> None:
    """Silence is a trace as well."""
    found = gather((), 60.0)
    assert (list(found), found.requests, found.busiest_minute, found.start) == ([], 0, 0, None)


@pytest.mark.parametrize("span", [0.0, -1.0, float("nan")])
def test_a_trace_must_cover_some_time(span: float) -> None:
    """Nothing can be said a month from a trace of no length."""
    with pytest.raises(ValueError, match="must cover some time"):
        gather((), span)


def test_repeated_covers_what_is_asked() -> None:
    """A short trace stands in a row often enough; a long one is left as it is."""
    short = gather([(10.0, 2)], 40.0, 5.0)
    twice = repeated(short, 41.0)
    assert (list(twice), twice.span, twice.start) == ([(10.0, 2), (50.0, 2)], 80.0, 5.0)
    assert repeated(short, 40.0) is short


@PATIENT
@given(st.lists(st.tuples(st.floats(0, 999), st.integers(1, 5))))
def test_no_request_is_lost(moments: list[tuple[float, int]]) -> None:
    """Entries hold all requests, ascending and at least the grain apart."""
    found = gather(moments, 1000.0)
    assert found.requests == sum(count for _, count in moments)
    assert all(later - sooner >= GRAIN for sooner, later in pairwise(found.times))


def test_runs_end_where_a_pause_begins() -> None:
    """A pause as long as the reach parts two runs; a shorter one does not, and counts add up over all of them."""
    found = in_runs(gather([(0.0, 2), (9.0, 1), (19.0, 4), (60.0, 1)], 100.0), 10.0)
    assert (found.bounds, list(found.upto)) == (((0, 2), (2, 3), (3, 4)), [0, 2, 3, 7, 8])
    assert in_runs(gather((), 100.0), 10.0).bounds == ()
