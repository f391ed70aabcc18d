"""What is counted of cold targets: how warm they are, what restores took and came to, whom it cost what, and dollars.

A part of `Meters` with the same promises: plain additions, a bounded number of label sets, and counts of several
processes that add up. Of several processes the coldest one's word on a target is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import exposition
from .metric_names import COLD_REQUESTS, OTHER, RESTORE_TIME, RESTORES, TEMPERATURE, WARM_COST
from .series import Histogram, Labels


class ColdCounts:
    """The counts of one process, or of several after `merge`."""

    def __init__(self, cap: int) -> None:
        """At most `cap` label sets of each metric; what is beyond lands in `_other`."""
        self._cap = cap
        self._temperatures: dict[Labels, int] = {}
        self._restores: dict[Labels, int] = {}
        self._times: dict[Labels, Histogram] = {}
        self._requests: dict[Labels, int] = {}
        self._costs: dict[Labels, float] = {}

    def temperatures(self, states: Iterable[tuple[str, int]]) -> None:
        """What every tracked target is now, as `policies.temperature.Warmth` numbers it."""
        self._temperatures = {}
        for target, state in states:
            self._coldest((target,), int(state))

    def restore(self, target: str, result: str) -> None:
        """A restore probe is over: `ready`, `given_up` or `failed`."""
        self._add(self._restores, (target, result), 1)

    def restored(self, target: str, seconds: float) -> None:
        """A target was back so long after it had been found cold."""
        labels = self._labels(self._times, (target,))
        self._times.setdefault(labels, Histogram(RESTORE_TIME.bounds)).observe(seconds)

    def request(self, model: str, became: str) -> None:
        """A request of a route met a cold target: `spill`, `hold` or `fail`."""
        self._add(self._requests, (model, became), 1)

    def cost(self, target: str, interval: str, usd: float) -> None:
        """What warm-ups cost a month at the interval that is in force (`policy`) or the one `advised`."""
        self._costs[self._labels(self._costs, (target, interval))] = usd

    def settle(self) -> None:
        """Forget what a process has now: it is gone."""
        self._temperatures = {}

    def merge(self, other: ColdCounts) -> None:
        """Add the counts of another process."""
        for labels, state in other._temperatures.items():
            self._coldest(labels, state)
        for mine, theirs in ((self._restores, other._restores), (self._requests, other._requests)):
            for labels, count in theirs.items():
                self._add(mine, labels, count)
        for labels, histogram in other._times.items():
            labels = self._labels(self._times, labels)
            self._times.setdefault(labels, Histogram(RESTORE_TIME.bounds)).merge(histogram)
        for labels, usd in other._costs.items():
            self._costs[self._labels(self._costs, labels)] = usd

    def dump(self) -> dict[str, Any]:
        """All counts as JSON values; `load` reads them back."""
        return {
            "temperatures": list(self._temperatures.items()),
            "restores": list(self._restores.items()),
            "times": [[labels, histogram.sum, histogram.counts] for labels, histogram in self._times.items()],
            "requests": list(self._requests.items()),
            "costs": list(self._costs.items()),
        }

    @classmethod
    def load(cls, data: dict[str, Any], cap: int) -> ColdCounts:
        """The counts that `dump` described; KeyError, TypeError or ValueError when it did not."""
        counts = cls(cap)
        counts._temperatures = {tuple(labels): int(state) for labels, state in data["temperatures"]}
        counts._restores = {tuple(labels): int(count) for labels, count in data["restores"]}
        counts._requests = {tuple(labels): int(count) for labels, count in data["requests"]}
        counts._costs = {tuple(labels): float(usd) for labels, usd in data["costs"]}
        for labels, total, buckets in data["times"]:
            histogram = counts._times[tuple(labels)] = Histogram(RESTORE_TIME.bounds)
            histogram.sum, histogram.counts = float(total), [int(count) for count in buckets]
        return counts

    def render(self) -> list[str]:
        """The blocks of Prometheus' text format."""
        return [
            exposition.scalars(TEMPERATURE, self._temperatures.items()),
            exposition.scalars(RESTORES, self._restores.items()),
            exposition.histograms(RESTORE_TIME, self._times.items()),
            exposition.scalars(COLD_REQUESTS, self._requests.items()),
            exposition.scalars(WARM_COST, self._costs.items()),
        ]

    def _coldest(self, labels: Labels, state: int) -> None:
        labels = self._labels(self._temperatures, labels)
        self._temperatures[labels] = max(state, self._temperatures.get(labels, 0))

    def _add(self, family: dict[Labels, int], labels: Labels, count: int) -> None:
        labels = self._labels(family, labels)
        family[labels] = family.get(labels, 0) + count

    def _labels(self, family: dict[Labels, Any], labels: Labels) -> Labels:
        return labels if labels in family or len(family) < self._cap else (OTHER,) * len(labels)
