"""What people ask of a migration: carried out once, or refused with the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.migrating import Approvals
from policies.migration import step
from policies.migration_commands import REMEMBERED, carry_out, pending
from policies.migration_state import Event, Phase, Seen, State, Verb
from policies.quantities import show_moment
from policies.verdicts import Answer

from .moves import HOUR, NOW, command, events, fine, plan, reached, said, started

PLAN = plan()
PLANNED = State.planned(PLAN)
BACK = replace(reached(PLAN, 2), phase=Phase.ROLLED_BACK, share=0.0, step=-1)
WAY = replace(reached(PLAN, 2), phase=Phase.ROLLING_BACK, goal=1, step=1, halt="breach")
DONE = reached(PLAN, 4)
STATES = {
    "planned": PLANNED,
    "shadow": reached(PLAN, 0),
    "ten": reached(PLAN, 1),
    "half": reached(PLAN, 2),
    "approved": replace(reached(PLAN, 2), approved="bob"),
    "paused": replace(reached(PLAN, 1), paused="lunch"),
    "promoted": replace(reached(PLAN, 1), waived=True),
    "bypassed": replace(reached(PLAN, 1), bypass=NOW + HOUR, paused="lunch"),
    "going back": WAY,
    "going home": replace(WAY, goal=-1, step=-1),
    "rolled back": BACK,
    "done": DONE,
}


@pytest.mark.parametrize(
    ("verb", "accepted"),
    [
        (Verb.START, {"planned", "rolled back"}),
        (Verb.PAUSE, {"shadow", "ten", "half", "approved", "promoted"}),
        (Verb.RESUME, {"paused", "bypassed"}),
        (Verb.APPROVE, {"half"}),
        (Verb.PROMOTE, {"shadow", "ten", "half", "approved", "promoted"}),
        (Verb.ROLLBACK, set(STATES) - {"planned", "rolled back", "going home"}),
        (Verb.BYPASS, set(STATES) - {"planned", "rolled back"}),
    ],
)
def test_where_each_command_is_accepted(verb: Verb, accepted: set[str]) -> None:
    """And nowhere else; who is refused is told why in words."""
    answered = {name: carry_out(state, PLAN, command(verb, until=NOW + HOUR), NOW) for name, state in STATES.items()}
    assert {name for name, one in answered.items() if one.event is not Event.REFUSED} == accepted
    assert all(len(one.why) > 10 for one in answered.values())
    assert {one.alert for name, one in answered.items() if name in accepted} == {verb in (Verb.ROLLBACK, Verb.BYPASS)}


@pytest.mark.parametrize(
    ("verb", "name", "told"),
    [
        (Verb.PAUSE, "planned", "it is planned; `start` begins it"),
        (Verb.PROMOTE, "rolled back", "it is rolled back; `start` begins anew"),
        (Verb.RESUME, "going home", "it is rolling back; once it is back `start` begins anew"),
        (Verb.START, "done", "it is done; write its new target into serve_from, and delete migrate"),
        (Verb.START, "ten", "it is running"),
        (Verb.APPROVE, "ten", "nothing waits for an approval at this step; step 3 will"),
        (Verb.APPROVE, "done", "nothing waits for an approval at this step"),
    ],
)
def test_who_is_refused_is_told_what_may_be_done(verb: Verb, name: str, told: str) -> None:
    """From the page's own words somebody who was just woken up can go on."""
    answered = carry_out(STATES[name], PLAN, command(verb), NOW)
    assert answered.why.endswith(told)


def test_refused_command_changes_nothing_but_what_is_remembered() -> None:
    """So that it is refused once, and its giver finds the answer under its id."""
    move = step(DONE, PLAN, Seen(), [command(Verb.START)], NOW)
    (refused,) = move.decisions
    assert (refused.event, refused.command, refused.who) == (Event.REFUSED, "start-1", "ann@laptop")
    assert replace(move.state, applied=DONE.applied, version=DONE.version) == DONE
    assert step(move.state, PLAN, Seen(), [command(Verb.START)], NOW + 5).decisions == ()


def test_start_begins_a_run() -> None:
    """From the first step, with windows of its own, whatever an earlier run has left."""
    state = carry_out(replace(BACK, window=7, approved="bob"), PLAN, command(Verb.START), NOW).state
    assert (state.run, state.step, state.share, state.window, state.approved) == (2, -1, 0.0, 0, None)
    assert (state.phase, state.version, state.why) == (Phase.RUNNING, BACK.version, "reason to start")


