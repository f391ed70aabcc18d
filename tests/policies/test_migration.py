"""A migration moves on when everything speaks for it, and back when one thing speaks against it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.migrating import Approvals, Keep, Member, Step
from policies.migration import bypassed, step
from policies.migration_state import Phase, Seen, State, Verb, Waiting, standing
from policies.verdicts import Answer, Verdict

from .moves import ALWAYS, GATES, HOUR, NOW, STEPS, command, events, fine, kinds, plan, reached, said, started


def test_it_goes_through_its_steps_in_order() -> None:
    """Shadow, 10 %, 50 %, 100 %, done: each after its hold, each with a decision that says why."""
    whole = plan()
    state, shares, now = State.planned(whole), [], NOW
    asked = [command(Verb.START)]
    for _ in range(12):
        asked.append(command(Verb.APPROVE, len(asked), now))
        move = step(state, whole, fine(whole, state), asked, now)
        state, now = move.state, now + HOUR
        shares += [(one.event.value, one.after) for one in move.decisions if one.event.value in ("grew", "done")]
    assert shares == [("grew", 0.0), ("grew", 0.1), ("grew", 0.5), ("grew", 1.0), ("done", 1.0)]
    assert (state.phase, state.done_at is not None, state.in_force) == (Phase.DONE, True, (1.0, 0.0))


def test_decision_tells_who_why_when_and_from_what() -> None:
    """A step's record names the window that it was decided from, the answers, and the version it led to."""
    whole = plan()
    state = reached(whole, 0)
    (grew,) = step(state, whole, fine(whole, state), [], NOW + HOUR).decisions
    assert (grew.who, grew.at, grew.window, grew.version) == ("controller", NOW + HOUR, "1.1", state.version + 1)
    assert (grew.before, grew.after, grew.step) == (0.0, 0.1, 1)
    assert grew.why.startswith("to step 2 of 4 (share 10%); errors green (as tested), latency_p95 green")
    assert grew.summary.startswith("migration x grew: to step 2 of 4")
    assert "0 -> 0.1" in grew.summary


def test_every_step_begins_a_window() -> None:
    """What was seen of one step says nothing of the next: the same verdicts do not carry it a second time."""
    whole = plan(Step(share=0.1, hold=1), Step(share=0.5, hold=1), Step(share=1.0))
    state = reached(whole, 0)
    seen = fine(whole, state)
    first = step(state, whole, seen, [], NOW + 1)
    assert events(first) == ["grew"]
    second = step(first.state, whole, seen, [], NOW + 10)
    assert (events(second), kinds(second)) == ([], ["collecting evidence", "collecting evidence"])


@pytest.mark.parametrize(
    ("what", "keeps"),
    [
        ("hold", "holding"),
        ("missing", "collecting evidence"),
        ("unjudged", "collecting evidence"),
        ("open", "collecting evidence"),
        ("stranger", "collecting evidence"),
        ("approval", "awaiting approval"),
        ("freeze", "frozen"),
        ("room", "waiting for room for a rollback"),
        ("store", "the store is lost"),
        ("pause", "paused"),
    ],
)
def test_one_thing_is_enough_to_stay(what: str, keeps: str) -> None:
    """Where all else speaks for the next step, each of these by itself keeps it where it is, and is said."""
    whole = plan(freeze=ALWAYS if what == "freeze" else None)
    state = replace(reached(plan(), 2), approved=None if what == "approval" else "bob")
    seen = fine(whole, state)
    errors, latency = seen.verdicts
    match what:
        case "missing":
            seen = replace(seen, verdicts=(errors, replace(latency, answer=Answer.NOT_YET, missing=True)))
        case "unjudged":
            seen = replace(seen, verdicts=(errors,))
        case "open":
            seen = replace(seen, verdicts=(errors, replace(latency, answer=Answer.NOT_YET)))
        case "stranger":
            seen = replace(seen, verdicts=(errors, replace(latency, route="y")))
        case "room":
            seen = replace(seen, rooms={"x": 0.99})
        case "store":
            seen = replace(seen, shared=False)
        case "pause":
            state = replace(state, paused="lunch")
        case _:
            pass
    now = NOW + (HOUR - 1 if what == "hold" else HOUR)
    move = step(state, whole, seen, [], now)
    assert (move.decisions, move.state, kinds(move)) == ((), state, [keeps])
    assert standing(move.state, move.waits) == keeps


