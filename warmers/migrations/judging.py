"""Gates asked once for each evidence: most looks find what the one before them found.

A controller looks every few seconds at windows of days, and weighing histograms is most of its work. What gates say
follows from the plan, the state and the counts alone (`policies.gate.weighed`), so it is kept until one of these
changes; only its age is looked at each time.
"""

from __future__ import annotations

from collections.abc import Mapping

from policies.evidence import Evidence
from policies.gate import dated, weighed
from policies.migrating import Migration
from policies.migration_state import State
from policies.verdicts import Verdict

_Known = tuple[Migration, State, Mapping[str, tuple[object, ...]]]


class Judge:
    """`policies.gate.judge` of one controller, which remembers the last answers of each migration."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[_Known, tuple[Verdict, ...]]] = {}

    def judge(self, plan: Migration, state: State, seen: Mapping[str, Evidence], now: float) -> tuple[Verdict, ...]:
        """As `policies.gate.judge`."""
        known = (plan, state, {route: _counted(each) for route, each in seen.items()})
        before = self._known.get(plan.name)
        if before is None or before[0] != known:
            before = self._known[plan.name] = known, weighed(plan, state, seen)
        return dated(before[1], seen, now)


def _counted(seen: Evidence) -> tuple[object, ...]:
    """What gates weigh: all but when it was written."""
    return seen.old, seen.new, seen.agreement, seen.cost[1:] if seen.cost is not None else None
