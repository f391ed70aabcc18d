"""Hours of the week in a time zone, as a policy writes them: `Mon-Fri 06:00-20:00 America/New_York`.

Days are `Mon` to `Sun`, one, a list (`Mon,Wed`) or a range, which may run over the weekend (`Sat-Mon`); without days
every day is meant. Hours end the next day when they end before they begin (`22:00-06:00`), and `24:00` is the end of a
day. Times are those of the zone's clocks: an hour that a change to summer time leaves out is not there, and a time in
it is the moment of the change; hours begin with the first and end with the last of two moments that the clocks show
alike. Several calendars are separated by `;`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = "|".join(DAYS)
_FORM = re.compile(
    rf"(?:(?P<days>(?:{_DAY})(?:-(?:{_DAY}))?(?:,(?:{_DAY})(?:-(?:{_DAY}))?)*) +)?"
    r"(?P<from>[0-2][0-9]:[0-5][0-9])-(?P<to>[0-2][0-9]:[0-5][0-9]) +(?P<zone>[A-Za-z][A-Za-z0-9_+/-]{0,63})"
)
_STRETCH = re.compile(
    rf"(?P<first>{_DAY}) +(?P<from>[0-2][0-9]:[0-5][0-9]) *- *(?P<last>{_DAY}) +(?P<to>[0-2][0-9]:[0-5][0-9])"
    r" +(?P<zone>[A-Za-z][A-Za-z0-9_+/-]{0,63})"
)
_FULL_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Hours:
    """One stretch of hours on some days of the week."""

    days: frozenset[int]
    """0 is Monday."""
    begin: int
    """Minutes after midnight, in [0, 1440)."""
    end: int
    """Minutes after midnight, in (0, 1440]; at or before `begin` it is the next day's."""
    zone: str
    """IANA name of the time zone."""


Calendar = tuple[Hours, ...]


def read_calendar(text: str) -> Calendar:
    """The hours that `text` names. Raises ValueError with the right way to write it."""
    return tuple(_hours(part.strip()) for part in text.split(";"))


def read_window(text: str) -> Calendar:
    """Hours as `read_calendar` reads them, or one stretch over days: `Fri 16:00 - Mon 08:00 America/New_York`.

    Raises ValueError with the right way to write it.
    """
    return tuple(hours for part in text.split(";") for hours in _window(part.strip()))


def open_spans(calendar: Calendar, begin: float, end: float) -> tuple[tuple[float, float], ...]:
    """When the calendar is open within [begin, end), both in seconds since 1970: ascending, apart from each other."""
    merged: list[tuple[float, float]] = []
    for start, stop in sorted(_spans(calendar, begin, end)):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return tuple(merged)


def is_open(calendar: Calendar, moment: float) -> bool:
    """Whether the calendar is open at `moment`, in seconds since 1970."""
    return any(start <= moment for start, _ in open_spans(calendar, moment, moment + 1.0))


def _spans(calendar: Calendar, begin: float, end: float) -> Iterator[tuple[float, float]]:
    for hours in calendar:
        zone = ZoneInfo(hours.zone)
        # A day early, for hours that began the evening before.
        day = datetime.fromtimestamp(begin, zone).date() - timedelta(days=1)
        last = datetime.fromtimestamp(end, zone).date()
        while day <= last:
            if day.weekday() in hours.days:
                start = _moment(day, hours.begin, zone)
                overnight = _FULL_DAY if hours.end <= hours.begin else 0
                stop = _moment(day, hours.end + overnight, zone, last=hours.end != _FULL_DAY)
                if max(start, begin) < min(stop, end):
                    yield max(start, begin), min(stop, end)
            day += timedelta(days=1)


def _moment(day: date, minutes: int, zone: ZoneInfo, *, last: bool = False) -> float:
    """When the zone's clocks show that time: the first such moment, or the last; if they never do, when they leap."""
    days, minutes = divmod(minutes, _FULL_DAY)
    day += timedelta(days=days)
    local = datetime(day.year, day.month, day.day, minutes // 60, minutes % 60, tzinfo=zone)
    # Of a time that is left out, fold 0 is as much after the change as fold 1 is before it.
    first, second = (local.replace(fold=fold).astimezone(UTC).timestamp() for fold in (0, 1))
    if first > second:
        return _change(second, first, zone)
    return second if last else first


def _change(before: float, after: float, zone: ZoneInfo) -> float:
    """The moment, to the second, at which the zone's clocks change between these two."""
    old = datetime.fromtimestamp(before, zone).utcoffset()
    while after - before > 1.0:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after


def _hours(text: str) -> Hours:
    form = _FORM.fullmatch(text)
    if form is None:
        message = "is not a calendar; write it like Mon-Fri 06:00-20:00 America/New_York"
        raise ValueError(message)
    begin, end = _minutes(form["from"]), _minutes(form["to"])
    if begin >= _FULL_DAY or not 0 < end <= _FULL_DAY:
        message = f"has the hours {form['from']}-{form['to']}; a day goes from 00:00 to 24:00"
        raise ValueError(message)
    if begin == end:
        message = f"has the hours {form['from']}-{form['to']}, which could be none or all; write 00:00-24:00 for all"
        raise ValueError(message)
    try:
        ZoneInfo(form["zone"])
    except (KeyError, OSError, ValueError) as error:
        message = f"has the time zone {form['zone']}, which this machine does not know; write an IANA name or UTC"
        raise ValueError(message) from error
    return Hours(_days(form["days"] or "Mon-Sun"), begin, end, form["zone"])


def _window(text: str) -> Calendar:
    stretch = _STRETCH.fullmatch(text)
    if stretch is None:
        try:
            return (_hours(text),)
        except ValueError as error:
            if _FORM.fullmatch(text) is not None:
                raise
            message = (
                "is not a stretch of time; write it like Fri 16:00 - Mon 08:00 America/New_York, or like Mon-Fri "
                "22:00-06:00 Europe/Berlin"
            )
            raise ValueError(message) from error
    zone, first, last = stretch["zone"], DAYS.index(stretch["first"]), DAYS.index(stretch["last"])
    between = (last - first) % 7
    if not between:
        message = f"begins and ends on {stretch['first']}; write hours of one day like Mon 08:00-12:00 UTC"
        raise ValueError(message)
    parts = [_hours(f"{stretch['first']} {stretch['from']}-24:00 {zone}")]
    if between > 1:
        days = ",".join(DAYS[(first + step) % 7] for step in range(1, between))
        parts.append(_hours(f"{days} 00:00-24:00 {zone}"))
    if stretch["to"] != "00:00":
        parts.append(_hours(f"{stretch['last']} 00:00-{stretch['to']} {zone}"))
    return tuple(parts)


def _minutes(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        start = DAYS.index(first)
        length = (DAYS.index(last or first) - start) % 7 + 1
        found |= {(start + step) % 7 for step in range(length)}
    return frozenset(found)