def test_old_target_has_room_for_what_it_carries() -> None:
    """Before anything has left it, the old target needs no showing; from then on it does."""
    whole = plan()
    shadow = reached(whole, 0)
    assert events(step(shadow, whole, replace(fine(whole, shadow), rooms={}), [], NOW + HOUR)) == ["grew"]
    some = reached(whole, 1)
    assert kinds(step(some, whole, replace(fine(whole, some), rooms={}), [], NOW + HOUR)) == [
        "waiting for room for a rollback"
    ]
    kept = plan(members=(Member("x", "old", "new", GATES, Keep(can_take=0.9), "r1"),))
    assert events(step(some, kept, replace(fine(kept, some), rooms={}), [], NOW + HOUR)) == ["grew"]


@pytest.mark.parametrize(
    ("bad", "index", "phase", "at"),
    [
        ("latency_p95", 2, Phase.RUNNING, 1),
        ("latency_p95", 1, Phase.RUNNING, 0),
        ("latency_p95", 0, Phase.ROLLED_BACK, -1),
        ("errors", 2, Phase.ROLLED_BACK, -1),
    ],
)
def test_breach_leads_back_at_once(bad: str, index: int, phase: Phase, at: int) -> None:
    """To the step before, where it stands still until somebody resumes it, or to the start, as the policy says."""
    whole = plan()
    state = reached(whole, index)
    seen = replace(fine(whole, state), verdicts=said(whole, state, **{bad: Answer.RED}))
    move = step(state, whole, seen, [], NOW + 1)
    (breach,) = move.decisions
    assert (breach.event.value, breach.alert) == ("breached", True)
    assert f"{bad} of x: as tested" in breach.why
    assert (move.state.phase, move.state.step) == (phase, at)
    assert move.state.in_force[0] == whole.share_at(at)
    assert move.state.window_id != state.window_id
    if phase is Phase.RUNNING:
        assert (standing(move.state), bad in (move.state.paused or "")) == ("paused", True)
        later = step(move.state, whole, fine(whole, move.state), [], NOW + 9 * HOUR)
        assert later.decisions == ()
        resumed = step(move.state, whole, fine(whole, move.state), [command(Verb.RESUME)], NOW + 9 * HOUR)
        assert events(resumed) == ["resumed", "grew"]


def test_end_of_a_bypass_asks_for_approval_again() -> None:
    """What was agreed to before a night in which everything was sent home rested on what was seen before."""
    state = replace(reached(plan(), 2), approved="bob", bypass=NOW)
    move = step(state, plan(), fine(plan(), state), [], NOW + 1)
    assert (events(move), move.state.approved, move.state.share) == (["bypass over"], None, 0.5)
    later = step(move.state, plan(), fine(plan(), move.state), [], NOW + 2 * HOUR)
    assert kinds(later) == ["awaiting approval"]


def test_who_may_approve_is_said() -> None:
    """Whoever looks knows whom to ask, and whom not."""
    whole = plan(approvals=Approvals(("ann", "bob"), four_eyes=True))
    state = replace(reached(whole, 2), started_by="ann@laptop")
    (wait,) = step(state, whole, fine(whole, state), [], NOW + HOUR).waits
    assert wait.text == "of owner, by ann or bob, not by ann@laptop"
    (wait,) = step(replace(state, started_by=None), whole, fine(whole, state), [], NOW + HOUR).waits
    assert wait.text == "of owner, by ann or bob"


def test_breach_while_paused_frozen_or_without_a_store() -> None:
    """Nothing that keeps it from growing keeps it from going back."""
    whole = plan(freeze=ALWAYS)
    state = replace(reached(plan(), 2), paused="lunch")
    bad = Seen(state.window_id, said(whole, state, errors=Answer.RED), {"x": 1.0}, shared=False)
    assert step(state, whole, bad, [], NOW).state.phase is Phase.ROLLED_BACK


def test_green_of_an_older_window_does_not_hide_a_breach_nor_make_one() -> None:
    """Verdicts of another window are about another share."""
    whole = plan()
    state = reached(whole, 2)
    stale = Seen("1.2", said(whole, state, errors=Answer.RED), {"x": 1.0})
    assert step(state, whole, stale, [], NOW).decisions == ()


def test_rollback_goes_as_fast_as_the_old_target_can() -> None:
    """Its known room is filled and no more; it is over when there is room for all."""
    whole = plan()
    state = reached(whole, 2)
    seen = replace(fine(whole, state), rooms={"x": 0.7})
    first = step(state, whole, seen, [command(Verb.ROLLBACK)], NOW)
    assert (first.state.phase, round(first.state.in_force[0], 9)) == (Phase.ROLLING_BACK, 0.3)
    assert step(first.state, whole, replace(seen, window=first.state.window_id), [], NOW + 60).decisions == ()
    more = step(first.state, whole, Seen(rooms={"x": 0.9}), [], NOW + 120)
    assert (events(more), round(more.state.share, 9)) == (["ramped"], 0.1)
    last = step(more.state, whole, Seen(rooms={"x": 1.0}), [], NOW + 180)
    assert (events(last), last.state.phase, last.state.why) == (
        ["rolled back"], Phase.ROLLED_BACK, "rollback by ann@laptop: reason to rollback",
    )  # fmt: skip


