"""A migration's steps for people: how long each holds, how many requests its gates need, and how long those take."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random  # noqa: TID251 - seeded: the same trace gives the same rates
from typing import Any

from policies.advice_migrate import days
from policies.migrating import Migration, Step
from policies.needs import Need, needs
from policies.quantities import show_seconds, show_share
from policies.sizes import Baseline
from policies.table import RouteTable
from warmers.traces import read_traces

from . import StartError
from .given import usable

ASSUMED = Baseline()
_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)/(s|min|h)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def add_traffic(parser: argparse.ArgumentParser) -> None:
    """Flags that say how much traffic the endpoints have."""
    parser.add_argument(
        "--rate",
        metavar="[NAME=]RATE",
        action="append",
        default=[],
        help="traffic of an endpoint, or of all others, such as 5/s: how long migrations take; again for more",
    )
    parser.add_argument("--trace", metavar="TRACE", action="append", default=[], help="the same from recorded arrivals")


def traffic(arguments: argparse.Namespace, table: RouteTable) -> dict[str, float]:
    """Requests a second by key of the route, as far as the flags say. Raises StartError."""
    known: dict[str, float] = {}
    routes = [route.key for route in table.routes.values()]
    if arguments.trace:
        known |= _traced([Path(path) for path in arguments.trace], routes)
    for text in sorted(arguments.rate, key=lambda text: "=" in text):
        name, _, written = text.rpartition("=")
        if name and name not in routes:
            message = f"--rate {text}: the policy has no endpoint {name}; it has: {', '.join(sorted(routes))}"
            raise StartError(message)
        found = _RATE.fullmatch(written)
        if found is None or not float(found[1]):
            message = f"--rate {text} is not a rate; write it like 5/s, 0.5/s or 300/min"
            raise StartError(message)
        per_second = float(found[1]) / _SECONDS[found[2]]
        known |= dict.fromkeys([name] if name else [key for key in routes if key not in known], per_second)
    return known


def _traced(paths: list[Path], routes: list[str]) -> dict[str, float]:
    traces = usable("--trace", lambda: read_traces(paths, Random(0)))  # noqa: S311
    found = {name: traces.pick(name) for name in traces.names if name in routes}
    if not found:
        message = f"--trace: no series is called like an endpoint of the policy; there are: {', '.join(traces.names)}"
        raise StartError(message)
    return {name: arrivals.requests / arrivals.span for name, arrivals in found.items() if arrivals.requests}


def lines(plan: Migration, rates: Mapping[str, float]) -> Iterator[str]:
    """The plan and its steps, a line each."""
    moves = ", ".join(f"{one.route}: {one.old} -> {one.new}" for one in plan.members)
    yield f"migration {plan.name} ({moves}); at most {show_share(plan.false_alarms)} false alarms in all"
    wanted = needs(plan, rates)
    for need in wanted:
        yield f"  {need.step + 1}. {told(plan.steps[need.step])}: {_needed(need, plan.steps[need.step])}"
    if any(need.measure for need in wanted):
        yield (
            f"  assumed: {show_share(ASSUMED.errors)} errors, a p95 of 2.7 medians, and a new target as good as the "
            "old one; nine of ten migrations need no more"
        )


def told(step: Step) -> str:
    """One step in words: `share 5%, hold 24h`."""
    parts = [f"share {show_share(step.share)}"] if step.share else []
    parts += [f"shadow {show_share(step.shadow)}"] if step.shadow else []
    parts += [f"hold {show_seconds(step.hold)}"] if step.hold else []
    parts += [f"until {step.approve} approves"] if step.approve else []
    return ", ".join(parts)


def _needed(need: Need, step: Step) -> str:
    if need.measure is None:
        return "no gate has to see requests"
    kind = "requests on the new side" if step.share else "copies"
    text = f"{need.measure.value} needs {need.new:,} {kind}, {need.requests:,} of {need.route}'s requests"
    return text if need.seconds is None else f"{text}: {days(need.seconds)} at its traffic"


def as_json(plan: Migration, rates: Mapping[str, float]) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "name": plan.name,
        "members": [{"route": one.route, "old": one.old, "new": one.new} for one in plan.members],
        "false_alarms": plan.false_alarms,
        "steps": [
            {
                "share": plan.steps[need.step].share,
                "shadow": plan.steps[need.step].shadow,
                "hold_seconds": plan.steps[need.step].hold,
                "approve": plan.steps[need.step].approve,
                "needs": None if need.measure is None else need.measure.value,
                "new_side": need.new,
                "requests": need.requests,
                "seconds": need.seconds,
                "route": need.route,
            }
            for need in needs(plan, rates)
        ],
    }