def test_promote_waives_the_hold_and_open_answers_and_nothing_else() -> None:
    """It goes to the next step at once and no further; red, missing evidence, an approval and room still count."""
    state = reached(PLAN, 1)
    open_ = replace(fine(PLAN, state), verdicts=said(PLAN, state, Answer.NOT_YET))
    move = step(state, PLAN, open_, [command(Verb.PROMOTE)], NOW + 1)
    assert (events(move), move.state.step, move.state.waived) == (["promoted", "grew"], 2, False)
    assert "errors of x: no evidence" in why_not(state, replace(open_, verdicts=()))
    far = tuple(replace(one, far=True, text="100 % failed") for one in open_.verdicts)
    assert "errors of x: 100 % failed" in why_not(state, replace(open_, verdicts=far))
    red = replace(open_, verdicts=said(PLAN, state, Answer.NOT_YET, errors=Answer.RED))
    back = step(state, PLAN, red, [command(Verb.PROMOTE)], NOW + 1)
    assert (events(back), back.state.phase) == (["refused", "breached"], Phase.ROLLED_BACK)
    assert "errors of x is red: as tested" in back.decisions[0].why
    assert "waiting for room for a rollback" in why_not(state, replace(open_, rooms={}))
    half = reached(PLAN, 2)
    assert "awaiting approval: of owner" in why_not(half, fine(PLAN, half))


def why_not(state: State, seen: Seen) -> str:
    """Why a promotion is refused; it is not armed for later, when nobody thinks of it any more."""
    move = step(state, PLAN, seen, [command(Verb.PROMOTE)], NOW + 1)
    assert (events(move), move.state.waived, move.state.step) == (["refused"], False, state.step)
    later = replace(fine(PLAN, state), verdicts=said(PLAN, state, Answer.NOT_YET))
    assert step(move.state, PLAN, later, (), NOW + 60).decisions == ()
    return move.decisions[0].why


def test_rollback_from_a_way_back_goes_further() -> None:
    """All the way, and it does not stand still at the step that it was going to."""
    answered = carry_out(WAY, PLAN, command(Verb.ROLLBACK), NOW)
    assert (answered.state.goal, answered.state.halt, answered.state.phase) == (-1, None, Phase.ROLLING_BACK)
    assert answered.event is Event.ROLLBACK


@pytest.mark.parametrize(
    ("approvals", "who", "why"),
    [
        (Approvals(("ann", "bob")), "bob", ""),
        (Approvals(("ann", "bob")), "bob@laptop", ""),
        (Approvals(("eve@example.org",)), "eve@example.org", ""),
        (Approvals(("ann", "bob")), "eve@bob", "eve@bob is none of those whom the policy lets approve: ann, bob"),
        (Approvals(four_eyes=True), "bob", ""),
        (Approvals(four_eyes=True), "ann@desk", "ann@laptop has started it, and by the policy somebody else has to"),
        (Approvals(("ann",), four_eyes=True), "ann", "ann@laptop has started it"),
    ],
)
def test_who_may_approve(approvals: Approvals, who: str, why: str) -> None:
    """Those whom the policy names, at whatever machine; with four eyes not whoever started it."""
    whole = plan(approvals=approvals)
    state = replace(reached(whole, 2), started_by=started(whole).started_by)
    answered = carry_out(state, whole, replace(command(Verb.APPROVE), who=who), NOW)
    assert answered.event is (Event.REFUSED if why else Event.APPROVED)
    assert why in answered.why


@pytest.mark.parametrize("until", [None, NOW, NOW - 1])
def test_bypass_says_until_when(until: float | None) -> None:
    """One without an end, or with one that has passed, is refused."""
    answered = carry_out(DONE, PLAN, command(Verb.BYPASS, until=until), NOW)
    assert (answered.event, "--for" in answered.why) == (Event.REFUSED, True)
    assert answered.why.startswith(f"bypass ({command(Verb.BYPASS).reason}): ")


def test_bypass_is_recorded_with_its_end() -> None:
    """And with the end of the one whose place it takes."""
    first, again = (
        carry_out(STATES[name], PLAN, command(Verb.BYPASS, until=NOW + 60), NOW).why for name in ("ten", "bypassed")
    )
    assert first.endswith(f"(until {show_moment(NOW + 60)})")
    assert again.endswith(f"(until {show_moment(NOW + 60)}; it was until {show_moment(NOW + HOUR)})")


def test_resume_ends_a_bypass_and_a_pause() -> None:
    """What it is stopped by, all of it: somebody has looked."""
    state = STATES["bypassed"]
    move = step(state, PLAN, fine(PLAN, state), [command(Verb.RESUME)], NOW)
    assert (events(move), move.state.paused, move.state.in_force[0]) == (["resumed", "bypass over"], None, 0.1)


def test_each_command_counts_once_and_for_a_day() -> None:
    """However often it is read; one of yesterday has no effect, and what is remembered does not grow for ever."""
    state = replace(STATES["ten"], applied=())
    pause, resume = command(Verb.PAUSE, at=NOW), command(Verb.RESUME, at=NOW + 1)
    state = step(state, PLAN, Seen(), [resume, pause], NOW + 2).state
    assert state.paused is None
    assert step(state, PLAN, Seen(), [pause, resume], NOW + 3).decisions == ()
    now = NOW + REMEMBERED + 2
    assert not pending(state, command(Verb.PAUSE, 9, NOW), now)
    late = step(state, PLAN, Seen(), [pause, command(Verb.PAUSE, 2, now)], now).state
    assert [known for known, _ in late.applied] == ["pause-2"]
