"""PURE. What the new target of a migration would cost with all of the traffic, as a part of what the old one costs.

At a share of 1 % everything that is paid whether it is used or not looks a hundred times too dear, so nothing measured
at a step says what the end will cost. It is worked out from what the targets run on, at dated prices: an imported model
by the billing windows that all of the route's requests and its warm-ups would open (`usage`), and its storage;
instances by the hour. Of the old target only what could be saved counts: instances that are paid for whether they are
used or not are no reason to move.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from policies.evidence import Evidence
from policies.migrating import Measure, Member, Migration
from policies.table import ImportCost, InstanceCost, Route, RouteTable, Target

from ..arrivals import Arrivals
from ..economics import instances_usd
from ..prices import Prices
from ..usage import import_usd, lately

NOTHING_TO_SAVE = 1000.0
"""Stands for an infinite part, where the old target's cost is paid in any case."""


def projected(
    plan: Migration, table: RouteTable, prices: Prices, seen: Mapping[str, Evidence], now: float
) -> dict[str, Evidence]:
    """By route the evidence for its gate of cost; a route without the gate, or of unknown cost, is not in it.

    `seen` has by route when it was asked for.
    """
    found: dict[str, Evidence] = {}
    for member in plan.members:
        if any(gate.measure is Measure.COST for gate in member.gates):
            busy = seen.get(member.route, Evidence()).busy
            part = cost_part(member, table, prices, busy, now)
            found |= {member.route: Evidence(cost=(now, *part))} if part is not None else {}
    return found


def dated(evidence: Evidence, now: float) -> Evidence:
    """The same projection, found at `now` to be what it was."""
    return evidence if evidence.cost is None else replace(evidence, cost=(now, *evidence.cost[1:]))


def cost_part(
    member: Member, table: RouteTable, prices: Prices, busy: Collection[int], now: float
) -> tuple[float, float] | None:
    """The new target's cost as a part of the old one's, at least and at most; None where nobody has said, or priced it.

    `busy` has the slots of `policies.evidence` in which the route was asked for, up to `now`.
    """
    old, new = (table.targets.get(name) for name in (member.old, member.new))
    route = next((one for one in table.routes.values() if one.key == member.route), None)
    if old is None or new is None or route is None:
        return None
    parts: list[float] = []
    for arrivals in lately(busy, now):
        try:
            after, before = (
                _month_usd(new, route, arrivals, prices),
                _month_usd(old, route, arrivals, prices, left=True),
            )
        except ValueError:  # no price of it
            return None
        if after is None or before is None:
            return None
        parts.append(after / before if before > 0 else NOTHING_TO_SAVE)
    return min(parts), max(parts)


def _month_usd(target: Target, route: Route, arrivals: Arrivals, prices: Prices, *, left: bool = False) -> float | None:
    """What a target costs a month, or what of it would be saved without it; None when it does not say what it runs on.

    Raises:
        ValueError: there is no price of it.
    """
    match target.cost:
        case ImportCost():
            warmup = next((one for one in route.warm if one.target.name == target.name), None)
            return import_usd(target, warmup, arrivals, prices)
        case InstanceCost(instance=instance, count=count, share=share, committed=committed):
            paid = count - committed if left else count
            price = prices.instance_hour(target.region, instance).usd
            return instances_usd(price, prices.instance_hours, paid, share)
        case _:
            return None
