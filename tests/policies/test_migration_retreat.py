"""The way back: as fast as the old target has room, and never faster."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.migrating import START, Member
from policies.migration_retreat import FIRST, GROWTH, PACE, carried, retreat, roll, room
from policies.migration_state import Phase, Seen

from .moves import NOW, plan, reached
from .written import PATIENT

PLAN = plan(members=(Member("x", "a", "b"), Member("y", "c", "d")))


def test_room_is_at_least_what_is_carried() -> None:
    """What a target does it can do; of the rest only what is shown."""
    state = reached(PLAN, 2)
    assert carried(state) == 0.5
    assert room(state, PLAN, Seen(rooms={"x": 0.8, "z": 1.0})) == {"x": 0.8, "y": 0.5}


@pytest.mark.parametrize(("goal", "phase", "share", "paused"), [
    (START, Phase.ROLLED_BACK, 0.0, None),
    (1, Phase.RUNNING, 0.1, "breach"),
])  # fmt: skip
def test_at_once_where_there_is_room(goal: int, phase: Phase, share: float, paused: str | None) -> None:
    """To the start, or to a step where it stands still; evidence begins anew either way."""
    state = retreat(reached(PLAN, 2), goal, "breach" if goal > START else None)
    back = roll(state, PLAN, Seen(rooms={"x": 1.0, "y": 1.0}), NOW)
    assert (back.phase, back.share, back.step, back.paused) == (phase, share, goal, paused)
    assert back.window > reached(PLAN, 2).window


def test_slowest_member_sets_the_pace() -> None:
    """One that has no room keeps all from moving; they move as one."""
    state = retreat(reached(PLAN, 2), START, None)
    assert roll(state, PLAN, Seen(rooms={"x": 1.0, "y": 0.2}), NOW) is state
    assert roll(state, PLAN, Seen(rooms={"x": 1.0, "y": 0.7}), NOW).share == pytest.approx(0.3)
    assert roll(state, PLAN, Seen(rooms={"x": 0.6}), NOW).share == pytest.approx(0.4)


@PATIENT
@given(
    st.lists(st.tuples(st.sampled_from([None, *(tenth / 10 for tenth in range(11))]), st.sampled_from([5.0, PACE]))),
    st.sampled_from([START, 0, 1]),
)
def test_old_target_never_gets_more_than_it_can_take(rooms: list[tuple[float | None, float]], goal: int) -> None:
    """Whatever room shows itself, when: known room is not exceeded, unknown is entered by a half more each minute."""
    whole = plan()
    state, now = retreat(reached(whole, 3), goal, None), NOW
    for shown, wait in rooms:
        now += wait
        before, at = carried(state), state.ramped
        state = roll(state, whole, Seen(rooms={} if shown is None else {"x": shown}), now)
        if state.phase is not Phase.ROLLING_BACK:
            assert state.share == whole.share_at(goal)
            break
        limit = max(FIRST, GROWTH * before) if now - at >= PACE else before
        assert before - 1e-9 <= carried(state) <= max(before, limit if shown is None else shown) + 1e-9


def test_what_was_done_is_done_no_longer() -> None:
    """A rollback from the end leaves no date from which the old target is kept."""
    whole = plan()
    assert reached(whole, 4).done_at is not None
    assert retreat(reached(whole, 4), START, None).done_at is None
