"""From rounds to ratios. Pure but for the draws, which come from a fixed seed.

A ratio is taken between cells of the same round, since the machine's speed drifts from round to round; the interval is
a percentile bootstrap of the median over rounds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

DRAWS = 2000
"""Resamplings of the rounds."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A median and the 95 % interval around it."""

    median: float
    low: float
    high: float


def interval(values: Sequence[float], seed: int = 1) -> Interval:
    """The median of at least one value with its bootstrap interval."""
    draw = random.Random(seed)
    medians = sorted(median(draw.choices(values, k=len(values))) for _ in range(DRAWS))
    return Interval(median(values), medians[int(DRAWS * 0.025)], medians[int(DRAWS * 0.975)])


def ratios(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """Round by round."""
    return [this / that for this, that in zip(these, those, strict=True)]
