"""What all workers have counted, as one process's page: those that serve, those that are gone, and those of a
supervisor that this one has succeeded.

A worker reports once a second, is asked again for each look at the page, and says its last word when it ends. So only
what it counted in the second before it was killed is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from backends.meters import CAP, Meters

from .child import Child, vitals
from .pool import Slot

log = logging.getLogger("pointsman.workers")

ROOM: Final = 10 * CAP
"""Label sets of one metric on the page. Each worker names the first `CAP` that it meets, another one others, and none
that was once named may go back into `_other`."""


class Counts:
    """Adds up meters. `own` are the supervisor's: reloads, and the policy in force."""

    def __init__(self, own: Meters, version: str) -> None:
        self._own = own
        self._version = version
        self._gone = Meters(version, ROOM)
        self._log_lost = self._spans_lost = 0
        self._before = Meters(version)

    def settle(self, child: Child) -> None:
        """A worker has ended: what it counted stays, what it had is gone."""
        self._log_lost += child.facts.log_lost
        self._spans_lost += child.facts.spans_lost
        ended = self._read(child.meters)
        ended.settle()
        self._gone.merge(ended)

    def inherit(self, snapshot: str) -> None:
        """What the supervisor before this one has counted until now."""
        self._before = self._read(snapshot)
        self._before.settle()

    def left(self, slots: Sequence[Slot]) -> str:
        """All of it, for the supervisor that succeeds this one: `inherit` takes it."""
        together = self.meters(slots)
        together.kept = self._lost(slots)
        for slot in slots:
            for name, count in self._falls(slot).items():
                together.kept[f"{name}/{slot.number}"] = count
        return together.snapshot().decode()

    def _lost(self, slots: Sequence[Slot]) -> dict[str, float]:
        """Lines and spans, by the names of their metrics."""
        facts = [slot.child.facts for slot in slots if slot.child is not None]
        lost = {
            "pointsman_log_lines_lost_total": self._log_lost + sum(each.log_lost for each in facts),
            "pointsman_spans_lost_total": self._spans_lost + sum(each.spans_lost for each in facts),
        }
        return {name: count + self._before.kept.get(name, 0.0) for name, count in lost.items()}

    def _falls(self, slot: Slot) -> dict[str, float]:
        """How often the worker has ended, by the keys of `metric_names.WORKERS`."""
        falls = {"restarts": slot.restarts, "hung": slot.hung}
        return {name: count + self._before.kept.get(f"{name}/{slot.number}", 0.0) for name, count in falls.items()}

    def meters(self, slots: Sequence[Slot]) -> Meters:
        """The sum of all, without what is known of each worker."""
        together = Meters(self._version, ROOM)
        for part in (self._own, self._before, self._gone):
            together.merge(part)
        for slot in slots:
            if slot.child is not None:
                together.merge(self._read(slot.child.meters))
        return together

    def _read(self, snapshot: str | None) -> Meters:
        """Nothing where there is none, or where another release has made it: around an upgrade that is no failure."""
        if snapshot is not None:
            try:
                return Meters.restore(snapshot.encode())
            except ValueError as error:
                log.warning("counts of another release are left out: %s", error)
        return Meters(self._version)

    def page(self, slots: Sequence[Slot], generation: int, stale: bool) -> str:
        """`/metrics`."""
        together = self.meters(slots)
        facts = [slot.child.facts for slot in slots if slot.child is not None]
        for slot in slots:
            known = {"up": float(slot.state == "serving")} | self._falls(slot)
            if slot.child is not None:
                known |= {"connections": float(slot.child.facts.connections)} | vitals(slot.child.process.pid)
            together.worker(slot.number, known)
        return together.render(
            {
                "pointsman_event_loop_lag_seconds": max((each.loop_lag for each in facts), default=0.0),
                "pointsman_policy_generation": float(generation),
                "pointsman_policy_stale": float(stale),
                "pointsman_handler_stale": float(any(each.problem is not None for each in facts)),
            }
            | self._lost(slots)
        )
