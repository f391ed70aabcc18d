"""What is counted of targets' limits: what was found, who is inside, who waits, and who was refused.

A part of `Meters` with the same promises: plain additions, a bounded number of label sets, and counts of several
processes that add up. Each process finds limits of its own, so that the least of them is shown beside their sum: of one
that is strangled the sum says little.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import families
from .families import Scalars
from .metric_names import TARGET_IN_FLIGHT, TARGET_LEAST_LIMIT, TARGET_LIMIT, TARGET_REFUSED, TARGET_WAITING


class LimitCounts:
    """The counts of one process, or of several after `merge`."""

    def __init__(self, cap: int) -> None:
        """At most `cap` label sets of each metric; what is beyond lands in `_other`."""
        self._limits = Scalars(TARGET_LIMIT, cap)
        self._least = Scalars(TARGET_LEAST_LIMIT, cap, min)
        self._inside = Scalars(TARGET_IN_FLIGHT, cap)
        self._waiting = Scalars(TARGET_WAITING, cap)
        self._refused = Scalars(TARGET_REFUSED, cap)
        self._now = (self._limits, self._least, self._inside, self._waiting)
        self._all = (*self._now, self._refused)

    def states(self, states: Iterable[tuple[str, int, int, int]]) -> None:
        """What each target's gate is now: name, limit, requests inside, requests waiting."""
        rows = [((name,), limit, inside, waiting) for name, limit, inside, waiting in states]
        self._limits.replace((labels, limit) for labels, limit, _, _ in rows)
        self._least.replace((labels, limit) for labels, limit, _, _ in rows)
        self._inside.replace((labels, inside) for labels, _, inside, _ in rows)
        self._waiting.replace((labels, waiting) for labels, _, _, waiting in rows)

    def refused(self, target: str) -> None:
        """A request found no place there."""
        self._refused.count((target,))

    def settle(self) -> None:
        """Forget what a process has now: it is gone."""
        for family in self._now:
            family.replace(())

    def merge(self, other: LimitCounts) -> None:
        """Add the counts of another process."""
        families.merge(self._all, other._all)

    def dump(self) -> dict[str, Any]:
        """All counts as JSON values; `load` reads them back."""
        return families.dump(self._all)

    @classmethod
    def load(cls, data: dict[str, Any] | None, cap: int) -> LimitCounts:
        """The counts that `dump` described, none where a release that knew of none left `data` out; KeyError, TypeError
        or ValueError when it is something else."""
        counts = cls(cap)
        if data is not None:
            families.load(counts._all, data)
        return counts

    def render(self) -> list[str]:
        """The blocks of Prometheus' text format."""
        return [family.render() for family in self._all]
