"""What gates make of limits: learnt from answers, divided among processes, let go by whoever finds no room."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest

from backends.gates import Gate, Gates, Refused
from policies.kinds import Kind, alike
from policies.limits import SHRINK, START, Bounds, Hold, Limit
from policies.pace import Pace
from policies.table import EndpointSpec, LimitRule, Target, VllmSpec

from .test_gates import GPU, LIKE, ended, settled, target, waiting


async def test_overload_is_learnt_and_told() -> None:
    """Answers and pushback move the limit of that target alone."""
    gates, wide = Gates(), Target("wide", "endpoint", EndpointSpec("wide"))
    for _ in range(10):
        gates.of(wide).answered(0.1, 1, 0, 1.0, LIKE)
    gates.pushed_back(wide, 2.0)
    assert list(gates.states()) == [("wide", 204, 0, 0)]
    gates.keep([target("other")])
    assert list(gates.states()) == []


def test_the_limit_that_is_shown_is_the_one_that_binds() -> None:
    """Before the first answer as after it, and in each of several processes its part."""
    four = Target("four", "endpoint", EndpointSpec("four"), limit=LimitRule(Bounds(2, 4)))
    for workers, shown in ((1, 4), (2, 2)):
        gates = Gates(workers)
        assert gates.enter(four)
        assert list(gates.states()) == [("four", shown, 1, 0)]
        gates.of(four).answered(0.1, 1, 0, 1.0, LIKE)
        assert list(gates.states()) == [("four", shown, 1, 0)]


async def test_what_answers_showed_is_known_to_whoever_asks() -> None:
    """Answers are learnt of later and together, and one by one or at last they come to the same."""
    later, at_once = Gate(), Gate()
    took = [(0.05 * (1 + number % 7), 1 + number % 3, number % 2, float(number)) for number in range(50)]
    assert [later.answered(*each, LIKE) for each in took] == [True] + 49 * [False]
    for each in took:
        assert at_once.answered(*each, LIKE)
        at_once.learn()
    later.pushed_back(60.0)
    at_once.pushed_back(60.0)
    assert later.limit == at_once.limit != Limit()
    assert later.answered(0.1, 1, 0, 61.0, LIKE)


def test_answers_that_do_not_come_are_late_and_teach_nothing_of_their_kind() -> None:
    """Whether they were to be streams or not, and whoever gave them up; who leaves at once says nothing."""
    for streaming in (False, True):
        gate, like = Gate(), alike("a", 900, None if streaming else 600, streaming=streaming)
        for number in range(60):
            gate.answered(1.0, 1, 0, float(number), like)
        calm, none = gate.limit, alike("a", 900, streaming=streaming)
        gate.answered(0.1, 80, 0, 60.0, none, came=False)
        assert gate.limit == calm
        for number in range(60):
            gate.answered(30.0, 80, 0, 61.0 + number, none, came=False)
        assert gate.limit.value < calm.value
        assert gate._usual._kinds == {like: Kind()}


def test_overload_is_seen_though_many_routes_have_answers_of_all_sizes() -> None:
    """Twenty routes, each with twenty kinds that it has shown twice, and then all of them are five times slower."""
    gate, now = Gate(), 0.0
    kinds = [alike(f"route {each % 20}", 900, 2 ** (each // 20)) for each in range(400)]
    for round_, seconds, inside in ((1, 1.0, 4), (2, 1.0, 4), (3, 5.0, 200)):
        for like in kinds:
            now += 0.05
            gate.answered(seconds, inside, 0, now, like)
        assert (gate.limit.value < 256.0) is (round_ == 3)


async def test_processes_begin_with_a_part_of_the_places_each() -> None:
    """Together with as many as one would; a target that moved begins there again."""
    gates, wide = Gates(workers=4), replace(GPU, limit=LimitRule(Bounds(4, 4000)))
    gates.keep([wide])
    gates.pushed_back(wide, 1.0)
    assert gates.of(wide).limit.value == START / 4 * SHRINK
    gates.keep([replace(wide, spec=EndpointSpec("another"))])
    assert gates.of(wide).limit.value == START / 4


async def test_a_target_that_is_held_is_let_go_by_whoever_finds_no_room() -> None:
    """Its time is over and all places are streams', which say nothing more: who comes and who waits get in."""
    gates, pair = Gates(), replace(GPU, limit=LimitRule(Bounds(1, 10), 5, 100, 60.0))
    gate, calm = gates.of(pair), Pace(0.0, 0.0, 50)
    hold = Hold(calm, calm, 1, 3.0, 3.0, doubtful=False, until=math.inf)
    gate._limit = Limit(1.0, calm, hold=hold)
    assert gates.enter(pair)
    assert not gates.enter(pair)
    first = waiting(gates, at=pair)
    await settled()
    assert not first.done()
    gate._limit = replace(gate._limit, hold=replace(hold, until=asyncio.get_running_loop().time()))
    second = waiting(gates, at=pair)
    await asyncio.gather(first, second)
    assert gate.active == 3


