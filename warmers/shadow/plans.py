"""What of a route is copied now, and where to: read off the route and the migration that moves it."""

from __future__ import annotations

from dataclasses import dataclass

from policies.migrating import Measure
from policies.redaction import Keeping
from policies.table import Route, RouteTable, Target

BOUND = 0.97
"""Share of the A/A floor that is looked for where the policy has no gate of agreement: then it is only told."""


@dataclass(frozen=True, slots=True)
class Shadowing:
    """One route's copies."""

    migration: str
    window: str
    """Which window of evidence a comparison belongs to."""
    old: Target
    new: Target
    share: float
    """Part of the requests that `old` serves."""
    bound: float = BOUND
    """Share of the A/A floor that the candidate has to reach."""
    budget: float | None = None
    """US dollars a day for the whole fleet; None: no limit."""
    keep: Keeping | None = None
    """None: no difference is kept."""
    alone: bool = True
    """No client is served by `new` yet, so that only copies say how it does."""


def shadowing_of(route: Route, table: RouteTable) -> Shadowing | None:
    """What of `route` is copied now; None: nothing, or nothing that may be.

    The data boundary is a law here as everywhere: a candidate outside it gets no copy, whatever a shift says.
    """
    shift = route.shift
    if shift is None or shift.shadow <= 0.0:
        return None
    migration = table.migrations.get(shift.migration)
    old, new = table.targets.get(shift.old), table.targets.get(shift.new)
    if migration is None or old is None or new is None or route.boundary.refusal(new) is not None:
        return None
    member = next((one for one in migration.members if one.route == route.key), None)
    if member is None:
        return None
    bound = next((gate.allowed for gate in member.gates if gate.measure is Measure.AGREEMENT), BOUND)
    return Shadowing(
        shift.migration, shift.window, old, new, shift.shadow, bound, shift.budget, member.differences, shift.share == 0
    )
