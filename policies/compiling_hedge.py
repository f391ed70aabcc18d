"""What a route says of hedges, compiled, and checked against the rest of the route."""

from __future__ import annotations

from . import schema
from .errors import Path
from .findings import Findings
from .quantities import show_seconds
from .table import HedgeRule, Route

FLOOR = 0.02
"""Seconds that a percentile counts for at least, unless written: below it a loaded machine's own pauses are hedged."""


def hedge(written: schema.Hedge | None) -> HedgeRule | None:
    """The rule as written."""
    if written is None:
        return None
    seconds, percentile = written.after
    if percentile is None:
        return HedgeRule(seconds, written.budget)
    return HedgeRule(written.until_known or 0.0, written.budget, percentile, written.at_least or FLOOR)


def check_hedge(route: Route, block: schema.Component, path: Path, findings: Findings) -> None:
    """Note what makes a hedge unsafe, and what would keep it from ever being sent."""
    rule, written, where = route.hedge, block.hedge, (*path, "hedge")
    if rule is None or written is None:
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
    if rule.budget == 0:
        findings.add((*where, "budget"), "is nothing, so that no hedge is ever sent; give a share, or delete hedge")
    _check_times(route, rule, written, where, findings)


def _check_times(route: Route, rule: HedgeRule, written: schema.Hedge, where: Path, findings: Findings) -> None:
    if rule.percentile is not None and written.until_known is None:
        told = f"is p{rule.percentile}, which has to be learnt first; give until_known, the time that holds till then"
        findings.add((*where, "after"), told)
    times = {"after": rule.after} if rule.percentile is None else {"until_known": rule.after, "at_least": rule.floor}
    for key, seconds in times.items():
        if seconds >= route.timeout:
            longest = show_seconds(route.timeout)
            findings.add((*where, key), f"is not before the deadline of {longest}; give less, or a longer timeout")
    for key in ("at_least", "until_known"):
        if rule.percentile is None and getattr(written, key) is not None:
            findings.add((*where, key), "belongs to a percentile; write after: p95, or delete it")