def test_rollback_into_unknown_room_is_paced() -> None:
    """The old target's part grows by at most a half every minute, and reaches all of it within seven."""
    whole = plan()
    state = step(reached(whole, 4), whole, Seen(), [command(Verb.ROLLBACK)], NOW).state
    carried = [round(1 - state.share, 2)]
    for tick in range(1, 8 * 12):
        state = step(state, whole, Seen(), [], NOW + tick * 5).state
        carried += [round(1 - state.share, 2)] if round(1 - state.share, 2) != carried[-1] else []
    assert carried == [0.1, 0.15, 0.22, 0.34, 0.51, 0.76, 1.0]
    assert state.phase is Phase.ROLLED_BACK


def test_breach_during_a_slow_way_back_ends_at_its_step() -> None:
    """Back to the last good step, in parts, and there it stands still."""
    whole = plan()
    state = replace(reached(whole, 2))
    bad = Seen(state.window_id, said(whole, state, latency_p95=Answer.RED), {"x": 0.6})
    first = step(state, whole, bad, [], NOW)
    assert (first.state.phase, round(first.state.share, 9)) == (Phase.ROLLING_BACK, 0.4)
    assert "can take 60% so far" in first.decisions[0].why
    last = step(first.state, whole, Seen(rooms={"x": 0.95}), [], NOW + 60)
    assert (events(last), last.state.phase, last.state.step, last.state.share) == (
        ["went back a step"], Phase.RUNNING, 1, 0.1,
    )  # fmt: skip
    assert "latency_p95" in (last.state.paused or "")


def test_group_moves_and_rolls_back_together() -> None:
    """All members' gates count, the least room of any decides, and one member's breach leads all back."""
    members = tuple(Member(name, "old", "new", GATES) for name in ("x", "y"))
    whole = plan(name="both", members=members)
    state = reached(whole, 2)
    state = replace(state, approved="ann")
    grew = step(state, whole, fine(whole, state), [], NOW + HOUR).decisions[0]
    assert "errors of x green (as tested), latency_p95 of x green" in grew.why
    one_sided = Seen(state.window_id, said(whole, state)[:2], {"x": 1.0, "y": 1.0})
    assert kinds(step(state, whole, one_sided, [], NOW + HOUR)) == ["collecting evidence", "collecting evidence"]
    narrow = replace(fine(whole, state), rooms={"x": 1.0, "y": 0.8})
    assert kinds(step(state, whole, narrow, [], NOW + HOUR)) == ["waiting for room for a rollback"]
    bad = replace(narrow, verdicts=(*said(whole, state), Verdict("y", GATES[0].measure, Answer.RED, "bad")))
    back = step(state, whole, bad, [], NOW)
    assert (back.state.phase, round(back.state.share, 9)) == (Phase.ROLLING_BACK, 0.2)


def test_another_release_is_another_migration() -> None:
    """What the policy moves has changed under it: it begins anew, everything is served from the old target."""
    state = reached(plan(), 2)
    other = plan(members=(Member("x", "old", "new", GATES, release="r2"),))
    move = step(state, other, Seen(), [], NOW)
    assert (events(move), move.decisions[0].alert) == (["replaced"], True)
    assert (move.state.phase, move.state.in_force, move.state.run) == (Phase.PLANNED, (0.0, 0.0), 1)
    assert step(move.state, other, Seen(), [], NOW).decisions == ()
    again = step(move.state, other, Seen(), [command(Verb.START, 2)], NOW).state
    assert (again.run, again.window_id) == (2, "2.1")


@pytest.mark.parametrize(
    ("steps", "at"),
    [
        ((Step(share=0.2, hold=1), Step(share=1.0)), -1),
        ((Step(shadow=0.01, hold=1), Step(share=0.05, hold=1), Step(share=0.2, hold=1), Step(share=1.0)), 1),
        ((Step(shadow=0.01, hold=1), Step(share=0.1, hold=9), Step(share=0.4, hold=1), Step(share=1.0)), 1),
    ],
)
def test_rewritten_steps_never_make_it_grow(steps: tuple[Step, ...], at: int) -> None:
    """It goes on from the last step that asks for no more than is in force, with a new window."""
    state = reached(plan(), 1)
    whole = plan(*steps)
    move = step(state, whole, fine(whole, state), [], NOW + 5)
    expected = (Phase.ROLLED_BACK if at < 0 else Phase.RUNNING, at, whole.share_at(at))
    assert (move.state.phase, move.state.step, move.state.share) == expected
    assert (events(move)[0], move.state.course) == ("steps rewritten", whole.course)


