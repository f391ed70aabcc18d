"""The migration's state machine, searched: every state of a small migration, under everything that can happen to it.

The search is exhaustive over what matters: clocks are cut off where they no longer make a difference, and numbers of
versions, runs and windows are left out, since the machine only compares them with the state's own. What may happen is
said here once more, by another hand than the machine's.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.migrating import START, Gate, Measure, Member, Migration, Step
from policies.migration import step
from policies.migration_retreat import FIRST, GROWTH, PACE
from policies.migration_state import Event, Move, Phase, Seen, State, Verb
from policies.verdicts import Answer, Verdict

from .moves import ALWAYS, NOW, command, fine, plan, said
from .written import PATIENT

TICK = 60.0
SMALL = plan(Step(shadow=0.05, hold=TICK), Step(share=0.3, hold=TICK, approve="owner"), Step(share=1.0, hold=TICK))
FROZEN = replace(SMALL, freeze=ALWAYS)
SAID = ("green", "errors red", "latency red", "open", "missing", "stale")
ROOMS: tuple[dict[str, float], ...] = ({"x": 1.0}, {"x": 0.8}, {})


@dataclass(frozen=True, slots=True)
class Happening:
    """What a controller meets at one tick."""

    said: str = "green"
    rooms: int = 0
    shared: bool = True
    frozen: bool = False
    verb: Verb | None = None


HAPPENINGS = [
    *itertools.starmap(Happening, itertools.product(SAID, range(len(ROOMS)))),
    *itertools.starmap(Happening, itertools.product(SAID, (0,), (True, False), (True,))),
    *itertools.starmap(Happening, itertools.product(SAID, (0,), (False,))),
    *(Happening("green", verb=verb) for verb in Verb),
    *(Happening("missing", 2, False, True, verb) for verb in Verb),
]


def verdicts(whole: Migration, state: State, what: str) -> tuple[Verdict, ...]:
    match what:
        case "errors red":
            return said(whole, state, errors=Answer.RED)
        case "latency red":
            return said(whole, state, latency_p95=Answer.RED)
        case "open":
            return said(whole, state, Answer.NOT_YET)
        case "missing":
            return ()
        case _:
            return said(whole, state)


def tick(state: State, happening: Happening, now: float) -> tuple[Move, Migration, Seen]:
    whole = FROZEN if happening.frozen else SMALL
    window = "0.0" if happening.said == "stale" else state.window_id
    seen = Seen(window, verdicts(whole, state, happening.said), ROOMS[happening.rooms], happening.shared)
    commands = [command(happening.verb, at=now, until=now + 2 * TICK)] if happening.verb else []
    return step(state, whole, seen, commands, now), whole, seen


def core(state: State, now: float) -> State:
    """The state without what makes no difference: two with the same core have the same future."""
    return replace(
        state,
        version=0,
        run=1,
        window=1,
        applied=(),
        why="",
        approved=state.approved and "somebody",
        paused=state.paused and "somehow",
        halt=state.halt and "somehow",
        since=NOW - min(now - state.since, TICK),
        ramped=NOW - min(now - state.ramped, PACE),
        bypass=None if state.bypass is None else NOW + max(0.0, state.bypass - now),
        done_at=state.done_at and NOW,
    )


def states() -> Iterator[State]:
    """Every state that can be reached, as it is at NOW."""
    first = core(State.planned(SMALL), NOW)
    known, left = {first}, deque([first])
    while left:
        state = left.popleft()
        yield state
        for happening in HAPPENINGS:
            for now in (NOW, NOW + TICK):
                following = core(tick(state, happening, now)[0].state, now)
                if following not in known:
                    known.add(following)
                    left.append(following)


@pytest.fixture(scope="module")
def everything() -> list[State]:
    return list(states())


def test_all_phases_are_reached(everything: list[State]) -> None:
    """The search goes everywhere; a model in which something can't happen proves nothing about it."""
    assert {state.phase for state in everything} == set(Phase)
    assert {state.step for state in everything} == {START, 0, 1, 2}
    assert {state.paused is not None for state in everything} == {True, False}
    assert {(state.bypass is not None, state.phase) for state in everything} >= {
        (True, Phase.RUNNING), (False, Phase.ROLLING_BACK), (True, Phase.DONE),
    }  # fmt: skip
    assert len(everything) < 1000


