"""What an import would cost with a route's requests, as they have lately been."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.calendar import read_calendar
from policies.evidence import SLOT
from policies.table import Warmup
from tests.policies.written import PATIENT
from warmers.economics import DAY
from warmers.prices import open_prices
from warmers.usage import DAYS, SLOTS_A_DAY, import_usd, lately

from .fleet import imported

NOW = datetime(2026, 11, 18, 12, 2, tzinfo=UTC).timestamp()
"""A Wednesday, two minutes into a slot."""
HERE = int(NOW / SLOT)
PRICES = open_prices()
RATE = PRICES.unit_minute("us-east-1", "v1.0").usd
STORAGE = PRICES.storage.usd
TARGET = imported("import")


def usd(busy: set[int], warmup: Warmup | None = None) -> list[float]:
    """Least and most."""
    return [import_usd(TARGET, warmup, arrivals, PRICES) for arrivals in lately(busy, NOW)]


def windows(a_day: float) -> float:
    """USD a month of so many windows a day of one unit, and its storage."""
    return RATE * 5 * a_day * PRICES.window_days + STORAGE


def test_nothing_known_is_anything_between_nothing_and_always() -> None:
    """Before the first request the hours of the day may be empty or full."""
    assert usd(set()) == pytest.approx([windows(0), windows(288)])


def test_a_day_of_requests_is_known_for_certain() -> None:
    """One each hour: 24 windows, since each is gone before the next."""
    hourly = {HERE - 12 * hour for hour in range(30)}
    assert usd(hourly) == pytest.approx([windows(24)] * 2, rel=0.05)


def test_part_of_a_day_leaves_the_rest_open() -> None:
    """Six hours with one request each: the other eighteen may be without any, or always busy."""
    least, most = usd({HERE - 12 * hour for hour in range(7)})
    assert least == pytest.approx(windows(7), rel=0.05)
    assert most == pytest.approx(windows(7 + 288 - 73), rel=0.05)


def test_warm_ups_are_paid_where_no_request_comes() -> None:
    """Every 14 minutes: 102.9 windows a day, the published $882 a month, and storage; traffic in between adds few."""
    pinged = Warmup(TARGET, every=840.0, jitter=0.0)
    rare = {HERE, HERE - SLOTS_A_DAY}
    least, most = usd(rare, pinged)
    assert least == most == pytest.approx(882 + STORAGE, rel=0.01)


def test_hours_are_those_of_the_days_that_were_seen() -> None:
    """Warm-ups from six to ten of a working day are four hours of one that is known."""
    pinged = Warmup(TARGET, every=300.0, jitter=0.0, hours=read_calendar("Mon-Fri 06:00-10:00 UTC"))
    least, most = usd({HERE, HERE - SLOTS_A_DAY}, pinged)
    assert least == most == pytest.approx(windows(48 + 1), rel=0.03)


def test_older_than_a_week_counts_for_nothing() -> None:
    """Whole days up to now, seven at most, so that each hour of the week counts once."""
    least, most = lately({HERE - 20 * SLOTS_A_DAY, HERE - 3 * SLOTS_A_DAY}, NOW)
    assert least == most
    assert (least.span, least.requests) == (DAYS * DAY, 1)
    assert least.start == (HERE + 1) * SLOT - DAYS * DAY


@PATIENT
@given(st.sets(st.integers(HERE - 3 * SLOTS_A_DAY, HERE), max_size=40), st.none() | st.just(Warmup(TARGET)))
def test_least_is_never_more_than_most(busy: set[int], warmup: Warmup | None) -> None:
    """Neither is beyond a copy that is always on."""
    least, most = usd(busy, warmup)
    assert STORAGE <= least <= most + 1e-6
    assert most <= windows(288.5)
