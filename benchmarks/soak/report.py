"""What grew: slopes of readings with their intervals, and a verdict. Pure.

A slope is the median of the slopes between all pairs of readings (Theil and Sen), which a few odd readings do not move;
its interval is that of the medians of readings drawn again with replacement (bootstrap). Readings are taken at rest,
so that what is left in them is what nothing needs any more.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

DRAWS = 500
WARM_UP = 0.2
"""Share of the readings that do not count: caches fill, and an allocator finds its size."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The proxy's processes at rest. Bytes, counts, and seconds since the start."""

    at: float
    memory: int
    """Proportional share (PSS) of supervisor and workers, at its least since the last reading."""
    handlers: int
    """The same of processes that run customers' code."""
    descriptors: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth an hour, and the interval that holds it in 19 of 20 cases."""

    middle: float
    low: float
    high: float


LIMITS: Mapping[str, tuple[float, float, str]] = {
    "memory": (4.0, 1024 * 1024, "MiB"),
    "descriptors": (2.0, 1.0, ""),
    "tasks": (2.0, 1.0, ""),
}
"""What may grow an hour, in units of so many, and their name.

At 150 requests a second 4 MiB an hour are 8 bytes a request, less than the smallest object: who leaks one can't pass.
"""


def slope(points: Sequence[tuple[float, float]], seed: int = 1) -> Slope:
    """Of (seconds, value) an hour; nothing grows where there are no two points."""
    draw = random.Random(seed)
    again = [_median_slope(draw.choices(points, k=len(points))) for _ in range(DRAWS)]
    drawn = sorted(each for each in again if each is not None) or [0.0]
    middle = _median_slope(points) or 0.0
    return Slope(middle, drawn[int(0.025 * len(drawn))], drawn[int(0.975 * len(drawn))])


def _median_slope(points: Sequence[tuple[float, float]]) -> float | None:
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x1 != x2]
    return median(slopes) * 3600 if slopes else None


def counted(readings: Sequence[Reading]) -> Sequence[Reading]:
    """Those after the warm-up."""
    return readings[int(len(readings) * WARM_UP) :]


def slopes(readings: Sequence[Reading]) -> dict[str, Slope]:
    """Of each quantity, in the units of LIMITS."""
    kept = counted(readings)
    return {
        name: slope([(each.at, getattr(each, name) / unit) for each in kept]) for name, (_, unit, _) in LIMITS.items()
    }


def verdict(name: str, found: Slope) -> str:
    """`flat`, `grows`, or `unclear` where the interval holds both."""
    limit = LIMITS[name][0]
    if found.high <= limit:
        return "flat"
    return "grows" if found.low > limit else "unclear"


def as_markdown(
    about: Mapping[str, str],
    readings: Sequence[Reading],
    done: Mapping[str, tuple[int, int, int]],
    broken: Sequence[str],
) -> str:
    """The report. `done` has of each kind of traffic how often it was, was not as promised, and was late."""
    lines = ["# Soak", "", *(f"- {name}: {value}" for name, value in about.items()), ""]
    lines += ["| at rest | an hour | interval | verdict |", "|---|---|---|---|"]
    for name, found in slopes(readings).items():
        unit = LIMITS[name][2]
        interval = f"{found.low:+.2f} to {found.high:+.2f}"
        lines.append(f"| {name} | {found.middle:+.2f} {unit} | {interval} | {verdict(name, found)} |")
    lines += ["", "| traffic | requests | not as promised | late |", "|---|---|---|---|"]
    lines += [f"| {name} | {count} | {wrong} | {late} |" for name, (count, wrong, late) in sorted(done.items())]
    total = [sum(column) for column in zip(*done.values(), strict=True)]
    lines += [f"| all | {total[0]} | {total[1]} | {total[2]} |", ""]
    lines += [*(f"- {each}" for each in broken), ""] if broken else []
    lines += ["| minute | memory MiB | handlers MiB | descriptors | tasks |", "|---|---|---|---|---|"]
    for each in readings:
        memory, handlers = each.memory / 2**20, each.handlers / 2**20
        lines.append(f"| {each.at / 60:.1f} | {memory:.1f} | {handlers:.1f} | {each.descriptors} | {each.tasks} |")
    return "\n".join(lines) + "\n"
