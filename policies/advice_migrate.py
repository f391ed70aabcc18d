"""What a valid migration asks for that will not happen, or not as the person who wrote it may think. Warnings all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .calendar import open_spans
from .errors import WARNING, Problem
from .gate import chance_of
from .migrating import Measure, Member, Migration, Step, gates_at
from .needs import needs
from .quantities import show_seconds
from .sizes import Baseline, visible
from .table import Route, RouteTable

WEEK = 7 * 86_400.0
DAY = 86_400.0
HARDLY = 1.25
"""Times its hold that a step may last without a word; one that waits for a person, a day."""


def advise_migrations(table: RouteTable) -> Iterator[Problem]:
    """What can be said without knowing the traffic."""
    routes = {route.key: route for route in table.routes.values()}
    for migration in table.migrations.values():
        if migration.freeze is not None and open_spans(migration.freeze, 0, WEEK) == ((0, WEEK),):
            yield _at(migration, migration.members[0], ".freeze", "covers the whole week, so that it never grows")
        for member in migration.members:
            yield from _of_member(migration, member, routes[member.route], table)


def _of_member(migration: Migration, member: Member, route: Route, table: RouteTable) -> Iterator[Problem]:
    new = table.targets[member.new]
    measures = {gate.measure for gate in member.gates}
    if not measures:
        told = "has no gates: time alone decides, whatever clients meet; give at least `errors: at most +0.2 points`"
        yield _at(migration, member, "", told)
    elif Measure.ERRORS not in measures:
        yield _at(migration, member, ".gates", "does not look at errors; add `errors: at most +0.2 points`")
    asked = {gate.measure for step in migration.steps for gate in gates_at(member, step)}
    never = sorted(one.value for one in measures - asked)
    if never:
        told = (
            f"{', '.join(never)}: never asked in these steps, since at 100% the old target answers nothing to compare "
            "with; begin with a smaller share, or with a shadow"
        )
        yield _at(migration, member, ".gates", told)
    if Measure.COST in measures:
        for name in (member.old, member.new):
            if table.targets[name].cost is None:
                told = f"can't be known while target {name} has no `cost`: the gate will not be green; add it"
                yield _at(migration, member, ".gates.cost_at_full_share", told)
    if table.targets[member.old].kind == "bedrock" and not member.keep.trust:
        told = (
            "what an import could take back can't be known: nothing grows beyond the first share, and a way back "
            f"takes minutes; if you know that it can take all, say `keep: {{{member.old}: {{unknown: trust}}}}`"
        )
        yield _at(migration, member, ".keep", told)
    budgets = [number for number, step in enumerate(migration.steps) if step.budget is not None]
    if budgets and new.kind == "bedrock" and new.cost is None:
        told = f"is spent as a large import would, since {new.name} has no `cost`; add `cost: {{units: 2}}`"
        yield _at(migration, member, f".steps[{budgets[0]}].budget", told)
    if new.restore is not None and all(one.target.name != new.name for one in route.warm):
        told = (
            f"{new.name} may be scaled to zero, and a small share of the traffic does not keep it loaded: most of what "
            f"it gets will meet it cold; add `warm: {{{new.name}: {{}}}}`"
        )
        yield _at(migration, member, ".to", told)


def advise_times(plan: Migration, rates: Mapping[str, float]) -> Iterator[Problem]:
    """What the traffic makes of the plan: steps that will last longer than their hold, since gates have to see enough.

    `rates` are requests a second by key of the route; a route without one is left out.
    """
    for need in needs(plan, rates):
        step = plan.steps[need.step]
        if need.seconds is None or need.measure is None or need.seconds <= (HARDLY * step.hold or DAY):
            continue
        member = next(one for one in plan.members if one.route == need.route)
        told = (
            f"{_meant(step)}, and {need.measure.value} needs about {need.new:,} requests on the new "
            f"side, {days(need.seconds)} at {rates[need.route]:g}/s"
        )
        within = rates[need.route] * (step.share or step.shadow) * step.hold
        if need.measure is Measure.ERRORS and within >= 1:
            allowed = next(gate.allowed for gate in member.gates if gate.measure is Measure.ERRORS)
            least = visible(within, step, Baseline(), chance_of(plan, need.step + 1, need.step))
            told += (
                f"; the {within:,.0f} of its hold can't see +{allowed * 100:g} points, only +{least * 100:.2g} or more"
            )
        else:
            told += "; it lasts until then, or until somebody promotes it"
        yield _at(plan, member, f".steps[{need.step}]", told)


def _meant(step: Step) -> str:
    return f"holds {show_seconds(step.hold)}" if step.hold else f"waits for {step.approve}"


def days(seconds: float) -> str:
    """A stretch of time for people: `40 minutes`, `7 hours`, `3.5 days`."""
    if seconds < 2 * 3600:
        minutes = max(1, round(seconds / 60))
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    return f"{round(seconds / 3600)} hours" if seconds < 2 * DAY else f"{seconds / DAY:.1f} days"


def _at(migration: Migration, member: Member, key: str, message: str) -> Problem:
    path = f"endpoints.{member.route.replace('/', '.components.')}.migrate{key}"
    return Problem(path, migration.source_line, message, WARNING)
