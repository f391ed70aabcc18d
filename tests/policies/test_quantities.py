"""Durations and sizes as people write them."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.quantities import (
    budget,
    duration_range,
    hold,
    idle_limit,
    kept,
    rate,
    seconds,
    share,
    show_moment,
    show_seconds,
    show_share,
    silence,
    size,
)

from .written import PATIENT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("60s", 60.0),
        ("8m", 480.0),
        ("1h30m", 5400.0),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("1m500ms", 60.5),
        ("0s", 0.0),
        ("2h", 7200.0),
    ],
)
def test_duration(text: str, expected: float) -> None:
    """A duration is read in seconds."""
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("50/s", (50.0, 1.0)), ("100k/min", (100_000.0, 60.0)), ("2M/h", (2_000_000.0, 3600.0))]
)
def test_rate(text: str, expected: tuple[float, float]) -> None:
    """A rate is a count and a period in seconds."""
    assert rate(text) == expected


@pytest.mark.parametrize("text", ["", "50", "50/", "/s", "0/s", "50/m", "1.5/s", "50 /s", "50K/s", "-1/s", "50/s\n"])
def test_not_a_rate(text: str) -> None:
    """A count without its period, or of nothing, is refused."""
    with pytest.raises(ValueError, match="write it like 50/s"):
        rate(text)


@pytest.mark.parametrize(("text", "expected"), [("10%", 0.1), ("0%", 0.0), ("100%", 1.0), ("0.5%", 0.005)])
def test_share(text: str, expected: float) -> None:
    """A percentage is read as a fraction of 1."""
    assert share(text) == expected


@pytest.mark.parametrize("text", ["", "10", "0.1", "101%", "-1%", "10 %", "1e1%", "100.5%", "10%\n"])
def test_not_a_share(text: str) -> None:
    """A bare number could be a percentage or a fraction, and more than everything is a mistake."""
    with pytest.raises(ValueError, match="write it like 10%"):
        share(text)


@pytest.mark.parametrize("text", ["", "60", "s", "60 s", "-1s", "1s1m", "1s1s", "1M", "٦s", "1e3s", "60s\n", "1..2s"])
def test_not_a_duration(text: str) -> None:
    """What could be read in two ways is refused, with the right way."""
    with pytest.raises(ValueError, match="write it like 60s"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("25MiB", 26_214_400),
        ("25MB", 25_000_000),
        ("1B", 1),
        ("2KB", 2000),
        ("2KiB", 2048),
        ("1GB", 10**9),
        ("1GiB", 2**30),
    ],
)
def test_size(text: str, expected: int) -> None:
    """The binary and the decimal units are told apart: Bedrock's limit is one, SageMaker's the other."""
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "25", "25 MB", "25mb", "MiB", "1.5MiB", "-1B", "25MB\n"])
def test_not_a_size(text: str) -> None:
    """A size without a unit, or with one that is nearly right, is refused."""
    with pytest.raises(ValueError, match="write it like 25MiB"):
        size(text)


def test_range_of_durations() -> None:
    """A range has a shortest and a longest duration."""
    assert duration_range("60s..5m") == (60.0, 300.0)
    assert duration_range("1s..1s") == (1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "reason"), [("5m..60s", "backwards"), ("60s", "range"), ("60s..", "duration"), ("..", "duration")]
)
def test_not_a_range(text: str, reason: str) -> None:
    """A range that is none says why."""
    with pytest.raises(ValueError, match=reason):
        duration_range(text)


@PATIENT
@given(st.integers(min_value=1, max_value=10**10))
def test_shown_duration_reads_back(milliseconds: int) -> None:
    """A duration in a message is one that could be written into the policy."""
    assert round(seconds(show_seconds(milliseconds / 1000)) * 1000) == milliseconds


def test_shown_zero() -> None:
    """Nothing is shown as something."""
    assert show_seconds(0.0) == "0s"


def test_idle_limit() -> None:
    """A duration of at most a day, or the word for not knowing it."""
    assert (idle_limit("15m"), idle_limit("24h"), idle_limit("measured")) == (900.0, 86_400.0, None)


@pytest.mark.parametrize("text", ["0s", "25h", "guessed", ""])
def test_not_an_idle_limit(text: str) -> None:
    """What is none says what would be."""
    with pytest.raises(ValueError, match=r"measured|write it like"):
        idle_limit(text)


def test_silence() -> None:
    """A time, or a percentile from 50 to 99."""
    assert [silence(text) for text in ("500ms", "24h", "p50", "p99")] == [
        *((0.5, None), (86_400.0, None)),
        *((0.0, 50), (0.0, 99)),
    ]


@pytest.mark.parametrize("text", ["", "0s", "25h", "p", "p5", "p49", "p100", "p99.9", "P95", "p95 ", "95%", "95"])
def test_not_a_silence(text: str) -> None:
    """What is none says what would be."""
    with pytest.raises(ValueError, match="write it like 500ms, at most 24h, or p95"):
        silence(text)


def test_days() -> None:
    """Holds may be days; what is kept says after what; a budget is of a day."""
    assert (hold("24h"), hold("3d"), hold("1d12h"), hold("90m")) == (86_400.0, 259_200.0, 129_600.0, 5400.0)
    assert (kept("14d after 100%"), kept("12h after 100%")) == (1_209_600.0, 43_200.0)
    assert (budget("40 USD/day"), budget("0.50 USD/day")) == (40.0, 0.5)


@pytest.mark.parametrize(
    ("read", "text", "reason"),
    [
        (hold, "", "1d12h"), (hold, "3 days", "1d12h"), (hold, "91d", "more than 90d"),
        (kept, "14d", "14d after 100%"), (kept, " after 100%", "14d after 100%"),
        (budget, "40", "40 USD/day"), (budget, "40 EUR/day", "40 USD/day"), (budget, "40 USD", "40 USD/day"),
    ],
)  # fmt: skip
def test_not_days(read: Callable[[str], float], text: str, reason: str) -> None:
    """What is none says what would be."""
    with pytest.raises(ValueError, match=reason):
        read(text)


@PATIENT
@given(st.integers(0, 1_000_000))
def test_shown_share_reads_back(parts: int) -> None:
    """A share in a message is one that could be written into the policy."""
    assert share(show_share(parts / 1e6)) == pytest.approx(parts / 1e6)


def test_moment_is_shown_in_utc() -> None:
    """Whoever reads it may sit anywhere."""
    assert show_moment(1_795_250_000.9) == "2026-11-21 08:33:20 UTC"