def allowed(before: State, happening: Happening, now: float, whole: Migration) -> bool:
    """Whether a share may grow at this tick by one step: everything that the promises ask for, said independently."""
    if happening.frozen or not happening.shared or before.bypass is not None:
        return False
    if happening.verb is Verb.START and before.phase in (Phase.PLANNED, Phase.ROLLED_BACK):
        return True
    if before.phase is not Phase.RUNNING:
        return False
    if (before.paused is not None and happening.verb is not Verb.RESUME) or happening.verb is Verb.PAUSE:
        return False
    if before.step == START:
        return True
    waived = before.waived or happening.verb is Verb.PROMOTE
    told = {"green"} | ({"open"} if waived else set())
    held = waived or now - before.since >= whole.steps[before.step].hold
    approved = before.approved is not None or happening.verb is Verb.APPROVE or not whole.steps[before.step].approve
    roomy = before.share == 0.0 or ROOMS[happening.rooms].get("x", 0.0) >= 1.0
    return happening.said in told and held and approved and roomy


def test_every_move_keeps_the_promises(everything: list[State]) -> None:
    """From every state, under everything that can happen: growth only when all allows it, back whenever one thing asks.

    In numbers: one step at a time; a red answer lowers the step at once; shares are those of steps but on a way back;
    a way back never gives the old target more than its room; nothing is decided twice.
    """
    for state, happening, now in itertools.product(everything, HAPPENINGS, (NOW, NOW + TICK)):
        move, whole, seen = tick(state, happening, now)
        after = move.state
        where = (state, happening, now)
        before_share, share = state.in_force[0], after.in_force[0]
        if share > before_share:
            over = state.bypass is not None and after.bypass is None
            calm = happening.shared and not happening.frozen and (not state.paused or happening.verb is Verb.RESUME)
            assert (over and calm and share == state.share) or allowed(state, happening, now, whole), where
        began_anew = any(one.event is Event.STARTED for one in move.decisions)
        assert after.step <= (START if began_anew else state.step) + 1, where
        red = happening.said in ("errors red", "latency red") and state.phase is Phase.RUNNING and state.step > START
        if red and state.share < 1.0 and not (happening.said == "latency red" and not said(whole, state)):
            assert after.step < state.step, where
            assert share <= before_share, where
        if after.phase is not Phase.ROLLING_BACK:
            assert after.share == whole.share_at(after.step), where
        if after.phase is Phase.ROLLING_BACK and after.share < state.share:
            room = ROOMS[happening.rooms].get("x", max(FIRST, GROWTH * (1 - before_share)))
            assert 1 - after.share <= max(1 - before_share, room) + 1e-9, where
        assert (after.version == state.version + 1) if move.decisions else (after == state), where
        assert all(one.version == after.version for one in move.decisions), where
        assert State.from_json(after.to_json()) == after, where
        again = step(
            after, whole, seen, [command(happening.verb, at=now, until=now + 120)] if happening.verb else [], now
        )
        assert again.state.in_force[0] <= after.in_force[0], where


def test_rollback_leads_home_from_everywhere(everything: list[State]) -> None:
    """At once where there is room, within seven minutes where nothing is known of it."""
    for state in everything:
        if state.phase in (Phase.PLANNED, Phase.ROLLED_BACK):
            continue
        asked = [command(Verb.ROLLBACK, at=NOW)]
        roomy = step(state, SMALL, Seen(rooms={"x": 1.0}), asked, NOW)
        roomy = (
            roomy
            if roomy.state.phase is Phase.ROLLED_BACK
            else step(roomy.state, SMALL, Seen(rooms={"x": 1.0}), [], NOW)
        )
        assert (roomy.state.phase, roomy.state.in_force) == (Phase.ROLLED_BACK, (0.0, 0.0)), state
        blind, now = step(state, FROZEN, Seen(shared=False), asked, NOW).state, NOW
        while blind.phase is not Phase.ROLLED_BACK and now <= NOW + 7 * PACE:
            now += PACE
            blind = step(blind, FROZEN, Seen(shared=False), [], now).state
        assert blind.phase is Phase.ROLLED_BACK, state


