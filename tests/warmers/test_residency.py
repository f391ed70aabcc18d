"""One copy of an import over a trace."""

from __future__ import annotations

from itertools import accumulate
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policies.written import PATIENT
from tests.warmers.brute import TICK, played
from warmers.arrivals import Arrivals, gather, in_runs
from warmers.residency import WINDOW, Tally, Warming, play, reach, replay

DAY = 86_400.0
QUIET = gather((), 14 * DAY)


def at(*minutes: float, span: float = DAY) -> Arrivals:
    """A day with one request at each of these minutes."""
    return gather([(minute * 60, 1) for minute in minutes], span)


@pytest.mark.parametrize(
    ("minutes", "windows"), [(4.5, 4032), (5, 4032), (14, 1440), (30, 672), (60, 336)], ids=lambda value: str(value)
)
def test_windows_of_an_idle_copy(minutes: float, windows: int) -> None:
    """Fourteen days of pings open 288, 102.9, 48 and 24 windows a day: those of the published reckoning."""
    tally = replay(QUIET, Warming(minutes * 60), idle_limit=7200, restore=60)
    assert tally.windows == windows
    assert (tally.requests, tally.cold, tally.cold_pings, tally.cold_share) == (0, 0, 0, 0.0)


def test_nothing_called_nothing_billed() -> None:
    """A model that nobody calls and nobody pings opens no window."""
    assert replay(QUIET, None, 900, 60) == Tally(0, 0, 0, 0, 0)


def test_requests_until_it_is_ready_are_cold() -> None:
    """The one that wakes it, those before it is ready; the next is warm, and so is one just inside the idle limit."""
    tally = replay(at(60, 61, 63, 77.9, 92.95), None, idle_limit=900, restore=120)
    assert (tally.cold, tally.windows) == (3, 3)


def test_a_gap_of_the_idle_limit_is_too_long() -> None:
    """A copy is gone when it was unused for the limit, not only after it."""
    assert replay(at(60, 75), None, 900, 0).cold == 2
    assert replay(at(60, 74.99), None, 900, 0).cold == 1


def test_the_trace_repeats_itself() -> None:
    """A request at the start is warm because of one at the end, and cold without it."""
    assert replay(at(1, 1439), None, 900, 0).cold == 1
    assert replay(at(1), None, 900, 0).cold == 1
    assert replay(gather([(60.0 * minute, 1) for minute in range(0, 1440, 10)], DAY), None, 900, 60).cold == 0


def test_a_window_is_paid_once_and_whole() -> None:
    """Calls within five minutes share a window; side by side with it stands the next, wherever in it the call is."""
    assert replay(at(60, 62, 64.9), None, 900, 0).windows == 1
    assert replay(at(60, 64, 69, 71), None, 900, 0).windows == 3
    assert replay(at(60, 65.0, 70.0), None, 900, 0).windows == 3


def test_an_eviction_starts_a_new_row() -> None:
    """After it, windows count from the first call that succeeds, which is when the copy is ready."""
    assert replay(at(60, 68, 84, 88), None, 900, 0).windows == 3
    assert replay(at(60, 68, 82, 86), None, 900, 0).windows == 4


def test_pings_that_come_too_late_find_it_cold() -> None:
    """Every 20 minutes against a limit of 15: each ping wakes it anew, and a request in the gap meets it cold."""
    tally = replay(QUIET, Warming(1200), idle_limit=900, restore=60)
    assert tally.pings == tally.cold_pings > 0
    late = replay(gather([(1000.0 * n, 1) for n in range(86)], 86_000), Warming(1200), 900, 60)
    assert (late.cold, late.pings) == (86, 0)


def test_traffic_suppresses_pings() -> None:
    """A request every ten minutes leaves a warmer of fourteen nothing to do."""
    busy = gather([(60.0 * minute, 1) for minute in range(0, 1440, 10)], DAY)
    assert replay(busy, Warming(840), 900, 60).pings == 0


def test_hours_of_duty() -> None:
    """Warm inside them, cold outside; the first ping comes when they begin and restores before the first request."""
    nine_to_ten = Warming(840, ((9 * 3600.0, 10 * 3600.0),))
    tally = replay(at(9 * 60 + 5, 9 * 60 + 50, 15 * 60), nine_to_ten, idle_limit=900, restore=120)
    assert (tally.cold, tally.cold_pings) == (1, 1)
    assert tally.pings == 4
    assert replay(QUIET, Warming(840, ()), 900, 60) == Tally(0, 0, 0, 0, 0)


def test_limits_that_make_no_sense() -> None:
    """Times that are not positive are refused."""
    for warming, limit, restore in ((None, 0.0, 1.0), (None, 900.0, -1.0), (Warming(0.0), 900.0, 1.0)):
        with pytest.raises(ValueError, match="must be positive"):
            replay(QUIET, warming, limit, restore)


