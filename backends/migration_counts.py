"""What is counted of migrations: where each stands in this process, what was decided, and whether the store is there.

A part of `Meters` with the same promises. Where a migration stands is the same in every process but for the seconds
that news takes; of several the one that is furthest is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import exposition
from .metric_names import MIGRATION_DECISIONS, MIGRATION_SHARE, MIGRATION_STEP, OTHER, STATE_LOST
from .series import Labels


class MigrationCounts:
    """The counts of one process, or of several after `merge`."""

    def __init__(self, cap: int) -> None:
        """At most `cap` label sets of each metric; what is beyond lands in `_other`."""
        self._cap = cap
        self._shares: dict[Labels, float] = {}
        self._steps: dict[Labels, int] = {}
        self._decisions: dict[Labels, int] = {}
        self._lost: float | None = None

    def stand(self, places: Mapping[str, tuple[int, float]]) -> None:
        """The step of every migration there is, 0 before the first, and the part of the traffic on its new target."""
        self._shares, self._steps = {}, {}
        for migration, (step, share) in places.items():
            labels = self._labels(self._shares, (migration,))
            self._shares[labels], self._steps[labels] = share, step

    def decided(self, migration: str, event: str) -> None:
        """This process has moved a migration."""
        labels = self._labels(self._decisions, (migration, event))
        self._decisions[labels] = self._decisions.get(labels, 0) + 1

    def lost(self, seconds: float) -> None:
        """The shared state has been out of reach for so long; 0: it is there."""
        self._lost = seconds

    def merge(self, other: MigrationCounts) -> None:
        """Add the counts of another process."""
        for labels, share in other._shares.items():
            labels = self._labels(self._shares, labels)
            self._shares[labels] = max(share, self._shares.get(labels, 0.0))
        for labels, step in other._steps.items():
            labels = self._labels(self._steps, labels)
            self._steps[labels] = max(step, self._steps.get(labels, 0))
        for labels, count in other._decisions.items():
            labels = self._labels(self._decisions, labels)
            self._decisions[labels] = self._decisions.get(labels, 0) + count
        if other._lost is not None:
            self._lost = max(other._lost, self._lost or 0.0)

    def settle(self) -> None:
        """Forget what a process has now: it is gone, and only what it has counted remains."""
        self._shares, self._steps, self._lost = {}, {}, None

    def dump(self) -> dict[str, Any]:
        """All counts as JSON values; `load` reads them back."""
        return {
            "shares": list(self._shares.items()),
            "steps": list(self._steps.items()),
            "decisions": list(self._decisions.items()),
            "lost": self._lost,
        }

    @classmethod
    def load(cls, data: dict[str, Any], cap: int) -> MigrationCounts:
        """The counts that `dump` described; KeyError, TypeError or ValueError when it did not."""
        counts = cls(cap)
        counts._shares = {tuple(labels): float(share) for labels, share in data["shares"]}
        counts._steps = {tuple(labels): int(step) for labels, step in data["steps"]}
        counts._decisions = {tuple(labels): int(count) for labels, count in data["decisions"]}
        counts._lost = None if data["lost"] is None else float(data["lost"])
        return counts

    def render(self) -> list[str]:
        """The blocks of Prometheus' text format."""
        return [
            exposition.scalars(MIGRATION_SHARE, self._shares.items()),
            exposition.scalars(MIGRATION_STEP, self._steps.items()),
            exposition.scalars(MIGRATION_DECISIONS, self._decisions.items()),
            exposition.scalars(STATE_LOST, [] if self._lost is None else [((), self._lost)]),
        ]

    def _labels(self, family: dict[Labels, Any], labels: Labels) -> Labels:
        return labels if labels in family or len(family) < self._cap else (OTHER,) * len(labels)
