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

from .migrating import START, Migration, Shift
from .migration_state import Phase, State

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
        for member in plan.members:
            found[member.route] = Shift(plan.name, state.window_id, member.old, member.new, share, shadow, budget)
    return found
