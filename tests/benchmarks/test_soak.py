"""The soak: what its slopes and verdicts mean, that its report holds them, and that a short run goes through."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from backends.tasks import start
from benchmarks.soak.readings import Lows
from benchmarks.soak.report import Reading, Slope, as_markdown, slope, slopes, verdict

ROOT = Path(__file__).parent.parent.parent
MIB = 1024 * 1024


def readings(growth: float = 0.0, noise: int = 0) -> list[Reading]:
    """One a minute for half an hour, with so many MiB more each time and every third one off by `noise` MiB."""
    return [
        Reading(60.0 * n, int((100 + growth * n + (noise if n % 3 == 0 else 0)) * MIB), 30 * MIB, 40, 12)
        for n in range(30)
    ]


def test_growth_is_found_in_units_an_hour() -> None:
    """A tenth of a MiB a minute is six an hour, however long the warm-up was."""
    found = slopes(readings(0.1))
    assert found["memory"].middle == pytest.approx(6.0, abs=0.01)
    assert verdict("memory", found["memory"]) == "grows"
    assert verdict("descriptors", found["descriptors"]) == "flat"


def test_noise_is_no_growth() -> None:
    """Readings that jump and come back have a slope of nothing."""
    found = slopes(readings(noise=8))["memory"]
    assert abs(found.middle) < 0.5
    assert verdict("memory", found) != "grows"


def test_what_may_be_either_is_said_to_be_unclear() -> None:
    """An interval that holds the limit is no proof of anything."""
    assert [verdict("memory", Slope(4.0, low, high)) for low, high in ((1, 2), (1, 9), (5, 9))] == [
        "flat",
        "unclear",
        "grows",
    ]


async def test_memory_is_read_at_its_least() -> None:
    """Between two readings each heap is given back and fills again: what stays is the least of each, of those that
    still are."""
    sizes = [{1: 50, 2: 90, 3: 5}, {1: 60, 2: 40}, {1: 70, 2: 70}]
    lows = Lows(lambda: sizes.pop(0))
    watch = start(lows.watch(), name="watch")
    await asyncio.sleep(0)
    assert [lows.taken(), lows.taken()] == [90, 140]
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


async def test_a_process_that_ends_while_it_is_looked_at_ends_no_watch() -> None:
    """What it had is read when there is another in its place."""

    def look() -> dict[int, int]:
        raise ProcessLookupError

    watch = start(Lows(look).watch(), name="watch")
    await asyncio.sleep(0)
    assert not watch.done()
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


def test_one_reading_has_no_slope() -> None:
    """A run of one cycle reports, and claims nothing."""
    assert slope([(1.0, 5.0)]) == Slope(0.0, 0.0, 0.0)


def test_the_report_holds_every_figure() -> None:
    """What was measured where, slopes and verdicts, traffic and its broken promises, and every reading."""
    text = as_markdown({"commit": "abc"}, readings(0.1), {"good": (10, 1, 2), "fault": (5, 0, 0)}, ["good: no"])
    for line in ("- commit: abc", "| good | 10 | 1 | 2 |", "| all | 15 | 1 | 2 |", "- good: no", "| 29.0 | 102.9 |"):
        assert line in text
    assert re.search(r"\| memory \| \+6\.00 MiB \| .* \| grows \|", text)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_short_run_goes_through(tmp_path: Path) -> None:
    """A few seconds of everything: it ends by itself, and its report has every kind of traffic."""
    words = ["--minutes", "0.01", "--cycle", "3", "--rate", "30", "--workers", "1", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", *words], cwd=ROOT, capture_output=True, text=True, timeout=250
    )
    assert "Traceback" not in done.stderr
    (report,) = tmp_path.glob("soak-*.md")
    assert report.read_text() == done.stdout.removesuffix("\n")
    assert int(re.findall(r"\| all \| (\d+) \|", done.stdout)[0]) == 90
