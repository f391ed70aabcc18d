"""What people ask of a migration, carried out or refused. Either way a command counts once.

A command can do less than its word says, never more: `promote` does not wait for the rest of a hold or for answers
that are still open, but it goes no further than the next step, and past no red gate, no missing evidence, no estimate
far beyond what is allowed, no approval, no freeze and no lack of room: `step` refuses it then, so that it is never
armed for later. `rollback` and `bypass` are possible whenever something has left the old target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .migrating import START, Migration
from .migration_retreat import retreat
from .migration_state import Command, Event, Phase, State, Verb
from .quantities import show_moment

REMEMBERED = 86_400.0
"""Seconds: a command that was given longer ago has no effect, so that no more than a day of them is kept in mind."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a command."""

    state: State
    event: Event
    why: str
    alert: bool = False


def pending(state: State, command: Command, now: float) -> bool:
    """Whether a command is still to be carried out."""
    return now - command.at <= REMEMBERED and all(command.id != known for known, _ in state.applied)


def carry_out(state: State, plan: Migration, command: Command, now: float) -> Answered:
    """What becomes of a command that is pending."""
    kept = tuple((known, at) for known, at in state.applied if now - at <= REMEMBERED)
    state = replace(state, applied=(*kept, (command.id, command.at)))
    answered = _VERBS[command.verb](state, plan, command, now)
    return Answered(state, Event.REFUSED, no(command, answered)) if isinstance(answered, str) else answered


def no(command: Command, why: str) -> str:
    """A refusal in words that say what was asked for, and wherefore: the record is read later."""
    return f"{command.verb.value} ({command.reason}): {why}"


def _start(state: State, plan: Migration, command: Command, now: float) -> Answered | str:
    if state.phase not in (Phase.PLANNED, Phase.ROLLED_BACK):
        return _stands(state)
    run = state.run + 1
    fresh = replace(
        State.planned(plan, run), version=state.version, applied=state.applied, phase=Phase.RUNNING, since=now,
        why=command.reason, started_by=command.who,
    )  # fmt: skip
    return Answered(fresh, Event.STARTED, command.reason)


def _pause(state: State, plan: Migration, command: Command, now: float) -> Answered | str:
    if state.phase is not Phase.RUNNING:
        return f"only a running migration can be paused; {_stands(state)}"
    if state.paused is not None:
        return f"it is paused already: {state.paused}"
    return Answered(replace(state, paused=command.reason), Event.PAUSED, command.reason)


def _resume(state: State, plan: Migration, command: Command, now: float) -> Answered | str:
    if state.bypass is not None:
        return Answered(replace(state, bypass=now, paused=None), Event.RESUMED, command.reason)
    if state.phase is not Phase.RUNNING or state.paused is None:
        return f"it is not paused; {_stands(state)}"
    return Answered(replace(state, paused=None), Event.RESUMED, command.reason)


def _approve(state: State, plan: Migration, command: Command, now: float) -> Answered | str:
    wanted = plan.steps[state.step].approve if state.phase is Phase.RUNNING and state.step > START else None
    if wanted is None:
        later = [index + 1 for index, one in enumerate(plan.steps) if one.approve is not None and index > state.step]
        return f"nothing waits for an approval at this step{f'; step {later[0]} will' if later else ''}"
    if state.approved is not None:
        return f"{state.approved} has approved it already"
    may = plan.approvals
    if may.by and command.who not in may.by and _person(command.who) not in may.by:
        return (
            f"{command.who} is none of those whom the policy lets approve: {', '.join(may.by)}; say who you are (--as)"
        )
    if may.four_eyes and state.started_by is not None and _person(state.started_by) == _person(command.who):
        return (
            f"{state.started_by} has started it, and by the policy somebody else has to approve; say who you are (--as)"
        )
    return Answered(replace(state, approved=command.who), Event.APPROVED, f"for {wanted}: {command.reason}")


def _person(who: str) -> str:
    """The person of `ann@laptop`: the same at any machine."""
    return who.partition("@")[0]


def _promote(state: State, plan: Migration, command: Command, now: float) -> Answered | str:
    if state.phase is not Phase.RUNNING:
        return f"only a running migration can be promoted; {_stands(state)}"
    if state.paused is not None:
        return f"it is paused ({state.paused}); resume it first"
    return Answered(replace(state, waived=True), Event.PROMOTED, command.reason)


def _rollback(state: State, plan: Migration, command: Command, now: float) -> Answered | str:
    if state.phase in (Phase.PLANNED, Phase.ROLLED_BACK):
        return f"there is nothing to roll back; {_stands(state)}"
    if state.phase is Phase.ROLLING_BACK and state.goal == START:
        return "it is rolling back to the start already"
    if state.phase is Phase.ROLLING_BACK:
        return Answered(replace(state, goal=START, halt=None, step=START), Event.ROLLBACK, command.reason, alert=True)
    return Answered(retreat(state, START, None), Event.ROLLBACK, command.reason, alert=True)


def _bypass(state: State, plan: Migration, command: Command, now: float) -> Answered | str:
    if state.phase in (Phase.PLANNED, Phase.ROLLED_BACK):
        return f"everything is served from the old target; it is {state.phase.value}"
    if command.until is None or command.until <= now:
        return "it does not say until when, or that is over; give --for 2h"
    before = f"; it was until {show_moment(state.bypass)}" if state.bypass is not None else ""
    why = f"{command.reason} (until {show_moment(command.until)}{before})"
    return Answered(replace(state, bypass=command.until), Event.BYPASSED, why, alert=True)


def _stands(state: State) -> str:
    return f"it is {state.phase.value}{_NEXT.get(state.phase, '')}"


_NEXT = {
    Phase.PLANNED: "; `start` begins it",
    Phase.ROLLING_BACK: "; once it is back `start` begins anew",
    Phase.ROLLED_BACK: "; `start` begins anew",
    Phase.DONE: "; write its new target into serve_from, and delete migrate",
}
"""What may be done next, for who asked for something else."""

_VERBS: dict[Verb, Callable[[State, Migration, Command, float], Answered | str]] = {
    Verb.START: _start,
    Verb.PAUSE: _pause,
    Verb.RESUME: _resume,
    Verb.APPROVE: _approve,
    Verb.PROMOTE: _promote,
    Verb.ROLLBACK: _rollback,
    Verb.BYPASS: _bypass,
}
"""What each verb does: the answer, or why it is refused."""
