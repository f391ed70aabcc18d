"""Where a migration stands, laid over the routes of a policy: the one thing about it that a request meets.

`laid` makes a route table in which every migrating route serves from its old and its new target, with weights. It is
made when a share changes and swapped in by one reference, so that a request pays nothing for a migration but the hash
that any split costs. Nothing is shared and nothing is remembered: which side a key is on follows from the key, the two
targets' names and the share.

A key goes to the new target when `share / -ln(h_new) > (1 - share) / -ln(h_old)` (weighted rendezvous hashing, see
`choose`). The left side grows with the share and the right side falls, so a key changes sides once while the share
grows from 0 to 100 %, at a share of its own, and at the same one in every process and after every restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from .migrating import START, Migration, Shift
from .migration_state import Phase, State
from .table import Route, RouteTable, Target, Weighted

Overlay = Mapping[str, Shift]
"""By key of the route. A route that no migration has touched is not in it."""


def overlay(plans: Iterable[Migration], states: Mapping[str, State]) -> Overlay:
    """What the states, by name of migration, mean for the routes of the plans.

    A state of another identity is of another migration and moves nothing: everything stays with the old target.
    """
    found: dict[str, Shift] = {}
    for plan in plans:
        state = states.get(plan.name)
        if state is None or state.identity != plan.identity or state.phase in (Phase.PLANNED, Phase.ROLLED_BACK):
            continue
        budget = plan.steps[state.step].budget if START < state.step < len(plan.steps) else None
        share, shadow = state.in_force
        window, bypassed = state.window_id, state.bypass is not None
        for one in plan.members:
            found[one.route] = Shift(plan.name, window, one.old, one.new, share, shadow, budget, state.step, bypassed)
    return found


def laid(table: RouteTable, shifts: Overlay) -> RouteTable:
    """The table with what migrations do to its routes; the same one when they do nothing.

    A migrating route serves from both targets by their shares, or from the one that has all of it. The old target is
    the first fallback unless the policy gives it a place of its own, so that what fails on the new one is answered by
    the old; the new target is a fallback only where the policy says so. The boundary of data binds as in every route.
    """
    routes: dict[tuple[str, str | None], Route] = {}
    for key, route in table.routes.items():
        shift = shifts.get(route.key)
        old, new = (table.targets.get(name) for name in (shift.old, shift.new)) if shift else (None, None)
        # A policy that no longer has one of them is about to replace the migration: until then nothing moves.
        if shift is not None and old is not None and new is not None:
            routes[key] = _moved(route, shift, old, new)
    return replace(table, routes={**table.routes, **routes}) if routes else table


def _moved(route: Route, shift: Shift, old: Target, new: Target) -> Route:
    serve = tuple(
        Weighted(target, weight) for target, weight in ((old, 1.0 - shift.share), (new, shift.share)) if weight > 0
    )
    known = shift.share == 0.0 or any(target.name == old.name for target in route.fallback)
    fallback = route.fallback if known else (old, *route.fallback)
    # A reserve must stay within reach of the attempts that the policy gives the route without a migration.
    attempts = route.retry.attempts if known else max(route.retry.attempts, 2)
    # Whatever the new target fails at can be sent to the old one: that has room for it, and no more than it carried.
    retry = replace(route.retry, attempts=attempts, budget=min(1.0, route.retry.budget + shift.share))
    return replace(route, serve=serve, fallback=fallback, retry=retry, rule=_rule(route), shift=shift)


def _rule(route: Route) -> str:
    return f"{route.rule.rpartition('.')[0]}.migrate"
