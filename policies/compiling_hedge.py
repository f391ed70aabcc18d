"""What a route says of hedges, compiled, and checked against the rest of the route."""

from __future__ import annotations

from . import schema
from .errors import Path
from .findings import Findings
from .quantities import show_seconds
from .table import HedgeRule, Route


def hedge(written: schema.Hedge | None) -> HedgeRule | None:
    """The rule as written."""
    return HedgeRule(written.after, written.budget) if written is not None else None


def check_hedge(route: Route, path: Path, findings: Findings) -> None:
    """Note what makes a hedge unsafe, and what would keep it from ever being sent."""
    rule, where = route.hedge, (*path, "hedge")
    if rule is None:
        return
    if not route.idempotent:
        twice = "sends a request to a second target while the first may be running it; add `idempotent: true` if"
        findings.add(where, f"{twice} nothing is done twice that must be done once, else delete hedge")
    if not route.fallback and all(one.target.replicas == 1 for one in route.serve):
        findings.add(where, "has nowhere else to ask; name a fallback, or give the target several `urls`")
    elif route.retry.attempts == 1:
        findings.add(
            where, "is an attempt, and retry allows one in all; give retry.attempts 2 or more, or delete hedge"
        )
    if rule.after >= route.timeout:
        longest = show_seconds(route.timeout)
        findings.add((*where, "after"), f"is not before the deadline of {longest}; give less, or a longer timeout")
    if rule.budget == 0:
        findings.add((*where, "budget"), "is nothing, so that no hedge is ever sent; give a share, or delete hedge")
