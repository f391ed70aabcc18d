"""Where a request goes while its target is cold: to a warm one of the same route, or nowhere.

The route's fallbacks take over, those first that are not ejected, and what the plan had left; all of them lie inside
the route's boundary, since plans and fallbacks hold nothing else. Nothing has run, so no repeat is charged.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from .choose import Attempt, Plan
from .standing import Draw, Views, health, replica
from .table import Route


def spilled(
    route: Route, plan: Plan, out: Collection[str], views: Views, draw: Draw, body_size: int, reason: str
) -> Plan | None:
    """The plan without the targets named in `out`; None when there is no other place. `reason` ends its `why`."""
    places = {attempt.target.name: attempt.target for attempt in plan.attempts}
    for target in route.reserves:
        places.setdefault(target.name, target)
    order = [target for target in places.values() if target.name not in out and target.body_limit >= body_size]
    if not order:
        return None
    order.sort(key=lambda target: health(target, views) == 0.0)
    budget = max(1, plan.rule.attempts - plan.made)
    attempts = tuple(Attempt(target, replica(target, views, None, draw)) for target in order[:budget])
    if len(order) == 1 and not plan.client_retries:  # a target that is alone is tried again, as ever
        (only,) = attempts
        attempts = tuple(replace(only, replica=(only.replica + n) % only.target.replicas) for n in range(budget))
    why = f"{route.rule}: {order[0].name}, cold-spill: {reason}"
    return replace(plan, attempts=attempts, why=why, repeats=0, wait=0.0, charged=False)
