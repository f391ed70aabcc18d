"""What `pointsman explain` says of a route's migration: where to, in which steps, and when a caller goes over."""

from __future__ import annotations

from typing import Any

from policies.choose import Plan, first_plan
from policies.migrating import Member, Migration, Shift
from policies.overlay import laid
from policies.quantities import show_share
from policies.table import Route, RouteTable

from .steps import told

FINE = 1e-4
"""To which share a caller's crossing is told."""


def lines(route: Route, key: str | None, table: RouteTable) -> list[str]:
    """The migration, when the route has one. What the fleet has made of it so far is not in a policy."""
    found = migration_of(route, table)
    if found is None:
        return []
    plan, member = found
    steps = "; ".join(told(step) for step in plan.steps)
    name = "" if plan.name == route.key else f" with the group {plan.name}"
    lines = [
        f"  migrates to {member.new}{name}, once it is started; where it stands: pointsman migrate status",
        f"    {steps}",
    ]
    over = crossing(route, member, key, table)
    if over is not None:
        lines.append(f"    this caller goes over at a share of {show_share(round(over, 3))}")
    return lines


def facts(route: Route, key: str | None, table: RouteTable) -> dict[str, Any] | None:
    """The same as JSON values."""
    found = migration_of(route, table)
    if found is None:
        return None
    plan, member = found
    return {
        "name": plan.name,
        "old": member.old,
        "new": member.new,
        "steps": [{"share": one.share, "shadow": one.shadow} for one in plan.steps],
        "goes_over_at": crossing(route, member, key, table),
    }


def migration_of(route: Route, table: RouteTable) -> tuple[Migration, Member] | None:
    """The migration that a route belongs to, and its part in it."""
    for plan in table.migrations.values():
        for member in plan.members:
            if member.route == route.key:
                return plan, member
    return None


def crossing(route: Route, member: Member, key: str | None, table: RouteTable) -> float | None:
    """The share at which a caller with that key goes to the new target, and stays; None without a key."""
    if key is None:
        return None
    low, high = 0.0, 1.0
    while high - low > FINE:
        middle = (low + high) / 2
        there = _at(middle, route, member, key, table).attempts[0].target.name == member.new
        low, high = (low, middle) if there else (middle, high)
    return high


def _at(share: float, route: Route, member: Member, key: str, table: RouteTable) -> Plan:
    shift = Shift(member.route, "", member.old, member.new, share)
    moved = laid(table, {member.route: shift}).routes[route.endpoint, route.component]
    return first_plan(moved, {}, key, float)
