"""What is counted of migrations: where each stands in this process, what was decided, and whether the store is there.

A part of `Meters` with the same promises. Where a migration stands is the same in every process but for the seconds
that news takes; of several the one that is furthest is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import families
from .families import Scalars
from .metric_names import MIGRATION_DECISIONS, MIGRATION_SHARE, MIGRATION_STEP, STATE_LOST

WAKES = ("breached", "rollback", "bypassed", "replaced")
"""Events that somebody may be woken for. Their counters are there from the beginning, at 0: Prometheus sees no increase
in one that appears with its first event, and an alert would miss it."""


class MigrationCounts:
    """The counts of one process, or of several after `merge`."""

    def __init__(self, cap: int) -> None:
        """At most `cap` label sets of each metric; what is beyond lands in `_other`."""
        self._shares = Scalars(MIGRATION_SHARE, cap, max)
        self._steps = Scalars(MIGRATION_STEP, cap, max)
        self._decisions = Scalars(MIGRATION_DECISIONS, cap)
        self._lost = Scalars(STATE_LOST, cap, max)
        self._all = (self._shares, self._steps, self._decisions, self._lost)

    def stand(self, places: Mapping[str, tuple[int, float]]) -> None:
        """The step of every migration there is, 0 before the first, and the part of the traffic on its new target."""
        self._shares.replace(((migration,), share) for migration, (_, share) in places.items())
        self._steps.replace(((migration,), step) for migration, (step, _) in places.items())
        for migration in places:
            for event in WAKES:
                self._decisions.count((migration, event), 0)

    def decided(self, migration: str, event: str) -> None:
        """Something was decided about a migration, by whomever; this process is the one that counts it."""
        self._decisions.count((migration, event))

    def lost(self, seconds: float) -> None:
        """The shared state has been out of reach for so long; 0: it is there."""
        self._lost.replace([((), seconds)])

    def merge(self, other: MigrationCounts) -> None:
        """Add the counts of another process."""
        families.merge(self._all, other._all)

    def settle(self) -> None:
        """Forget what a process has now: it is gone, and only what it has counted remains."""
        for now in (self._shares, self._steps, self._lost):
            now.replace(())

    def dump(self) -> dict[str, Any]:
        """All counts as JSON values; `load` reads them back."""
        return families.dump(self._all)

    @classmethod
    def load(cls, data: dict[str, Any], cap: int) -> MigrationCounts:
        """The counts that `dump` described; KeyError, TypeError or ValueError when it did not."""
        counts = cls(cap)
        families.load(counts._all, data)
        return counts

    def render(self) -> list[str]:
        """The blocks of Prometheus' text format."""
        return [family.render() for family in self._all]
