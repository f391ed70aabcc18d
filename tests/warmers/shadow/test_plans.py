"""What of a route is copied."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.migrating import Shift
from policies.redaction import Keeping, Redaction
from policies.table import Route, RouteTable
from tests.warmers.shadow.scene import INSIDE_CONTAINERS, NEW, OLD, route, table_of
from warmers.shadow import Shadowing, shadowing_of
from warmers.shadow.plans import BOUND


def test_shadowing_is_read_off_route_and_migration() -> None:
    """Share, window and budget are the shift's; bound and differences the migration's."""
    keep = Keeping("/tmp/differences", Redaction(mask=True))
    found = route(0.05, budget=40.0)
    expected = Shadowing("chat", "w1", OLD, NEW, 0.05, 0.9, 40.0, keep)
    assert shadowing_of(found, table_of(found, keep, bound=0.9)) == expected


def test_without_a_gate_a_bound_is_still_looked_for() -> None:
    """Agreement is told although nothing depends on it."""
    found = route()
    plan = shadowing_of(found, table_of(found, bound=None))
    assert plan is not None
    assert plan.bound == BOUND


@pytest.mark.parametrize(
    "found",
    [
        route(0.0),
        route(shift=None),
        route(boundary=INSIDE_CONTAINERS),
        route(shift=Shift("other", "w1", "old", "new", 0.0, 0.1)),
        route(shift=Shift("chat", "w1", "gone", "new", 0.0, 0.1)),
        route(shift=Shift("chat", "w1", "old", "gone", 0.0, 0.1)),
        replace(route(), endpoint="another"),
    ],
)
def test_nothing_else_is_copied(found: Route) -> None:
    """No shadow step, a candidate outside the data boundary, or names that the policy lacks: no copy."""
    table: RouteTable = table_of(found)
    assert shadowing_of(found, table) is None
