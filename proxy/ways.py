"""Ways to targets, looked up once while a policy is in force."""

from __future__ import annotations

from policies.choose import Attempt, Plan
from policies.table import Route

from .policy_source import InForce
from .services import Services


class Way:
    """To one copy of a target: who lets in, what is known of it, and what asks it. These stay the same while a policy
    is in force."""

    __slots__ = ("ask", "gate", "place")

    def __init__(self, attempt: Attempt, services: Services) -> None:
        self.gate = services.gates.of(attempt.target)
        self.place = services.book.of(attempt.target, attempt.replica)
        self.ask = services.backends[attempt.target.kind].invoke


class Lane:
    """Where a request sets out: its plan, the way to the first of its targets, and the count of its route."""

    __slots__ = ("flight", "plan", "way")

    def __init__(self, plan: Plan, route: Route, policy: InForce | None, services: Services) -> None:
        self.plan = plan
        self.way = way_of(plan.attempts[0], policy, services)
        self.flight = services.meters.flight(route.key)


def way_of(attempt: Attempt, policy: InForce | None, services: Services) -> Way:
    """To where `attempt` leads, looked up once while a policy is in force. Afterwards what is known of a target may be
    forgotten as soon as nobody is there: who sets out by an older policy looks anew."""
    if policy is None or policy is not services.policy.current:
        return Way(attempt, services)
    key = attempt.target.name, attempt.replica
    way: Way | None = policy.ways.get(key)
    if way is None:
        way = policy.ways[key] = Way(attempt, services)
    return way
