"""Hours of the week in a time zone."""

from __future__ import annotations

import itertools
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.calendar import DAYS, is_open, open_spans, read_calendar, read_window

from .written import PATIENT

NEW_YORK = "America/New_York"


def at(text: str, zone: str = NEW_YORK) -> float:
    """Seconds since 1970 of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def shown(text: str, begin: str, end: str, zone: str = NEW_YORK) -> list[tuple[str, str]]:
    """The open spans in local time, `Mon 06:00` to `Mon 20:00`."""
    spans = open_spans(read_calendar(text), at(begin, zone), at(end, zone))
    return [tuple(datetime.fromtimestamp(x, ZoneInfo(zone)).strftime("%a %H:%M") for x in span) for span in spans]  # type: ignore[misc]  # a pair stays a pair


def test_working_hours_of_a_week() -> None:
    """Five days of fourteen hours, and a weekend of none."""
    week = shown(f"Mon-Fri 06:00-20:00 {NEW_YORK}", "2026-07-06T00:00", "2026-07-13T00:00")
    assert week == [(f"{day} 06:00", f"{day} 20:00") for day in DAYS[:5]]


def test_hours_into_the_next_day() -> None:
    """Hours that end before they begin end a day later, and one that began yesterday is open today."""
    assert shown("Sun 22:00-06:00 UTC", "2026-07-06T01:00", "2026-07-07T00:00", "UTC") == [("Mon 01:00", "Mon 06:00")]


@pytest.mark.parametrize(
    ("days", "meant"),
    [
        ("Mon", ["Mon"]),
        ("Mon,Wed", ["Mon", "Wed"]),
        ("Sat-Mon", ["Mon", "Sat", "Sun"]),
        ("Tue,Fri-Sun", ["Tue", "Fri", "Sat", "Sun"]),
        ("", list(DAYS)),
    ],
)
def test_days(days: str, meant: list[str]) -> None:
    """One day, lists, ranges over the weekend, and every day when none is named."""
    (hours,) = read_calendar(f"{days} 09:00-10:00 UTC".strip())
    assert [DAYS[day] for day in sorted(hours.days)] == meant


def test_calendars_that_touch_are_one_span() -> None:
    """Parts separated by a semicolon are a union, without seams in it."""
    text = "Mon 00:00-24:00 UTC; Tue 00:00-08:00 UTC; Mon 03:00-04:00 UTC"
    assert shown(text, "2026-07-05T00:00", "2026-07-12T00:00", "UTC") == [("Mon 00:00", "Tue 08:00")]


@pytest.mark.parametrize(
    ("begin", "end", "hours"),
    [("2026-03-08T00:00", "2026-03-09T00:00", 4.0), ("2026-11-01T00:00", "2026-11-02T00:00", 6.0)],
)
def test_change_of_clocks(begin: str, end: str, hours: float) -> None:
    """Five hours by the clock are four in the night that leaves one out, and six in the one that repeats one."""
    (span,) = open_spans(read_calendar(f"00:00-05:00 {NEW_YORK}"), at(begin), at(end))
    assert (span[1] - span[0]) / 3600 == hours


@pytest.mark.parametrize(
    ("hours", "day", "zone", "spans"),
    [
        ("02:30-03:30", "2026-03-08", NEW_YORK, [("03:00-0400", "03:30-0400")]),
        ("01:00-02:30", "2026-03-08", NEW_YORK, [("01:00-0500", "03:00-0400")]),
        ("02:15-02:45", "2026-03-08", NEW_YORK, []),
        ("01:45-03:00", "2026-10-04", "Australia/Lord_Howe", [("01:45+1030", "03:00+1100")]),
        ("00:30-01:30", "2026-11-01", NEW_YORK, [("00:30-0400", "01:30-0500")]),
        ("01:30-03:00", "2026-11-01", NEW_YORK, [("01:30-0400", "03:00-0500")]),
        ("00:00-02:00", "2025-11-02", "America/Havana", [("00:00-0400", "02:00-0500")]),
        ("Sat 20:00-24:00", "2025-11-01", "America/Havana", [("20:00-0400", "00:00-0400")]),
    ],
)
def test_hours_that_begin_or_end_while_the_clocks_change(
    hours: str, day: str, zone: str, spans: list[tuple[str, str]]
) -> None:
    """A time that is left out is the moment of the leap; of one that comes twice, the longer stretch is meant."""
    begin = at(f"{day}T00:00", zone)
    found = open_spans(read_calendar(f"{hours} {zone}"), begin, begin + 86_400)
    assert [
        tuple(datetime.fromtimestamp(x, ZoneInfo(zone)).strftime("%H:%M%z") for x in span) for span in found
    ] == spans


@PATIENT
@given(
    st.sampled_from([(NEW_YORK, "2026-03-08"), ("Australia/Lord_Howe", "2026-10-04"), ("Africa/Cairo", "2026-04-24")]),
    st.tuples(st.integers(0, 1439), st.integers(1, 1440)).filter(lambda pair: pair[0] < pair[1]),
    st.integers(0, 86_399),
)
def test_open_while_the_clocks_show_it(zoned: tuple[str, str], minutes: tuple[int, int], second: int) -> None:
    """On a day with an hour less, it is open at just those moments at which the zone's clocks show a time within."""
    zone, day = zoned
    begin, end = (f"{minute // 60:02}:{minute % 60:02}" for minute in minutes)
    moment = at(f"{day}T03:00", zone) - 3600 * 12 + second
    local = datetime.fromtimestamp(moment, ZoneInfo(zone))
    within = minutes[0] <= local.hour * 60 + local.minute < minutes[1]
    assert is_open(read_calendar(f"{begin}-{end} {zone}"), moment) == within


