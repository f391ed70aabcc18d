"""How a migration moves: a state machine without clock, store or network, which every controller works out alike.

`step` is asked again and again with what is known, and says what follows. Its promises, whatever it is fed with:

- The share grows one step at a time, in order, and only at a tick where nothing speaks against it: every gate of the
  step is green over this step's own evidence, the hold is over, who has to approve has, no freeze is on, nobody has
  paused it, the store can be written, and the old target has room to take everything back. What is missing is never
  taken for good. (The end of a bypass brings back the share from before it, under the same conditions of calm.)
- From every state in which anything has left the old target, `rollback` leads home, at the pace the old target can.
- A red gate leads back at the very tick that sees it: to the last good step, where it then stands still until somebody
  has looked (`resume`), or to the start, as the policy says.
- The share moves between the two targets of each member, for all members of a group at once.
- Asking twice changes nothing: evidence counts for the window that it was collected in, and every step begins a new
  one; a command counts by its id. Two controllers that read the same version come to the same next version, and a
  compare-and-set lets one of them write it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .calendar import is_open
from .migrating import START, Migration, gates_at
from .migration_commands import carry_out, no, pending
from .migration_retreat import LITTLE, retreat, roll, room
from .migration_state import (
    CONTROLLER,
    Command,
    Decision,
    Event,
    Move,
    Phase,
    Seen,
    State,
    Wait,
    Waiting,
)
from .quantities import show_seconds, show_share
from .verdicts import Answer, Verdict


def step(state: State, plan: Migration, seen: Seen, commands: Sequence[Command], now: float) -> Move:
    """What follows from `state` now. `commands` may hold ones that have been dealt with long since."""
    log = _Log(state, seen, now)
    state = _adopted(state, plan, seen, log)
    for command in sorted(commands, key=lambda one: (one.at, one.id)):
        if pending(state, command, now):
            state = _commanded(state, plan, seen, command, log)
    state = _moved(state, plan, seen, log)
    waits = tuple(_waits(state, plan, seen, now)) if state.phase is Phase.RUNNING else ()
    if not log.decisions:
        return Move(state, (), waits)
    return Move(replace(state, version=log.before.version + 1), tuple(log.decisions), waits)


_MOVES = frozenset(Event) - {
    Event.REFUSED, Event.APPROVED, Event.PROMOTED, Event.PAUSED, Event.RESUMED, Event.RAMPED,
}  # fmt: skip
"""Events whose reason is also the reason why the migration is where it is."""


class _Log:
    """The decisions of one tick."""

    def __init__(self, before: State, seen: Seen, now: float) -> None:
        self.before = before
        self.seen = seen
        self.now = now
        self.decisions: list[Decision] = []

    def note(
        self, old: State, new: State, event: Event, why: str, command: Command | None = None, *, alert: bool = False
    ) -> State:
        """`new`, with the decision that led to it from `old` noted."""
        if event in _MOVES:
            new = replace(new, why=f"{event.value} by {command.who}: {why}" if command else why)
        self.decisions.append(
            Decision(
                migration=new.name,
                event=event,
                at=self.now,
                who=command.who if command else CONTROLLER,
                why=why,
                before=old.in_force[0],
                after=new.in_force[0],
                step=new.step,
                version=self.before.version + 1,
                window=self.seen.window,
                command=command.id if command else None,
                alert=alert,
            )
        )
        return new


def _adopted(state: State, plan: Migration, seen: Seen, log: _Log) -> State:
    """The state as the policy is now: another move begins anew, rewritten steps go on from where they reach as far."""
    if state.identity != plan.identity:
        fresh = replace(State.planned(plan, state.run), version=state.version, applied=state.applied)
        why = "the policy moves something else now, or another release of it; this is a new migration"
        return log.note(state, fresh, Event.REPLACED, why, alert=state.phase not in (Phase.PLANNED, Phase.ROLLED_BACK))
    if state.course == plan.course:
        return state
    new = replace(state, course=plan.course)
    why = "the policy has other steps now"
    if state.phase is Phase.RUNNING:
        reached = _reached(state, plan)
        new = roll(retreat(new, reached, None), plan, seen, log.now)
        why += f"; it goes on from {_place(plan, reached)}"
    elif state.phase is Phase.ROLLING_BACK:
        new = replace(new, goal=START, step=START, halt=None)
    elif state.phase is Phase.DONE:
        new = replace(new, step=len(plan.steps) - 1)
    return log.note(state, new, Event.RECHARTED, why)


def _reached(state: State, plan: Migration) -> int:
    """The last of the steps that asks for no more than is in force: to stay there is not to grow."""
    at = START
    for index, one in enumerate(plan.steps):
        less = one.share < state.share or (one.share == state.share and (one.share > 0 or one.shadow <= state.shadow))
        at = index if less else at
    return at


def _commanded(state: State, plan: Migration, seen: Seen, command: Command, log: _Log) -> State:
    answered = carry_out(state, plan, command, log.now)
    waits = tuple(_waits(answered.state, plan, seen, log.now)) if answered.event is Event.PROMOTED else ()
    if waits:  # it goes on now or not at all: armed for later, it would go on into what nobody has seen yet
        why = "; ".join(f"{one.what.value}: {one.text}" for one in waits)
        refused = replace(answered.state, waived=state.waived)
        return log.note(state, refused, Event.REFUSED, no(command, f"it can't go on now: {why}"), command)
    new = answered.state
    if new.phase is Phase.ROLLING_BACK and state.phase is not Phase.ROLLING_BACK:
        new = roll(new, plan, seen, log.now)
    return log.note(state, new, answered.event, answered.why, command, alert=answered.alert)


def _moved(state: State, plan: Migration, seen: Seen, log: _Log) -> State:
    """The one thing that happens by itself at a tick, if any."""
    if state.phase is Phase.ROLLING_BACK:
        return _rolled(state, plan, seen, log)
    red = [one for one in _verdicts(state, plan, seen) if one.answer is Answer.RED]
    if red and state.phase is Phase.RUNNING and state.step > START:
        return _breached(state, plan, seen, red, log)
    if state.bypass is not None and log.now >= state.bypass and _calm(state, plan, seen, log.now):
        # What was agreed to before rests on what was seen before.
        new = replace(state, bypass=None, since=log.now, window=state.window + 1, approved=None)
        return log.note(state, new, Event.BYPASS_OVER, f"back to {_place(plan, state.step)}")
    if state.phase is not Phase.RUNNING:
        return state
    if any(_waits(state, plan, seen, log.now)):
        return state
    return _grown(state, plan, log)


def _rolled(state: State, plan: Migration, seen: Seen, log: _Log) -> State:
    new = roll(state, plan, seen, log.now)
    if new is state:
        return state
    if new.phase is Phase.ROLLING_BACK:
        return log.note(state, new, Event.RAMPED, f"the old target takes {show_share(1 - new.share)} now")
    event = Event.ROLLED_BACK if new.phase is Phase.ROLLED_BACK else Event.RETREATED
    return log.note(state, new, event, state.why)


def _breached(state: State, plan: Migration, seen: Seen, red: Sequence[Verdict], log: _Log) -> State:
    goal = START if any(one.measure in plan.to_start for one in red) else state.step - 1
    what = "; ".join(f"{one.measure.value} of {one.route}: {one.text}" for one in red)
    new = roll(retreat(state, goal, f"breach: {what}" if goal > START else None), plan, seen, log.now)
    why = f"{what}. Back to {_place(plan, goal)}"
    if new.phase is Phase.ROLLING_BACK:
        why += f"; the old target can take {show_share(1 - new.share)} so far"
    return log.note(state, new, Event.BREACHED, why, alert=True)


def _grown(state: State, plan: Migration, log: _Log) -> State:
    following = state.step + 1
    if following == len(plan.steps):
        new = replace(state, phase=Phase.DONE, done_at=log.now, shadow=0.0, waived=False)
        return log.note(state, new, Event.DONE, "every step is done; set serve_from to the new target")
    to = plan.steps[following]
    new = replace(
        state, step=following, share=to.share, shadow=to.shadow, since=log.now, window=state.window + 1, approved=None,
        waived=False,
    )  # fmt: skip
    several = len(plan.members) > 1
    passed = ", ".join(
        f"{one.measure.value}{f' of {one.route}' if several else ''} {one.answer.value} ({one.text})"
        for one in _verdicts(state, plan, log.seen)
    )
    return log.note(state, new, Event.GREW, f"to {_place(plan, following)}; {passed or 'no gate to pass'}")


def _waits(state: State, plan: Migration, seen: Seen, now: float) -> Iterator[Wait]:
    """What speaks against the next step."""
    if state.paused is not None:
        yield Wait(Waiting.PAUSED, state.paused)
    if state.bypass is not None:
        yield Wait(Waiting.BYPASSED, bypassed(state, plan, now, shared=seen.shared))
    if not seen.shared:
        yield Wait(Waiting.STORE, "nobody else would learn of the next step")
    if state.step > START:
        yield from _unfinished(state, plan, seen, now)
    if state.share < 1.0:
        yield from _unsafe(state, plan, seen, now)


def _unfinished(state: State, plan: Migration, seen: Seen, now: float) -> Iterator[Wait]:
    """What the step itself still lacks."""
    at = plan.steps[state.step]
    left = state.since + at.hold - now
    if left > 0 and not state.waived:
        yield Wait(Waiting.HOLD, f"for another {show_seconds(round(left))}")
    told = {(one.route, one.measure): one for one in _verdicts(state, plan, seen)}
    for member in plan.members:
        for gate in gates_at(member, at):
            verdict = told.get((member.route, gate.measure))
            name = f"{gate.measure.value} of {member.route}"
            if verdict is None or verdict.missing:
                yield Wait(Waiting.EVIDENCE, f"{name}: {verdict.text if verdict else 'no evidence of this step'}")
            elif verdict.answer is Answer.RED:
                yield Wait(Waiting.EVIDENCE, f"{name} is red: {verdict.text}")
            elif verdict.answer is not Answer.GREEN and (verdict.far or not state.waived):
                yield Wait(Waiting.EVIDENCE, f"{name}: {verdict.text}")
    if at.approve is not None and state.approved is None:
        may = f", by {' or '.join(plan.approvals.by)}" if plan.approvals.by else ""
        but = f", not by {state.started_by}" if plan.approvals.four_eyes and state.started_by is not None else ""
        yield Wait(Waiting.APPROVAL, f"of {at.approve}{may}{but}")


def _unsafe(state: State, plan: Migration, seen: Seen, now: float) -> Iterator[Wait]:
    """What makes it unwise to grow now, however good the step was."""
    if _frozen(plan, now):
        yield Wait(Waiting.FROZEN, "by the policy")
    rooms = room(state, plan, seen)
    for member in plan.members:
        has, needs = rooms[member.route], member.keep.can_take
        if has < needs - LITTLE:
            part = f"{show_share(has)} of {member.route}'s traffic, {show_share(needs)} kept"
            unknown = "" if member.route in seen.rooms else ", and what more it could take is not known"
            yield Wait(Waiting.ROOM, f"{member.old} is shown to take {part}{unknown}")


def bypassed(state: State, plan: Migration, now: float, *, shared: bool = True) -> str:
    """How long a bypass lasts, in words, or what keeps it from ending although its time is over."""
    left = round((state.bypass or now) - now)
    if left > 0:
        return f"for another {show_seconds(left)}"
    held = " and ".join(_uneasy(state, plan, now, shared=shared))
    return f"its time is over; it lasts while {held}" if held else "its time is over; it ends at the next look"


def _uneasy(state: State, plan: Migration, now: float, *, shared: bool) -> Iterator[str]:
    """What keeps a share that was there before from coming back."""
    if state.paused is not None:
        yield f"it is paused ({state.paused})"
    if _frozen(plan, now):
        yield "the policy's freeze is on"
    if not shared:
        yield "the shared state can't be reached"


def _calm(state: State, plan: Migration, seen: Seen, now: float) -> bool:
    return not any(_uneasy(state, plan, now, shared=seen.shared))


def _frozen(plan: Migration, now: float) -> bool:
    return plan.freeze is not None and is_open(plan.freeze, now)


def _verdicts(state: State, plan: Migration, seen: Seen) -> tuple[Verdict, ...]:
    """What was said of this very window, and of routes that belong here."""
    if seen.window != state.window_id:
        return ()
    routes = {member.route for member in plan.members}
    return tuple(one for one in seen.verdicts if one.route in routes)


def _place(plan: Migration, step: int) -> str:
    if step == START:
        return "the start"
    at = plan.steps[step]
    what = [f"share {show_share(at.share)}"] if at.share else []
    what += [f"shadow {show_share(at.shadow)}"] if at.shadow else []
    return f"step {step + 1} of {len(plan.steps)} ({', '.join(what)})"
