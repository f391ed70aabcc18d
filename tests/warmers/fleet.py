"""Models, traces and terms for tests of the plan."""

from __future__ import annotations

from typing import Any

from policies.calendar import read_calendar
from policies.table import BedrockSpec, ImportCost, InstanceCost, Route, Target, Warmup, Weighted
from tests.policies.written import IMPORT, target
from warmers.arrivals import Arrivals, gather
from warmers.economics import Demand
from warmers.plan import Terms
from warmers.prices import open_prices

WEEK = 7 * 86_400.0
MONDAY = 1_783_296_000.0
HOURS = "Mon-Fri 06:00-20:00 UTC"
QUIET = gather([(60.0, 1)], WEEK)
"""One request a week."""
SPARSE = gather([(minute * 60.0, 1) for minute in range(0, 7 * 1440, 40)], WEEK)
"""One every forty minutes."""


def terms(**changes: Any) -> Terms:
    """The terms of `pointsman warm plan` as it is called without flags."""
    usual: dict[str, Any] = {
        "prices": open_prices(),
        "demand": Demand(0.01, 0.1),
        "idle_limit": 900.0,
        "intervals": (840.0, 3540.0),
        "calendars": ((HOURS, read_calendar(HOURS)),),
        "calendar_interval": 840.0,
        "monday": MONDAY,
    }
    return Terms(**usual | changes)


def gpu(name: str, instance: str = "ml.g6e.xlarge", **cost: Any) -> Target:
    """A dedicated endpoint."""
    return target(name, cost=InstanceCost(instance, **cost))


def imported(name: str, units: int = 1, **changes: Any) -> Target:
    """An imported model that is back within two minutes."""
    fields: dict[str, Any] = {"kind": "bedrock", "spec": BedrockSpec(IMPORT), "restore": (60.0, 120.0)}
    return target(name, **{"cost": ImportCost(units)} | fields | changes)


def model(name: str, *targets: Target, warm: tuple[Warmup, ...] = ()) -> Route:
    """A route that all goes to the first of its targets."""
    serve = tuple(Weighted(each, 1.0 if number == 0 else 0.0) for number, each in enumerate(targets))
    return Route(name, None, serve, warm=warm)


def fleet() -> list[tuple[Route, Arrivals]]:
    """A model that should move, one that should not, and one of which nothing can be said."""
    return [
        (model("mover", gpu("mover-gpu"), imported("mover-import")), SPARSE),
        (model("keeper", gpu("keeper-gpu", committed=1), imported("keeper-import", 2)), SPARSE),
        (model("mystery", target("mystery-gpu")), QUIET),
    ]
