"""When a target is due: intervals, jitter, real traffic, hours of the week through changes of the clock."""

from __future__ import annotations

from datetime import datetime
from math import inf
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.calendar import read_calendar
from policies.table import BedrockSpec, Target, Warmup
from warmers.schedule import Entry, due

TARGET = Target("imported", "bedrock", BedrockSpec("arn"), speaks="openai-chat")
NEW_YORK = ZoneInfo("America/New_York")
OFFICE = "Mon-Fri 06:00-20:00 America/New_York"


def warmup(every: float = 840.0, jitter: float = 0.0, hours: str | None = None) -> Warmup:
    return Warmup(TARGET, every, jitter, 1, read_calendar(hours) if hours else None)


def at(text: str) -> float:
    """Seconds since 1970 of a moment on New York's clocks."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()


def look(entry: Entry, now: float, wall: float = 0.0) -> tuple[list[float | None], float]:
    """Gaps of what is due, and when to look again."""
    pings, wake = due([entry], now, wall, lambda: 0.5)
    return [ping.gap for ping in pings], wake


@pytest.mark.parametrize(
    ("entry", "now", "found"),
    [
        (Entry(warmup()), 100.0, ([None], inf)),
        (Entry(warmup(), used=0.0), 839.0, ([], 840.0)),
        (Entry(warmup(), used=0.0), 840.0, ([840.0], inf)),
        (Entry(warmup(), used=500.0), 840.0, ([], 1340.0)),
        (Entry(warmup(jitter=0.1), used=0.0, drawn=0.5), 797.0, ([], 798.0)),
        (Entry(warmup(jitter=0.1), used=0.0, drawn=0.5), 798.0, ([798.0], inf)),
        (Entry(warmup(), used=0.0, not_before=900.0), 850.0, ([], 900.0)),
    ],
    ids=["never used", "not yet", "due", "traffic suppresses", "jitter before", "jitter due", "failed just now"],
)
def test_due_by_the_interval(entry: Entry, now: float, found: tuple[list[float | None], float]) -> None:
    """A target is due when it has not been used for its interval, whoever used it."""
    assert look(entry, now) == found


def test_ping_brings_the_draw_for_the_next_one() -> None:
    """Jitter is drawn once a warm-up, not once a look: looking often does not make it come early."""
    (ping,), _ = due([Entry(warmup())], 0.0, 0.0, lambda: 0.25)
    assert ping.drawn == 0.25


@pytest.mark.parametrize(
    ("moment", "wait"),
    [
        ("2026-11-20T05:00", 3600.0),  # a Friday
        ("2026-11-20T19:59", 0.0),
        ("2026-11-20T20:00", 58 * 3600.0),
        ("2026-11-21T12:00", 42 * 3600.0),
    ],
)
def test_hours_are_waited_for(moment: str, wait: float) -> None:
    """Outside the hours nothing is sent, and the next look is when they begin."""
    gaps, wake = look(Entry(warmup(hours=OFFICE)), 50.0, at(moment))
    assert (gaps, wake) == (([None], inf) if wait == 0 else ([], 50.0 + wait))


@pytest.mark.parametrize(
    ("saturday", "hours"),
    [("2026-03-07T06:00", 23), ("2026-10-31T06:00", 25), ("2026-06-06T06:00", 24)],
    ids=["clocks go forward", "clocks go back", "an ordinary night"],
)
def test_hours_keep_to_the_zones_clocks(saturday: str, hours: int) -> None:
    """Six in the morning is 23 or 25 hours after six when New York's clocks change in between."""
    every_day = "06:00-06:01 America/New_York"
    entry = Entry(warmup(every=60.0, hours=every_day), used=0.0)
    _, wake = look(entry, 60.0, at(saturday) + 60.0)
    assert wake - 60.0 == hours * 3600.0 - 60.0


def test_due_in_the_hours_but_late_in_them() -> None:
    """A moment that falls behind the end of the hours moves to their next beginning."""
    entry = Entry(warmup(hours=OFFICE), used=0.0)
    _, wake = look(entry, 10.0, at("2026-11-19T19:50"))
    assert wake == 10.0 + 10 * 3600 + 600


def test_hours_that_the_clocks_leave_out() -> None:
    """In the week of the change they do not come: nothing is due for the eight days that are searched."""
    entry = Entry(warmup(hours="Sun 02:15-02:45 America/New_York"), used=0.0)
    assert look(entry, 60.0, at("2026-03-02T06:00")) == ([], inf)
    _, wake = look(entry, 60.0, at("2026-03-09T06:00"))
    assert wake == 60.0 + 6 * 86_400 - (6 - 2.25) * 3600


@given(
    used=st.floats(0, 1e6),
    every=st.floats(1, 1e5),
    jitter=st.floats(0, 1),
    drawn=st.floats(0, 0.999),
    ahead=st.floats(0, 2e5),
)
def test_never_later_than_the_interval_nor_sooner_than_jitter_allows(
    used: float, every: float, jitter: float, drawn: float, ahead: float
) -> None:
    """What is due has gone unused for at least the shortened interval; what is not is due within the whole one."""
    now = used + ahead
    gaps, wake = look(Entry(warmup(every, jitter), used, drawn), now)
    if gaps:
        assert now >= used + every * (1 - jitter) * (1 - 1e-9)
    else:
        assert now < wake <= used + every * (1 + 1e-9)
