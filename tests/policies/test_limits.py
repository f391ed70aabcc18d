"""The concurrency limit: it grows while all is quick, shrinks when it is not, and is never stuck."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.limits import SCENES, Phase, Result, result
from policies.limits import (
    BURST,
    SHRINK,
    START,
    Bounds,
    Episode,
    Hold,
    Limit,
    after_answer,
    after_pushback,
    after_silence,
    queue_holds,
)
from policies.pace import Pace

from .written import PATIENT

BOUNDS = Bounds(4, 1000)


def played(scene: str, processes: int, spread: float) -> Result:
    """What the simulation of that scene came to; the same whenever it is played."""
    return result(SCENES[scene], processes, spread)


def warmed(service: float) -> Limit:
    """A limit that has seen a calm target."""
    limit = Limit()
    for _ in range(10):
        limit = after_answer(limit, service, 1, 0.0, BOUNDS)
    return limit


@pytest.mark.parametrize("processes", [1, 4])
@pytest.mark.parametrize("spread", [0.05, 0.3, 0.8])
@pytest.mark.parametrize("scene", ["a healthy target, 30 % used", "a healthy target, 80 % used"])
def test_a_healthy_target_is_let_be(scene: str, spread: float, processes: int) -> None:
    """However much its answers differ by chance, nobody is refused."""
    assert played(scene, processes, spread).refused == 0.0


@pytest.mark.parametrize("processes", [1, 4])
def test_answers_that_differ_very_much_cost_little(processes: int) -> None:
    """Where some take thirty times as long as others, the beginning may mislead, and not for long."""
    came = played("a healthy target, 80 % used", processes, 1.2)
    assert came.refused < 0.05
    assert came.late_goodput > 0.98


@pytest.mark.parametrize("processes", [1, 3])
def test_streams_of_a_healthy_target_are_let_be(processes: int) -> None:
    """Though each holds its place for seventy times as long as its first piece took."""
    assert played("healthy, streams of 20 s", processes, 0.8).refused == 0.0


@pytest.mark.parametrize("processes", [1, 4])
@pytest.mark.parametrize("scene", ["three times too much", "three times too much, streams"])
def test_overload_costs_no_goodput_and_little_waiting(scene: str, processes: int) -> None:
    """The target is used whole, and its queue is not where requests wait."""
    came = played(scene, processes, 0.3)
    assert came.late_goodput > 0.93
    assert came.wait < (12 if "streams" in scene else 3)  # it would be 80 and 24 without a limit


@pytest.mark.parametrize("processes", [1, 3, 6])
def test_overload_that_lasts_does_not_pass_for_the_targets_pace(processes: int) -> None:
    """Of a small target, in ten minutes: processes that share it would learn each other's queue as its pace."""
    came = played("three times too much, eight places", processes, 0.3)
    assert came.late_goodput > 0.9
    assert came.wait < 6


def test_a_target_that_bears_less_is_sent_less() -> None:
    """With a quarter of its places left it is used whole, without a queue of its own that grows."""
    came = played("a quarter of the places left", 1, 0.3)
    assert came.goodput > 0.9
    assert came.wait < 3


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("times", ["four", "ten", "thirty"])
def test_a_target_that_became_slower_for_good_is_not_strangled(times: str, processes: int) -> None:
    """That fewer requests change nothing is noticed, and the new pace is learnt as the calm one."""
    came = played(f"{times} times slower for good", processes, 0.3)
    assert came.late_goodput > 0.95
    assert sum(came.limits) > 200


def test_what_overload_taught_is_forgotten_when_it_is_over() -> None:
    """Nobody is refused any more soon after."""
    assert played("too much, and then not", 1, 0.3).refused < 0.02


@pytest.mark.parametrize("processes", [1, 3])
def test_overload_that_is_over_is_not_looked_for(processes: int) -> None:
    """Of a target at 60 % of what it does, after half a minute of twice what it does: 2 to 7 % were refused in the two
    minutes after that, in one or two moments in which it was held to a quarter."""
    phases = [Phase(30, 64, 32, 1.0), Phase(120, 19, 32, 1.0)]
    assert result(phases, processes).refused < 0.01


def test_an_unused_limit_does_not_grow() -> None:
    """What few requests tell says nothing of many."""
    assert result([Phase(60, 60, 1000, 0.3)]).limits == (START,)


