"""PURE. What the new target of a migration would cost with all of the traffic, as a part of what the old one costs.

At a share of 1 % everything that is paid whether it is used or not looks a hundred times too dear, so nothing measured
at a step says what the end will cost. It is worked out from what the targets run on, at dated prices: an imported
model as if its copies were always on, which is the most it can cost, and its storage; instances by the hour. Of the
old target only what could be saved counts: instances that are paid for whether they are used or not are no reason to
move.
"""

from __future__ import annotations

from policies.evidence import Evidence
from policies.migrating import Measure, Member, Migration
from policies.table import ImportCost, InstanceCost, RouteTable, Target

from ..economics import DAY, instances_usd, storage_usd, windows_usd
from ..prices import Prices
from ..residency import WINDOW

NOTHING_TO_SAVE = 1000.0
"""Stands for an infinite part, where the old target's cost is paid in any case."""


def projected(plan: Migration, table: RouteTable, prices: Prices, now: float) -> dict[str, Evidence]:
    """By route the evidence for its gate of cost; a route without the gate, or of unknown cost, is not in it."""
    found: dict[str, Evidence] = {}
    for member in plan.members:
        if any(gate.measure is Measure.COST for gate in member.gates):
            part = cost_part(member, table, prices)
            found |= {member.route: Evidence(cost=(now, part))} if part is not None else {}
    return found


def cost_part(member: Member, table: RouteTable, prices: Prices) -> float | None:
    """The new target's cost as a part of the old one's; None where the policy or the prices do not say."""
    old, new = (table.targets.get(name) for name in (member.old, member.new))
    if old is None or new is None:
        return None
    try:
        after, before = month_usd(new, prices), month_usd(old, prices, avoidable=True)
    except ValueError:  # no price of it
        return None
    if after is None or before is None:
        return None
    return after / before if before > 0 else NOTHING_TO_SAVE


def month_usd(target: Target, prices: Prices, *, avoidable: bool = False) -> float | None:
    """What a target costs a month, or what of it would be saved without it; None when it does not say what it runs on.

    Raises:
        ValueError: there is no price of it.
    """
    match target.cost:
        case ImportCost(units=units, version=version, copies=copies):
            rate = prices.unit_minute(target.region, version).usd
            always = windows_usd(units, rate, DAY / WINDOW * prices.window_days, copies)
            return always + storage_usd(units, prices.storage.usd)
        case InstanceCost(instance=instance, count=count, share=share, committed=committed):
            paid = count - committed if avoidable else count
            price = prices.instance_hour(target.region, instance).usd
            return instances_usd(price, prices.instance_hours, paid, share)
        case _:
            return None
