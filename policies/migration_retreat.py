"""The way back of a migration: at once where the old target has room, else as fast as it gets room.

A rollback that sends an old target more than it can take breaks what it was to save. So a part of the traffic moves
only when the old target is shown able to take it (`Seen.rooms`), and for every member of a group as fast as the slowest
can. Where nothing is known of the room, the old target's part grows by at most a half every `PACE` seconds, from
`FIRST` on: 100 % is reached within seven of them, each long enough for a hosting that scales by load to notice.
"""

from __future__ import annotations

from dataclasses import replace

from .migrating import START, Migration
from .migration_state import Phase, Seen, State

PACE = 60.0
"""Seconds between two parts of a rollback into unknown room."""
FIRST = 0.1
"""Part of the traffic that an old target of unknown room is trusted with."""
GROWTH = 1.5
LITTLE = 1e-9
"""What shares may differ by and still be the same."""


def carried(state: State) -> float:
    """Part of the traffic that the old target serves now, and so can take."""
    return 1.0 - state.in_force[0]


def room(state: State, plan: Migration, seen: Seen) -> dict[str, float]:
    """By route, the part of the traffic that the old target is known to be able to take."""
    return {one.route: max(carried(state), seen.rooms.get(one.route, 0.0)) for one in plan.members}


def retreat(state: State, goal: int, halt: str | None) -> State:
    """The state on its way back to the step `goal`, where it stands still if `halt` says why. `roll` moves it."""
    return replace(
        state, phase=Phase.ROLLING_BACK, goal=goal, halt=halt, step=goal, shadow=0.0, window=state.window + 1,
        ramped=0.0, approved=None, waived=False, done_at=None,
    )  # fmt: skip


def roll(state: State, plan: Migration, seen: Seen, now: float) -> State:
    """The next part of the way back, perhaps the last; the same state when no part can be moved yet."""
    goal = plan.share_at(state.goal)
    taken = min(_allowed(state, one.route, seen, now) for one in plan.members)
    share = max(goal, min(state.share, 1.0 - taken))
    if share - goal > LITTLE:
        return state if state.share - share < LITTLE else replace(state, share=share, ramped=now)
    if state.goal == START:
        return replace(state, phase=Phase.ROLLED_BACK, share=0.0, since=now, halt=None, paused=None, bypass=None)
    step = plan.steps[state.goal]
    return replace(
        state, phase=Phase.RUNNING, share=step.share, shadow=step.shadow, since=now, window=state.window + 1,
        paused=state.halt or state.paused, halt=None,
    )  # fmt: skip


def _allowed(state: State, route: str, seen: Seen, now: float) -> float:
    shown = seen.rooms.get(route)
    if shown is not None:
        return max(carried(state), shown)
    if now - state.ramped < PACE:
        return carried(state)
    return min(1.0, max(FIRST, GROWTH * carried(state)))
