"""What is counted of copies that a migration sends to its new target: what became of them, how alike, what they cost.

A part of `Meters` with the same promises: plain additions, a bounded number of label sets, and counts of several
processes that add up. Copies are in no metric of requests.
"""

from __future__ import annotations

from typing import Any

from . import families
from .families import Histograms, Scalars
from .metric_names import SHADOW_DIFFERENCES, SHADOW_DOLLARS, SHADOW_REQUESTS, SHADOW_SCORE


class ShadowCounts:
    """The counts of one process, or of several after `merge`."""

    def __init__(self, cap: int) -> None:
        """At most `cap` label sets of each metric; what is beyond lands in `_other`."""
        self._results = Scalars(SHADOW_REQUESTS, cap)
        self._scores = Histograms(SHADOW_SCORE, cap)
        self._dollars = Scalars(SHADOW_DOLLARS, cap)
        self._differences = Scalars(SHADOW_DIFFERENCES, cap)
        self._all = (self._results, self._scores, self._dollars, self._differences)

    def result(self, model: str, result: str) -> None:
        """What became of a sampled request of a route: `compared`, or why not in one word."""
        self._results.count((model, result))

    def score(self, model: str, against: str, score: float) -> None:
        """How alike a client's answer and one more are, 0 to 1: the `candidate`'s, or the old target's (`floor`)."""
        self._scores.observe((model, against), score)

    def usd(self, model: str, usd: float) -> None:
        """What a copy has cost."""
        self._dollars.count((model,), usd)

    def difference(self, model: str, result: str) -> None:
        """A difference that was to be kept: `kept`, `full`, `late` or `failed`."""
        self._differences.count((model, result))

    def merge(self, other: ShadowCounts) -> None:
        """Add the counts of another process."""
        families.merge(self._all, other._all)

    def dump(self) -> dict[str, Any]:
        """All counts as JSON values; `load` reads them back."""
        return families.dump(self._all)

    @classmethod
    def load(cls, data: dict[str, Any], cap: int) -> ShadowCounts:
        """The counts that `dump` described; KeyError, TypeError or ValueError when it did not."""
        counts = cls(cap)
        families.load(counts._all, data)
        return counts

    def render(self) -> list[str]:
        """The blocks of Prometheus' text format."""
        return [family.render() for family in self._all]