def test_done_is_reached_from_everywhere(everything: list[State]) -> None:
    """No state is a dead end: with good evidence, room and somebody who agrees, every one gets to 100 %."""
    for start in everything:
        state, now = start, NOW
        for number in range(12):
            now += 3 * TICK
            verbs = (Verb.START, Verb.RESUME, Verb.APPROVE)
            state = step(state, SMALL, fine(SMALL, state), [command(verb, number, now) for verb in verbs], now).state
            if state.phase is Phase.DONE and state.bypass is None:
                break
        assert (state.phase, state.bypass) == (Phase.DONE, None), start


ANSWERS = st.sampled_from([Answer.GREEN, Answer.GREEN, Answer.GREEN, Answer.RED, Answer.NOT_YET, None])
TICKS = st.lists(
    st.tuples(
        st.lists(ANSWERS, min_size=4, max_size=4),
        st.sampled_from([None, 0.0, 0.3, 0.7, 1.0, 1.0, 1.0]),
        st.sampled_from([True, True, True, False]),
        st.sampled_from([None, None, None, *Verb]),
        st.sampled_from([5.0, 60.0, 4000.0]),
    ),
    max_size=60,
)
PLANS = st.builds(
    lambda shares, shadow, group: plan(
        *([Step(shadow=0.05, hold=60.0)] if shadow else []),
        *(Step(share=share / 100, hold=60.0) for share in sorted(shares)),
        Step(share=1.0),
        members=tuple(
            Member(f"r{number}", "old", "new", (Gate(Measure.ERRORS, 0.002), Gate(Measure.COLD_SHARE, 0.01)))
            for number in range(1 + group)
        ),
    ),
    st.sets(st.integers(1, 99), min_size=1, max_size=6),
    st.booleans(),
    st.booleans(),
)


@PATIENT
@given(PLANS, TICKS)
def test_any_migration_under_any_weather(
    whole: Migration, weather: list[tuple[list[Answer | None], float | None, bool, Verb | None, float]]
) -> None:
    """Larger migrations, groups, long histories: shares are those of steps, grow by one, and never against a gate."""
    state, now = step(State.planned(whole), whole, Seen(), [command(Verb.START)], NOW).state, NOW
    for number, (answered, room, shared, verb, wait) in enumerate(weather, 2):
        now += wait
        gates = [(member.route, gate.measure) for member in whole.members for gate in member.gates]
        told = tuple(
            Verdict(route, measure, answer, "")
            for (route, measure), answer in zip(gates, answered, strict=False)
            if answer is not None
        )
        rooms = {} if room is None else {member.route: room for member in whole.members}
        commands = [command(verb, number, now, now + 100)] if verb else []
        move = step(state, whole, Seen(state.window_id, told, rooms, shared), commands, now)
        after = move.state
        if after.in_force[0] > state.in_force[0] and state.bypass is None and state.step > START:
            assert after.step == state.step + 1
            answers = {(one.route, one.measure): one.answer for one in told}
            fine_ones = {Answer.GREEN, Answer.NOT_YET} if state.waived or verb is Verb.PROMOTE else {Answer.GREEN}
            assert {answers.get(gate) for gate in gates} <= fine_ones
            assert shared
        if after.phase is not Phase.ROLLING_BACK:
            assert after.share == whole.share_at(after.step)
        assert step(after, whole, Seen(state.window_id, told, rooms, shared), commands, now).state.share <= after.share
        assert [one.command for one in move.decisions if one.command] == [one.id for one in commands]
        state = after