@pytest.mark.parametrize("before", [True, False], ids=["held before they came", "held while they wait"])
async def test_who_waits_gets_in_when_a_hold_is_over_though_nobody_comes_or_goes(before: bool) -> None:
    """Long streams have all places, and the queue takes nobody who would look."""
    gates, pair = Gates(), replace(GPU, limit=LimitRule(Bounds(1, 10), 1, 100, 60.0))
    gate, calm, now = gates.of(pair), Pace(0.0, 0.0, 50), asyncio.get_running_loop().time()
    hold = Hold(calm, calm, 1, 3.0, 3.0, doubtful=False, until=now + 0.05)
    gate._limit = Limit(1.0, calm, hold=hold if before else None)
    assert gates.enter(pair)
    first = waiting(gates, at=pair)
    await settled()
    falls(gates, pair, 1.0, hold)
    async with asyncio.timeout(30.0):
        await first
    assert asyncio.get_running_loop().time() >= hold.until
    assert (gate.active, gate.waiting, gate.limit.hold) == (2, 0, None)


async def test_who_waits_gets_in_when_answers_have_shown_that_there_is_room() -> None:
    """Those of streams keep their places, so that nobody leaves then."""
    gates, pair = Gates(), replace(GPU, limit=LimitRule(Bounds(1, 10), 5, 100, 60.0))
    gates.of(pair)._limit = Limit(1.0, Pace(0.0, 0.0, 50))
    assert gates.enter(pair)
    first = waiting(gates, at=pair)
    await settled()
    gates.of(pair)._limit = replace(gates.of(pair).limit, value=2.0)
    assert not first.done()
    gates.of(pair).learn()
    async with asyncio.timeout(30.0):
        await first
    assert gates.of(pair).active == 2


async def test_a_target_that_is_held_stays_inside_the_policys_most() -> None:
    """Also where a reload has just set it below what the target is held to."""
    gates, calm = Gates(), Pace(0.0, 0.0, 50)
    held = replace(GPU, limit=LimitRule(Bounds(1, 2)))
    hold = Hold(calm, calm, 1, 9.0, 9.0, doubtful=False, until=math.inf)
    gates.of(held)._limit = Limit(6.0, calm, hold=hold)
    assert [gates.enter(held) for _ in range(4)] == [True, True, False, False]


async def test_a_target_that_moved_has_its_limit_to_find_anew() -> None:
    """What another one bore says nothing of it; one that has a further replica is the same."""
    gates = Gates()
    pair = replace(GPU, spec=VllmSpec(("http://a", "http://b"), "m"))
    gates.keep([pair])
    assert gates.enter(pair)
    for moment in range(1, 4):
        gates.pushed_back(pair, float(moment))
    learnt = gates.of(pair).limit
    gates.keep([replace(pair, spec=VllmSpec(("http://c", "http://a"), "m"))])
    assert gates.of(pair).limit is learnt
    gates.keep([replace(pair, spec=VllmSpec(("http://d",), "m"))])
    assert (gates.of(pair).limit, gates.of(pair).active) == (Limit(), 1)


def test_of_thousands_of_answers_in_a_second_some_are_learnt_of() -> None:
    """Those that come in the same moment say what the first of them does."""
    gate = Gate()
    assert [gate.answered(0.1, 1, 0, 5.0 + number / 10_000, LIKE) for number in range(20)].count(True) == 1
    assert gate.limit.calm is not None
    assert gate.limit.calm.count == 4