TRACES = st.builds(
    lambda minutes, span: gather([(minute, 1) for minute in minutes], span),
    st.lists(st.floats(0, 50_000), max_size=60),
    st.floats(700, 50_000),
)
INTERVALS = st.floats(30, 7200)


@PATIENT
@given(TRACES, st.none() | st.builds(Warming, INTERVALS), st.floats(60, 7200), st.floats(0, 600))
def test_windows_never_overlap(trace: Arrivals, warming: Warming | None, limit: float, restore: float) -> None:
    """However it is used, a copy has no more windows than fit into the time, 288 a day, and one at the seam."""
    tally = replay(trace, warming, limit, restore)
    assert tally.windows <= floor((trace.span + restore) / WINDOW) + 2
    assert tally.cold <= tally.requests
    assert tally.cold_pings <= tally.pings


@PATIENT
@given(
    st.lists(st.floats(0, 400), min_size=1, max_size=80),
    st.none() | st.builds(Warming, INTERVALS),
    st.floats(60, 7200),
    st.floats(0, 600),
)
def test_runs_are_a_shorter_way_to_the_same(
    pauses: list[float], warming: Warming | None, limit: float, restore: float
) -> None:
    """Requests played in runs, or each as a run of its own: the same windows, cold requests and pings."""
    trace = gather([(moment, 1) for moment in accumulate(pauses)], sum(pauses) + 1.0)
    in_one_go = play(in_runs(trace, reach(warming, limit)), warming, limit, restore)
    assert in_one_go == play(in_runs(trace, 0.0), warming, limit, restore)


def test_a_run_is_paid_to_its_end() -> None:
    """An hour of requests a minute apart is one run, and every window it touches is paid."""
    hour = gather([(3600.0 + 60.0 * minute, 1) for minute in range(61)], DAY)
    assert len(in_runs(hour, reach(None, 900)).bounds) == 1
    assert replay(hour, None, 900, 0) == Tally(13, 61, 1, 0, 0)
    assert replay(hour, None, 900, 150) == Tally(12, 61, 3, 0, 0)


@PATIENT
@given(TRACES, INTERVALS, st.floats(1.001, 10), st.floats(0, 600))
def test_interval_below_the_limit_keeps_warm(trace: Arrivals, interval: float, more: float, restore: float) -> None:
    """With pings more often than the idle limit no request and no ping meets it cold."""
    tally = replay(trace, Warming(interval), interval * more, restore)
    assert (tally.cold, tally.cold_pings) == (0, 0)


@PATIENT
@given(INTERVALS, INTERVALS, st.floats(60, 7200), st.floats(0, 600))
def test_longer_intervals_never_cost_more(one: float, two: float, limit: float, restore: float) -> None:
    """On an otherwise idle copy, rarer pings open fewer windows or as many; one more at the seam of the trace."""
    often, rarely = (replay(gather((), DAY), Warming(each), limit, restore) for each in sorted((one, two)))
    assert rarely.windows <= often.windows + 1


@PATIENT
@given(TRACES, st.floats(60, 3600), st.floats(60, 3600))
def test_longer_limits_never_make_it_colder(trace: Arrivals, one: float, two: float) -> None:
    """Without pings, and with a restore that takes no time, a longer idle limit lets no more requests meet it cold."""
    short, long = (replay(trace, None, limit, 0.0).cold for limit in sorted((one, two)))
    assert long <= short


@PATIENT
@given(
    st.integers(20, 600).flatmap(
        lambda span: st.tuples(st.just(span), st.sets(st.integers(0, span - 1), max_size=40).map(sorted))
    ),
    st.integers(1, 200),
    st.integers(0, 60),
    st.none() | st.integers(1, 250),
    st.none() | st.tuples(st.integers(0, 300), st.integers(1, 300)),
)
def test_replay_counts_what_a_plain_count_of_every_moment_counts(
    trace: tuple[int, list[int]], limit: int, restore: int, interval: int | None, duty: tuple[int, int] | None
) -> None:
    """Cold requests, pings and billing windows are those of a clock that ticks through the trace and keeps a list."""
    span, ticks = trace
    arrivals = gather([(tick * TICK, 1) for tick in ticks], span * TICK)
    begin, end = (0, span) if duty is None else (min(duty[0], span), min(sum(duty), span))
    hours = None if duty is None else ((begin * TICK * 1.0, end * TICK * 1.0),)
    warming = None if interval is None else Warming(interval * TICK, hours)
    ahead = 2 * (limit + restore) + (interval or 0)
    told = replay(arrivals, warming, limit * TICK, restore * TICK)
    assert told == played(
        ticks,
        span,
        -ahead,
        limit=limit,
        restore=restore,
        interval=interval,
        on_duty=lambda tick: begin <= tick < end,
    )
