"""Migrations for tests: plans that are short to write, and what can be seen of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from policies.calendar import read_calendar
from policies.migrating import Gate, Measure, Member, Migration, Step, gates_at
from policies.migration import step
from policies.migration_state import Command, Move, Phase, Seen, State, Verb
from policies.verdicts import Answer, Verdict

HOUR = 3600.0
NOW = 1_800_000_000.0
"""A Friday morning in January 2027."""

GATES = (Gate(Measure.ERRORS, 0.002), Gate(Measure.LATENCY_P95, 0.1))
STEPS = (
    Step(shadow=0.05, hold=HOUR),
    Step(share=0.1, hold=HOUR),
    Step(share=0.5, hold=HOUR, approve="owner"),
    Step(share=1.0, hold=HOUR),
)
ALWAYS = read_calendar("00:00-24:00 UTC")


def plan(*steps: Step, **changes: object) -> Migration:
    """A migration of the route `x` from `old` to `new`; a breach of errors leads to the start, others a step back."""
    member = Member("x", "old", "new", GATES, release="r1")
    whole = Migration("x", (member,), steps or STEPS, to_start=frozenset({Measure.ERRORS}))
    return replace(whole, **changes)  # type: ignore[arg-type]  # a test names the fields that it changes


def said(plan: Migration, state: State, answer: Answer = Answer.GREEN, **others: Answer) -> tuple[Verdict, ...]:
    """Verdicts on the state's window: all with that answer, but for the measures named."""
    if not 0 <= state.step < len(plan.steps):
        return ()
    return tuple(
        Verdict(member.route, gate.measure, others.get(gate.measure.value, answer), "as tested")
        for member in plan.members
        for gate in gates_at(member, plan.steps[state.step])
    )


def fine(plan: Migration, state: State) -> Seen:
    """Everything is green, and the old target has room for all."""
    rooms = {member.route: 1.0 for member in plan.members}
    return Seen(state.window_id, said(plan, state), rooms)


def command(verb: Verb, number: int = 1, at: float = NOW, until: float | None = None) -> Command:
    """A command with an id of its own, made of verb and number."""
    return Command(f"{verb.value}-{number}", verb, f"reason to {verb.value}", "ann@laptop", at, until)


def started(whole: Migration, at: float = NOW) -> State:
    """A migration at its first step."""
    return step(State.planned(whole), whole, Seen(), [command(Verb.START, at=at)], at).state


def reached(whole: Migration, index: int, at: float = NOW) -> State:
    """A migration at the step `index`, which it came to at `at`; len(steps) is done."""
    state = started(whole, at)
    while state.step < index and state.phase is not Phase.DONE:
        held = at + 90 * 24 * HOUR
        state = step(state, whole, fine(whole, state), [command(Verb.APPROVE, state.window, held)], held).state
        state = replace(state, since=at)
    return state


def events(move: Move) -> list[str]:
    """What was decided, in order."""
    return [one.event.value for one in move.decisions]


def kinds(move: Move) -> list[str]:
    """What keeps it, in order."""
    return [one.what.value for one in move.waits]


def answers(verdicts: Iterable[Verdict]) -> list[str]:
    return [one.answer.value for one in verdicts]