def falls(gates: Gates, at: Target, value: float, hold: Hold | None = None) -> None:
    """The next answer finds the limit there."""
    gate = gates.of(at)
    gate._limit, gate._fell = replace(gate.limit, value=value, hold=hold), True
    gate.learn()


def forty(wait: float) -> tuple[Gates, Target]:
    """A target of forty places, all taken, whose answers take a minute each."""
    gates, wide = Gates(), replace(GPU, limit=LimitRule(Bounds(1, 40), 100, 10_000, wait))
    gates.of(wide)._limit = Limit(40.0, Pace(math.log(60.0), 0.0, 50))
    assert [gates.enter(wide) for _ in range(40)] == [True] * 40
    return gates, wide


async def test_those_who_are_too_many_leave_before_the_next_turn() -> None:
    """Where the limit fell below those who are inside: nobody gets in until then, which takes its time."""
    gates, wide = forty(60.0)
    gate = gates.of(wide)
    assert gate.turn_of(4) == pytest.approx(6.0)
    falls(gates, wide, 10.0)
    assert gate.turn_of(4) == pytest.approx(45.0 + 24.0)
    for _ in range(30):
        gates.leave(wide)
    assert gate.turn_of(4) == pytest.approx(24.0)


async def test_while_it_is_held_a_turn_comes_when_it_is_let_go_at_last() -> None:
    """Then there is as much room as before; one that should be over holds nobody back any more."""
    gates, wide = forty(60.0)
    calm, now = Pace(math.log(60.0), 0.0, 50), asyncio.get_running_loop().time()
    hold = Hold(calm, calm, 0, 40.0, 40.0, doubtful=False, until=now + 20.0)
    falls(gates, wide, 1.0, hold)
    assert gates.of(wide).turn_of(4) == pytest.approx(20.0 + 6.0, abs=3.0)
    falls(gates, wide, 1.0, replace(hold, until=now))
    assert gates.of(wide).turn_of(4) == pytest.approx(6.0)


async def test_whose_turn_has_become_too_late_is_told_at_once() -> None:
    """Who still has time waits on, in the order in which they would get in: by rank, and then who came first."""
    gates, wide = forty(60.0)
    queued = [waiting(gates, "first", at=wide) for _ in range(6)]
    await settled()
    last = waiting(gates, "last", at=wide)
    await settled()
    assert [task.done() for task in (*queued, last)] == [False] * 7
    falls(gates, wide, 10.0)
    await settled()
    given_up = [task for task in (*queued, last) if task.done()]
    assert given_up == queued[2:]  # 45 s for those who are too many, and 6 s for each
    for task in given_up:
        with pytest.raises(Refused, match="a turn would come too late"):
            await task
    assert list(gates.states()) == [("gpu", 10, 40, 3)]
    await ended(*queued, last)
    assert list(gates.states()) == [("gpu", 10, 40, 0)]


async def test_pushback_gives_up_who_has_no_time_left() -> None:
    """What a target says of itself moves turns as what its answers show does."""
    gates, wide = forty(9.0)
    first, second = waiting(gates, at=wide), waiting(gates, at=wide)
    await settled()
    assert not second.done()
    gates.pushed_back(wide, asyncio.get_running_loop().time())
    await settled()
    assert [task.done() for task in (first, second)] == [True, True]
    await ended(first, second)


async def test_who_waits_in_vain_is_told_where_answers_come_later_and_the_limit_stays() -> None:
    """As it does while what it was made small for is waited for: the next answer shows it."""
    gates, wide = forty(60.0)
    gate = gates.of(wide)
    queued = [waiting(gates, at=wide) for _ in range(6)]
    await settled()
    assert gate.turn_of(5) == pytest.approx(7.5)
    gate._limit = replace(gate.limit, calm=Pace(math.log(600.0), 0.0, 50))
    gate.learn()
    await settled()
    assert [task.done() for task in queued] == [False] * 4 + [True] * 2  # 15 s for each
    with pytest.raises(Refused, match="a turn would come too late"):
        await queued[-1]
    await ended(*queued)
