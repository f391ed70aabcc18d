"""What is counted of copies that a migration sends to its new target: what became of them, how alike, what they cost.

A part of `Meters` with the same promises: plain additions, a bounded number of label sets, and counts of several
processes that add up. Copies are in no metric of requests.
"""

from __future__ import annotations

from typing import Any

from . import exposition
from .metric_names import OTHER, SHADOW_DIFFERENCES, SHADOW_DOLLARS, SHADOW_REQUESTS, SHADOW_SCORE
from .series import Histogram, Labels


class ShadowCounts:
    """The counts of one process, or of several after `merge`."""

    def __init__(self, cap: int) -> None:
        """At most `cap` label sets of each metric; what is beyond lands in `_other`."""
        self._cap = cap
        self._results: dict[Labels, int] = {}
        self._scores: dict[Labels, Histogram] = {}
        self._dollars: dict[Labels, float] = {}
        self._differences: dict[Labels, int] = {}

    def result(self, model: str, result: str) -> None:
        """What became of a sampled request of a route: `compared`, or why not in one word."""
        self._add(self._results, (model, result), 1)

    def score(self, model: str, against: str, score: float) -> None:
        """How alike a client's answer and one more are, 0 to 1: the `candidate`'s, or the old target's (`floor`)."""
        labels = self._labels(self._scores, (model, against))
        self._scores.setdefault(labels, Histogram(SHADOW_SCORE.bounds)).observe(score)

    def usd(self, model: str, usd: float) -> None:
        """What a copy has cost."""
        self._add(self._dollars, (model,), usd)

    def difference(self, model: str, result: str) -> None:
        """A difference that was to be kept: `kept`, `full`, `late` or `failed`."""
        self._add(self._differences, (model, result), 1)

    def merge(self, other: ShadowCounts) -> None:
        """Add the counts of another process."""
        for mine, theirs in ((self._results, other._results), (self._differences, other._differences)):
            for labels, count in theirs.items():
                self._add(mine, labels, count)
        for labels, usd in other._dollars.items():
            self._add(self._dollars, labels, usd)
        for labels, histogram in other._scores.items():
            labels = self._labels(self._scores, labels)
            self._scores.setdefault(labels, Histogram(SHADOW_SCORE.bounds)).merge(histogram)

    def dump(self) -> dict[str, Any]:
        """All counts as JSON values; `load` reads them back."""
        return {
            "results": list(self._results.items()),
            "scores": [[labels, histogram.sum, histogram.counts] for labels, histogram in self._scores.items()],
            "dollars": list(self._dollars.items()),
            "differences": list(self._differences.items()),
        }

    @classmethod
    def load(cls, data: dict[str, Any], cap: int) -> ShadowCounts:
        """The counts that `dump` described; KeyError, TypeError or ValueError when it did not."""
        counts = cls(cap)
        counts._results = {tuple(labels): int(count) for labels, count in data["results"]}
        counts._dollars = {tuple(labels): float(usd) for labels, usd in data["dollars"]}
        counts._differences = {tuple(labels): int(count) for labels, count in data["differences"]}
        for labels, total, buckets in data["scores"]:
            histogram = counts._scores[tuple(labels)] = Histogram(SHADOW_SCORE.bounds)
            histogram.sum, histogram.counts = float(total), [int(count) for count in buckets]
        return counts

    def render(self) -> list[str]:
        """The blocks of Prometheus' text format."""
        return [
            exposition.scalars(SHADOW_REQUESTS, self._results.items()),
            exposition.histograms(SHADOW_SCORE, self._scores.items()),
            exposition.scalars(SHADOW_DOLLARS, self._dollars.items()),
            exposition.scalars(SHADOW_DIFFERENCES, self._differences.items()),
        ]

    def _add(self, family: dict[Labels, Any], labels: Labels, amount: float) -> None:
        labels = self._labels(family, labels)
        family[labels] = family.get(labels, 0) + amount

    def _labels(self, family: dict[Labels, Any], labels: Labels) -> Labels:
        return labels if labels in family or len(family) < self._cap else (OTHER,) * len(labels)
