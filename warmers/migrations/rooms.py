"""How much of a route's traffic the old target is shown able to take, as a part of all of it.

Shown by what it has now against what it had when it carried everything: instances, copies or replicas that are there,
over the most that were there while nothing, or next to nothing, had left it. The most, since an endpoint that scales
by load has fewer at night: at night it is then shown to take less than it could, and nothing grows. That number is kept
in the shared state, so that it survives the controller.

What is there says nothing of a target that is full: while clients wait for a place at it, or while it is cold, nothing
is shown. Of an import nothing can be shown at all. What is not shown is left out, unless the policy says to trust it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping

from backends.state import Item, Store
from policies.migrating import Migration
from policies.migration_state import Phase, State
from policies.table import RouteTable, Target

log = logging.getLogger("pointsman.migrate")

GROUP = "capacity"
NEXT_TO_NOTHING = 0.1
"""Part of the traffic that may have left the old target while it counts as carrying everything."""


AT_REST, ROLLING = 15.0, 2.0
"""Seconds that what was found out about a target may be old: a rollback looks again before each part of it."""


def never(target: Target) -> bool:
    """Nothing is known of how busy targets are."""
    return False


class Rooms:
    """What old targets can take."""

    def __init__(
        self,
        store: Store,
        units: Callable[[Target, float], Awaitable[float | None]],
        strained: Callable[[Target], bool] = never,
    ) -> None:
        """`units` says what is there of a target, found out at most so many seconds ago, None where nobody can say.

        `strained` says of a target whether it has all that it can take now: it is full, or it is cold.
        """
        self._store = store
        self._units = units
        self._strained = strained
        self._damaged: set[str] = set()

    async def shown(self, plan: Migration, state: State, table: RouteTable) -> Mapping[str, float]:
        """By route, 0 to 1; a route of whose target nothing can be said is not in it, as where what was measured is
        damaged. Raises StoreError."""
        most, rooms = await self._store.items(GROUP), {}
        for member in plan.members:
            target = table.targets.get(member.old)
            if target is None or self._strained(target):
                continue
            units = await self._units(target, ROLLING if state.phase is Phase.ROLLING_BACK else AT_REST)
            if units is None:
                if member.keep.trust:
                    rooms[member.route] = member.keep.can_take
                continue
            key = f"{plan.identity} {state.run} {member.route}"
            try:
                before = _measure(most.get(key))
            except ValueError:
                self._complain(key)
                continue
            if units > 0 and (before is None or (units > before and state.in_force[0] <= NEXT_TO_NOTHING)):
                await self._store.put(GROUP, key, repr(units).encode())
                before = units
            rooms[member.route] = min(1.0, units / before) if before else 0.0
        return rooms

    def _complain(self, key: str) -> None:
        if key not in self._damaged:
            self._damaged.add(key)
            log.error(
                "the item %r of %r in the shared state is no number: delete it, to have it measured anew", key, GROUP
            )


def _measure(item: Item | None) -> float | None:
    """Raises ValueError for what is no number of units."""
    if item is None:
        return None
    found = float(item.value)
    if not 0.0 < found < math.inf:
        raise ValueError
    return found