def test_steps_rewritten_in_other_phases() -> None:
    """Done stays done; a way back goes to the start, since its goal may be gone; a plan is a plan."""
    other = plan(Step(share=0.2, hold=1), Step(share=1.0))
    done = step(reached(plan(), 4), other, Seen(), [], NOW).state
    assert (done.phase, done.step, done.share) == (Phase.DONE, 1, 1.0)
    back = replace(reached(plan(), 2), phase=Phase.ROLLING_BACK, goal=1, halt="breach")
    assert step(back, other, Seen(), [], NOW).state.goal == -1
    assert step(State.planned(plan()), other, Seen(), [], NOW).state.phase is Phase.PLANNED


def test_bypass_ends_where_it_began() -> None:
    """Everything goes home for its time; then the step is held anew, but not into a freeze or without a store."""
    whole = plan()
    state = reached(whole, 1)
    until = NOW + 2 * HOUR
    gone = step(state, whole, Seen(), [command(Verb.BYPASS, until=until)], NOW).state
    assert (gone.in_force, standing(gone)) == ((0.0, 0.0), "bypassed")
    assert kinds(step(gone, whole, fine(whole, gone), [], until - 1))[0] == "bypassed"
    assert step(gone, plan(freeze=ALWAYS), fine(whole, gone), [], until).decisions == ()
    assert step(gone, whole, replace(fine(whole, gone), shared=False), [], until).decisions == ()
    back = step(gone, whole, fine(whole, gone), [], until)
    assert (events(back), back.state.in_force, back.state.since) == (["bypass over"], (0.1, 0.0), until)
    assert back.state.window == state.window + 1


def test_bypass_that_is_over_and_lasts_says_why() -> None:
    """Whoever looks after its time sees what keeps it: a pause, a freeze, a state that is away; else the next look."""
    whole, frozen = plan(), plan(freeze=ALWAYS)
    gone = replace(reached(whole, 1), bypass=NOW)
    assert bypassed(gone, whole, NOW - 60) == "for another 1m"
    assert bypassed(gone, whole, NOW) == "its time is over; it ends at the next look"
    held = replace(gone, paused="lunch")
    assert bypassed(held, frozen, NOW, shared=False) == (
        "its time is over; it lasts while it is paused (lunch) and the policy's freeze is on and the shared state "
        "can't be reached"
    )
    move = step(held, frozen, fine(frozen, held), [], NOW)
    assert "its time is over; it lasts while" in next(one.text for one in move.waits if one.what is Waiting.BYPASSED)


def test_breach_that_is_seen_during_a_bypass_counts() -> None:
    """Late evidence of the step is not forgotten because everything went home meanwhile."""
    whole = plan()
    state = replace(reached(whole, 1), bypass=NOW + HOUR)
    bad = Seen(state.window_id, said(whole, state, errors=Answer.RED))
    assert step(state, whole, bad, [], NOW).state.phase is Phase.ROLLED_BACK


def test_bypass_of_a_way_back_completes_it() -> None:
    """The old target carries everything already, so there is nothing left to be careful with."""
    whole = plan()
    state = step(reached(whole, 2), whole, Seen(rooms={"x": 0.6}), [command(Verb.ROLLBACK)], NOW).state
    move = step(state, whole, Seen(rooms={"x": 0.6}), [command(Verb.BYPASS, until=NOW + HOUR)], NOW + 1)
    assert (events(move), move.state.phase) == (["bypassed", "rolled back"], Phase.ROLLED_BACK)
    assert (move.state.in_force, move.state.bypass) == ((0.0, 0.0), None)


def test_commands_do_not_hold_up_a_way_back() -> None:
    """Whatever people ask meanwhile, and however often, the next part is moved."""
    whole = plan()
    state = step(reached(whole, 2), whole, Seen(rooms={"x": 0.6}), [command(Verb.ROLLBACK)], NOW).state
    move = step(state, whole, Seen(rooms={"x": 1.0}), [command(Verb.RESUME)], NOW + 1)
    assert events(move) == ["refused", "rolled back"]


def test_migration_without_gates_goes_by_time() -> None:
    """Nothing is asked of evidence that the policy does not ask for."""
    whole = plan(*STEPS[:2], Step(share=1.0), members=(Member("x", "old", "new"),))
    state = started(whole)
    move = step(state, whole, Seen(rooms={"x": 1.0}), [], NOW + HOUR)
    assert (events(move), "no gate to pass" in move.decisions[0].why) == (["grew"], True)
