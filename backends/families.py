"""The values of one metric, by label set: bounded in number, and such that those of several processes become one.

A part of `Meters` is made of families. Each knows its metric, how two values of the same label set become one, and its
form as JSON; what is beyond `cap` label sets lands in `_other`, so that no caller can make a process grow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import add
from typing import Any, Protocol

from . import exposition
from .metric_names import OTHER, Metric
from .series import Histogram, Labels

Number = int | float


def last(_: Number, new: Number) -> Number:
    """Of two values the later one counts."""
    return new


class Scalars:
    """A counter, or a gauge."""

    def __init__(self, metric: Metric, cap: int, join: Callable[[Any, Any], Any] = add) -> None:
        """`join` makes one value of two, of one process after the other or of two processes: by default their sum."""
        self.metric = metric
        self._cap = cap
        self._join = join
        self._values: dict[Labels, Number] = {}

    def count(self, labels: Labels, value: Number = 1) -> None:
        """Join a value to what is there."""
        labels = _bounded(self._values, labels, self._cap)
        self._values[labels] = self._join(self._values[labels], value) if labels in self._values else value

    def replace(self, values: Iterable[tuple[Labels, Number]]) -> None:
        """What there is now; no other label set has a value any more."""
        self._values = {}
        for labels, value in values:
            self.count(labels, value)

    def merge(self, other: Scalars) -> None:
        """Join the values of another process."""
        for labels, value in other._values.items():
            self.count(labels, value)

    def dump(self) -> list[Any]:
        """JSON values; `load` reads them back."""
        return list(self._values.items())

    def load(self, rows: list[Any]) -> None:
        """Take what `dump` gave. Raises TypeError or ValueError when it did not."""
        for labels, value in rows:
            self._values[tuple(labels)] = value + 0  # a number, or TypeError

    def render(self) -> str:
        """The block of Prometheus' text format."""
        return exposition.scalars(self.metric, self._values.items())


class Histograms:
    """A histogram for each label set."""

    def __init__(self, metric: Metric, cap: int) -> None:
        self.metric = metric
        self._cap = cap
        self._values: dict[Labels, Histogram] = {}

    def observe(self, labels: Labels, value: float) -> None:
        """Count one value."""
        self._of(labels).observe(value)

    def merge(self, other: Histograms) -> None:
        """Add the counts of another process."""
        for labels, histogram in other._values.items():
            self._of(labels).merge(histogram)

    def dump(self) -> list[Any]:
        """JSON values; `load` reads them back."""
        return [[labels, histogram.sum, histogram.counts] for labels, histogram in self._values.items()]

    def load(self, rows: list[Any]) -> None:
        """Take what `dump` gave. Raises TypeError or ValueError when it did not."""
        for labels, total, buckets in rows:
            histogram = self._values[tuple(labels)] = Histogram(self.metric.bounds)
            histogram.sum = float(total)
            histogram.counts = [int(count) for count, _ in zip(buckets, histogram.counts, strict=True)]

    def render(self) -> str:
        """The block of Prometheus' text format."""
        return exposition.histograms(self.metric, self._values.items())

    def _of(self, labels: Labels) -> Histogram:
        return self._values.setdefault(_bounded(self._values, labels, self._cap), Histogram(self.metric.bounds))


class Family(Protocol):
    """What the parts below ask of a family."""

    metric: Metric

    def merge(self, other: Any) -> None:
        """Take what another process has counted."""

    def dump(self) -> list[Any]:
        """JSON values."""

    def load(self, rows: list[Any]) -> None:
        """Read them back."""


def merge(families: Iterable[Family], others: Iterable[Family]) -> None:
    """Take what another process has counted; both have the same families in the same order."""
    for family, other in zip(families, others, strict=True):
        family.merge(other)


def dump(families: Iterable[Family]) -> dict[str, Any]:
    """All of them as JSON values, by the names of their metrics."""
    return {family.metric.name: family.dump() for family in families}


def load(families: Iterable[Family], data: Mapping[str, Any]) -> None:
    """Take what `dump` gave. Raises KeyError, TypeError or ValueError when it did not."""
    for family in families:
        family.load(data[family.metric.name])


def _bounded(values: Mapping[Labels, Any], labels: Labels, cap: int) -> Labels:
    return labels if labels in values or len(values) < cap else (OTHER,) * len(labels)
