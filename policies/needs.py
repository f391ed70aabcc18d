"""How many requests each step of a migration needs before its gates can say anything, and how long that takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .gate import chance_of
from .migrating import Measure, Migration, gates_at
from .sizes import Baseline, required


@dataclass(frozen=True, slots=True)
class Need:
    """What one step needs of the route that needs most."""

    step: int
    route: str
    measure: Measure | None
    """The gate that needs most; None: the step has no gate that counts requests."""
    new: int
    """Requests (or copies) on the new side."""
    requests: int
    """Requests of the route in all, of which those are the step's share."""
    seconds: float | None
    """How long that takes at the route's rate; None: no rate is known."""


def needs(
    plan: Migration, rates: Mapping[str, float] | None = None, baselines: Mapping[str, Baseline] | None = None
) -> tuple[Need, ...]:
    """What every step needs. `rates` are requests a second by key of the route."""
    return tuple(_need(plan, index, rates or {}, baselines or {}) for index in range(len(plan.steps)))


def _need(plan: Migration, index: int, rates: Mapping[str, float], baselines: Mapping[str, Baseline]) -> Need:
    at = plan.steps[index]
    chance = chance_of(plan, index + 1, index)
    found: list[Need] = []
    for member in plan.members:
        baseline = baselines.get(member.route, Baseline())
        counted = [(required(gate, at, baseline, chance), gate.measure) for gate in gates_at(member, at)]
        new, measure = max(counted, key=lambda one: one[0], default=(0, None))
        share = at.share or at.shadow
        requests = math.ceil(new / share)
        rate = rates.get(member.route)
        found.append(
            Need(index, member.route, measure if new else None, new, requests, requests / rate if rate else None)
        )
    return max(found, key=lambda one: (one.seconds or 0.0, one.requests))