def test_open_at_a_moment() -> None:
    """The first second counts and the last does not."""
    calendar = read_calendar(f"Mon-Fri 06:00-20:00 {NEW_YORK}")
    asked = ["2026-07-06T05:59:59", "2026-07-06T06:00", "2026-07-06T19:59:59", "2026-07-06T20:00", "2026-07-11T12:00"]
    assert [is_open(calendar, at(moment)) for moment in asked] == [False, True, True, False, False]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "write it like"),
        ("Mon-Fri 6:00-20:00 UTC", "write it like"),
        ("Mon-Fri 06:00-20:00", "write it like"),
        ("Montag 06:00-20:00 UTC", "write it like"),
        ("06:00-20:00 UTC;", "write it like"),
        ("24:00-06:00 UTC", "from 00:00 to 24:00"),
        ("06:00-24:30 UTC", "from 00:00 to 24:00"),
        ("06:00-00:00 UTC", "from 00:00 to 24:00"),
        ("06:00-06:00 UTC", "00:00-24:00 for all"),
        ("06:00-07:00 Mars/Olympus", "Mars/Olympus"),
        ("06:00-07:00 a/../b", "write it like"),
    ],
)
def test_refused(text: str, word: str) -> None:
    """What is wrong is said with the way to write it."""
    with pytest.raises(ValueError, match=word):
        read_calendar(text)


CLOCK = st.integers(0, 23).map(lambda hour: f"{hour:02}:00")
ZONES = st.sampled_from(["UTC", NEW_YORK, "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"])
TEXTS = st.builds(
    "{}-{} {}-{} {}".format,
    st.sampled_from(DAYS),
    st.sampled_from(DAYS),
    CLOCK,
    CLOCK.map(lambda x: x[:3] + "30"),
    ZONES,
)


@PATIENT
@given(st.lists(TEXTS, min_size=1, max_size=3), st.integers(0, 2_000_000_000), st.integers(1, 20 * 86_400))
def test_spans_are_ascending_apart_and_inside(texts: list[str], begin: int, length: int) -> None:
    """Whatever the calendar, spans are in order, leave gaps between them and stay within what was asked for."""
    calendar = read_calendar(";".join(texts))
    flat = [moment for span in open_spans(calendar, begin, begin + length) for moment in span]
    assert all(one < two for one, two in itertools.pairwise(flat))
    assert all(begin <= moment <= begin + length for moment in flat)
    assert [is_open(calendar, start) for start in flat[::2]] == [True] * len(flat[::2])


def test_stretch_over_days() -> None:
    """From Friday afternoon to Monday morning is open all the time between, and closed outside."""
    window = read_window("Fri 16:00 - Mon 08:00 America/New_York")
    spans = open_spans(window, at("2026-11-17T00:00"), at("2026-11-24T00:00"))
    assert spans == ((at("2026-11-20T16:00"), at("2026-11-23T08:00")),)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("Fri 16:00 - Mon 00:00 UTC", "Fri 16:00-24:00 UTC; Sat-Sun 00:00-24:00 UTC"),
        ("Sat 06:00-Sun 12:00 UTC", "Sat 06:00-24:00 UTC; Sun 00:00-12:00 UTC"),
        ("Mon-Fri 22:00-06:00 UTC", "Mon-Fri 22:00-06:00 UTC"),
        ("Sun 20:00 - Mon 04:00 UTC; 12:00-13:00 UTC", "Sun 20:00-24:00 UTC; Mon 00:00-04:00 UTC; 12:00-13:00 UTC"),
    ],
)
def test_stretch_is_hours(text: str, hours: str) -> None:
    """It means the same as its days one by one; hours may be written as ever."""
    assert read_window(text) == read_calendar(hours)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Friday", "Fri 16:00 - Mon 08:00"),
        ("Fri 16:00 - Fri 08:00 UTC", "begins and ends on Fri"),
        ("Fri 24:00 - Mon 08:00 UTC", "from 00:00 to 24:00"),
        ("Fri 16:00 - Mon 08:00 Mars/Olympus", "Mars/Olympus"),
        ("Mon-Fri 06:00-06:00 UTC", "00:00-24:00 for all"),
    ],
)
def test_no_stretch(text: str, word: str) -> None:
    """What is wrong is said with the way to write it."""
    with pytest.raises(ValueError, match=word):
        read_window(text)