def test_a_target_that_is_quick_enough_gets_all_there_is() -> None:
    """Without a sign of overload the policy's most is the limit."""
    assert result([Phase(5, 20_000, 100_000, 0.1)]).limits == (BOUNDS.most,)


@pytest.mark.parametrize("lasting", [0, 6])
def test_where_fewer_requests_are_no_quicker_the_limit_goes_back(lasting: int) -> None:
    """And the target is tried with few at the next turn of the common clock, which all have at the same moment."""
    limit, now = warmed(0.1), 0.0
    values = [limit.value]
    held: list[float] = []
    while len(held) < 2 and now < 60.0:
        now += 0.05
        sent = max(lasting + 1, int(min(40.0, limit.value)))
        before, limit = limit, after_answer(limit, 0.5, sent, now, BOUNDS, lasting, 100.0)
        if limit.value < values[-1]:
            values.append(limit.value)
        if (limit.hold is None) != (before.hold is None):
            held.append(now)
    assert len(held) == 2
    assert min(values) < START * SHRINK
    assert held[0] < 20.0
    assert held[0] + 100.0 == pytest.approx((held[0] + 100.0) // 16 * 16, abs=0.1)
    assert limit.value == START
    assert limit.calm is not None
    assert limit.calm.seconds == pytest.approx(0.5)


@pytest.mark.parametrize("clock", [0.0, 1_764_000_000.0])
def test_all_who_saw_lateness_try_few_at_the_same_moment(clock: float) -> None:
    """Though their limits and paces differ, and whatever their own clocks began with; who saw none does not."""
    moments = []
    for found, late_at, pace in ((True, 20.0, 0.21), (True, 24.9, 0.25), (False, -math.inf, 0.21)):
        calm = Pace(math.log(0.2), math.log(4), 50)
        limit = Limit(50.0, calm, replace(calm, mean=math.log(pace)), found=found, late_at=late_at, answered_at=24.9)
        now = 24.9
        while limit.hold is None and now < 60.0:
            now += 0.03
            limit = after_answer(limit, pace, 40, now, BOUNDS, 0, clock)
        moments.append(now)
    assert moments[2] > 59.0
    assert moments[0] == pytest.approx(moments[1], abs=0.04)
    assert (moments[0] + clock) % 8.0 == pytest.approx(0.0, abs=0.04)


@pytest.mark.parametrize(
    ("pace", "in_flight", "lasting", "tried"),
    [(0.21, 15, 0, False), (0.21, 40, 0, True), (0.35, 15, 0, True), (0.21, 15, 12, True)],
)
def test_lateness_that_is_past_is_not_tried(pace: float, in_flight: int, lasting: int, tried: bool) -> None:
    """Answers are quick again and most of the limit is free: to hold the target would refuse three of four requests of
    a healthy one. It is tried where the limit is in use, where answers are somewhat late, as they are where other
    processes have a queue there, and where streams fill it."""
    calm = Pace(math.log(0.2), math.log(4), 50)
    recent = Pace(math.log(pace), math.log(in_flight), 30)
    limit, now = Limit(50.0, calm, recent, spread=0.1, found=True, late_at=20.0, answered_at=24.9), 24.9
    while limit.hold is None and now < 36.0:
        now += 0.03
        limit = after_answer(limit, pace, in_flight, now, BOUNDS, lasting)
    assert (limit.hold is not None) is tried


@pytest.mark.parametrize(("in_flight", "lasting", "late"), [(10, 0, True), (200, 0, False), (200, 190, True)])
def test_many_at_a_time_may_take_longer(in_flight: int, lasting: int, late: bool) -> None:
    """Two and a half times as long is lateness with ten requests in flight, and not with two hundred, unless most of
    them have their answers and go on as streams."""
    limit = Limit(100.0, Pace(math.log(0.1), math.log(4), 50), found=True, spread=0.01)
    for number in range(40):
        limit = after_answer(limit, 0.25, in_flight, 100.0 + number / 100, BOUNDS, lasting)
    assert (limit.value < 100.0) is late


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("used", ["80 % used", "90 % used"])
def test_an_engine_that_batches_is_let_be(used: str, processes: int) -> None:
    """Though its answers take five times as long with all places taken: it does more the more it has at a time."""
    assert played(f"an engine that batches, {used}", processes, 0.3).refused == 0.0


def held_limit() -> Limit:
    """A limit that tries the target with few requests until the time 9."""
    calm = Pace(math.log(0.1), math.log(4), 50)
    late = Pace(math.log(1.0), math.log(100), 30)
    hold = Hold(late, calm, lasting=0, back=120.0, back_unless=200.0, doubtful=False, until=9.0)
    return replace(Limit(25.0, calm, None), hold=hold, sent_from=1.0, heard_from=2.0, found=True, answered_at=1.0)


def test_what_is_held_is_let_go_though_nobody_answers() -> None:
    """Who finds no room after its time finds the room that was before; before, or without one held, nothing changes."""
    limit = held_limit()
    assert after_silence(limit, 8.9, BOUNDS) is limit
    gone = after_silence(limit, 9.0, BOUNDS)
    assert (gone.value, gone.hold, gone.calm) == (120.0, None, limit.calm)
    assert after_silence(gone, 99.0, BOUNDS) is gone


@pytest.mark.parametrize(("seconds", "value", "calm"), [(0.1, 25 * 1.5, 0.1), (1.0, 200.0, 1.0)])
def test_few_requests_say_whose_fault_it_was(seconds: float, value: float, calm: float) -> None:
    """Quick answers: it was the load, and the target gets what it does calmly. As slow as before: it is its pace."""
    limit, now = held_limit(), 2.0
    while limit.hold is not None:
        now += 0.1
        limit = after_answer(limit, seconds, 25, now, BOUNDS)
    assert now < 6.0
    assert limit.value == pytest.approx(value)
    assert limit.calm is not None
    assert limit.calm.seconds == pytest.approx(calm)


def test_long_and_short_answers_blame_nobody_by_chance() -> None:
    """A few that are somewhat quicker are no proof where answers differ by factors, and are where they hardly do."""
    for spread, value in ((6.0, 200.0), (0.1, 25 * 1.5 * 0.1 / 0.4)):
        limit, now = replace(held_limit(), spread=spread), 2.0
        while limit.hold is not None:
            now += 0.1
            limit = after_answer(limit, 0.4, 25, now, BOUNDS)
        assert limit.value == pytest.approx(value)


def test_a_hold_without_answers_forgets_nothing() -> None:
    """Where it was too short for any, or streams leave no room, it goes on to look whether it was of use to shrink; a
    large limit behind streams begins anew."""
    late = Episode(Pace(math.log(1.0), math.log(100), 30), 150.0)
    for back, lasting, kept in ((12.0, 40, late), (120.0, 0, late), (120.0, 40, None)):
        limit = replace(held_limit(), episode=late)
        assert limit.hold is not None
        limit = replace(limit, hold=replace(limit.hold, back=back, lasting=lasting))
        assert after_silence(limit, 9.0, BOUNDS).episode == kept


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("spread", [0.3, 0.8])
def test_a_target_that_is_ten_times_slower_for_good_is_soon_believed(spread: float, processes: int) -> None:
    """A limit that is held for too short a time to hear of the slower answers knows afterwards what it was about."""
    for seed in range(1, 4):
        came = result(SCENES["ten times slower for good"], processes, spread, seed)
        assert came.refused < 0.1


@pytest.mark.parametrize("processes", [1, 4])
@pytest.mark.parametrize("times", ["four", "ten"])
def test_streams_that_begin_later_for_good_are_not_strangled(times: str, processes: int) -> None:
    """Though they hold their places so long that a small limit hears few answers."""
    phases = SCENES[f"streams, {times} times slower for good"]
    for seed in range(1, 4):
        assert result(phases, processes, 0.5, seed).late_goodput > 0.85


def test_pushback_while_it_is_held_counts_afterwards() -> None:
    """The limit to go back to shrinks as well."""
    limit = after_pushback(held_limit(), 3.0, BOUNDS)
    assert limit.value == 25.0 * SHRINK
    assert limit.hold is not None
    assert limit.hold.back == 120.0 * SHRINK


def test_the_first_answers_after_a_shrink_are_waited_for() -> None:
    """What was sent before says nothing, and of what was sent since, the quick ones come first."""
    limit = replace(warmed(0.1), sent_from=10.0, heard_from=12.0, answered_at=11.0)
    known = limit.recent
    for seconds, now in ((5.0, 14.0), (1.5, 11.9)):
        assert after_answer(limit, seconds, 200, now, BOUNDS).recent == known
    assert after_answer(limit, 3.0, 200, 13.5, BOUNDS).recent != known


def test_pushback_shrinks_it_once_a_round() -> None:
    """Throttling of a whole burst is one sign, not a hundred."""
    limit = warmed(0.1)
    once = after_pushback(limit, 10.0, BOUNDS)
    assert once.value == START * SHRINK
    assert after_pushback(once, 10.05, BOUNDS) is once
    assert after_pushback(once, 10.2, BOUNDS).value == pytest.approx(START * SHRINK * SHRINK)


def test_pushback_of_a_quick_target_shrinks_it_once_a_round_too() -> None:
    """A burst that is refused in milliseconds is one sign, though answers take no longer than that."""
    limit = after_pushback(warmed(0.001), 10.0, BOUNDS)
    assert after_pushback(limit, 10.04, BOUNDS) is limit
    assert after_pushback(limit, 10.06, BOUNDS).value < limit.value


@PATIENT
@given(
    st.integers(1, 50),
    st.integers(0, 500),
    st.lists(st.tuples(st.booleans(), st.floats(0.001, 60), st.integers(1, 2000), st.floats(0, 10)), max_size=60),
)
def test_it_stays_inside_its_bounds(least: int, more: int, steps: list[tuple[bool, float, int, float]]) -> None:
    """Whatever happens, the policy's least and most hold."""
    bounds, limit, now = Bounds(least, least + more), Limit(), 0.0
    for answered, seconds, in_flight, waited in steps:
        now += waited
        limit = after_answer(limit, seconds, in_flight, now, bounds) if answered else after_pushback(limit, now, bounds)
        assert not answered or bounds.least <= limit.value <= bounds.most


def test_a_queue_at_the_target_does_not_pass_for_its_pace() -> None:
    """Full load teaches no slower calm time; few requests do, and once a limit was found they take minutes."""
    limit, now = warmed(0.1), 0.0
    for _ in range(600):
        now += 0.01
        limit = after_answer(limit, 0.15, 90, now, BOUNDS)
    assert limit.calm is not None
    assert limit.calm.seconds == pytest.approx(0.1)
    for found, slower in ((True, 0.12), (False, 0.14)):
        after, then = replace(limit, found=found, value=START), now
        for _ in range(60):
            then += 1.0
            after = after_answer(after, 0.15, 4, then, BOUNDS)
        assert after.calm is not None
        assert (after.calm.seconds > slower) is not found


def test_quick_answers_alone_are_no_calm_pace() -> None:
    """Long and short answers count alike, also once a limit was found: the pace lies in their middle."""
    limit, draw = replace(warmed(1.0), found=True), random.Random(1)
    for step in range(3000):
        limit = after_answer(limit, draw.choice((0.1, 10.0)), 4, 0.5 * step, BOUNDS)
    assert limit.calm is not None
    assert limit.calm.seconds == pytest.approx(1.0, rel=0.5)


def test_the_first_answer_gives_no_process_more_than_its_part() -> None:
    """What one of several processes begins with was made small long ago by nobody."""
    assert after_answer(Limit(START / 4), 0.1, 1, 10.0, BOUNDS).value == START / 4


def test_a_limit_that_hardly_anyone_uses_leaves_room_above_what_is_used() -> None:
    """Forty late requests of 256 are no measure of what the target bears."""
    limit, now = warmed(0.05), 1.0
    while limit.value == START:
        now += 0.02
        limit = after_answer(limit, 0.5, 40, now, BOUNDS)
    assert limit.value == 60.0


def test_what_was_learnt_fades() -> None:
    """A limit that overload has made small finds its way back where there is no sign of it any more, used or not."""
    limit, now = replace(warmed(0.1), value=10.0, found=True, shrunk_at=0.0), 0.0
    for second in range(600):
        limit = after_answer(limit, 0.1, 1, now + second, BOUNDS)
    assert limit.value == START
    narrow = Bounds(4, 100)
    for second in range(600):
        limit = after_answer(replace(limit, value=10.0) if not second else limit, 0.1, 1, now + 600 + second, narrow)
    assert limit.value == narrow.most


def test_a_queue_that_stands_is_short_and_a_burst_is_not_refused() -> None:
    """What was empty a moment ago may hold more; neither holds less than an answer takes."""
    assert queue_holds(warmed(0.01), BURST / 2) == BURST
    assert queue_holds(warmed(0.01), BURST) < BURST
    assert queue_holds(warmed(3.0), BURST) == pytest.approx(3.0)
    assert queue_holds(held_limit(), BURST) == pytest.approx(1.0)
    assert queue_holds(Limit(), 0.0) == BURST
