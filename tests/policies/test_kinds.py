"""What requests of one kind usually take beside those of others."""

from __future__ import annotations

import math

import pytest

from benchmarks.limits import SCENES, result
from policies.kinds import LEARNT, Alike, Kind, Together, alike, expected, expected_of_none
from policies.limits import Bounds, Limit, after_answer
from policies.pace import Pace

BOUNDS = Bounds(4, 4000)
SHORT, LONG = alike("a", 900, 600), alike("a", 900, 9000)


def beyond(seconds: float) -> Pace:
    """Answers that take so many times what is usual."""
    return Pace(math.log(seconds), 0.0, 30)


def learn(kinds: dict[Alike, Kind], like: Alike, seconds: float, pace: Pace | None) -> float:
    """As a gate does."""
    known = kinds.get(like)
    usual, kinds[like] = expected(known, len(kinds) - (known is not None), seconds, pace)
    return usual


def test_sizes_stand_for_work() -> None:
    """A request four times as long and an answer twice as long are another kind; a stream's length nobody knows when it
    begins, and another route's requests are another model's or another prompt's."""
    assert len({alike("a", 900, told) for told in (100, 120, 127)}) == 1
    assert len({alike("a", 900, told) for told in (0, 1, 100, 200, 400, 100_000)}) == 6
    assert len({alike("a", asked, 100) for asked in (256, 520, 900, 1023)}) == 1
    assert len({alike("a", asked, 100) for asked in (0, 900, 4000, 16_000, 64_000)}) == 5
    assert alike("a", 900, streaming=True) != alike("a", 900)
    assert alike("a", 900, 100) != alike("b", 900, 100)


def test_one_kind_alone_is_compared_with_itself() -> None:
    """Nothing is learnt of it: a target that becomes slower is slower, however long that goes on."""
    kinds: dict[Alike, Kind] = {}
    for seconds in (0.1, 0.1, 5.0, 5.0):
        assert learn(kinds, SHORT, seconds, beyond(seconds)) == 0.0
    assert kinds == {SHORT: Kind()}


def test_another_kind_is_known_by_what_it_takes_beside_the_first() -> None:
    """Its first answer says that the target is as slow as the others say, and nothing more; its usual time is then the
    mean, whether it is met on a quick target or on one that has become slower."""
    kinds: dict[Alike, Kind] = {}
    learn(kinds, SHORT, 0.1, None)
    assert learn(kinds, LONG, 5.0, beyond(0.1)) == pytest.approx(math.log(50.0))
    for seconds, slower in ((4.0, 0.1), (2.0 * 5.0, 0.2), (2.0 * 6.25, 0.2)):
        learn(kinds, LONG, seconds, beyond(slower))
    assert kinds[LONG].usual == pytest.approx(math.log(50.0))
    assert kinds[LONG].count == 4


def test_a_kind_that_changes_is_learnt_anew() -> None:
    """What one takes longer than before, while the others do not, is soon usual for it; the target is not blamed."""
    kinds = {SHORT: Kind(0.0), LONG: Kind(math.log(50.0))}
    for _ in range(1000):
        learn(kinds, LONG, 20.0, beyond(0.1))
    assert kinds[LONG].usual == pytest.approx(math.log(200.0), rel=0.01)
    assert kinds[LONG].count == LEARNT
    assert learn(kinds, SHORT, 0.1, beyond(0.1)) == 0.0


def test_an_answer_that_did_not_come_is_compared_with_those_of_its_route() -> None:
    """By how many there are of each; where there are none, with all of late."""
    late = Pace(0.0, 0.0, 30, usual=2.0)
    assert expected_of_none(Together(1.0 * 150 + 3.0 * 50, 200), late) == pytest.approx(1.5)
    assert expected_of_none(None, late) == 2.0
    assert expected_of_none(None, None) == 0.0


@pytest.mark.parametrize("known", [True, False])
def test_more_long_answers_are_no_slower_target(known: bool) -> None:
    """Of a target that answers short requests, and from now on long ones as well, the limit stays where it was; told
    nothing of kinds it would take them for lateness."""
    kinds: dict[Alike, Kind] = {}
    limit, now = Limit(256.0), 0.0
    for number in range(400):
        now += 0.1
        long = number > 200 and number % 2
        seconds = 5.0 if long else 0.1
        usual = learn(kinds, LONG if long else SHORT, seconds, limit.pace) if known else 0.0
        limit = after_answer(limit, seconds, 30 if number > 200 else 2, now, BOUNDS, 0, 0.0, usual)
    assert (limit.value == 256.0) is known
    assert limit.found is not known


def test_a_target_that_is_slower_for_all_kinds_is_late() -> None:
    """Whatever they usually take."""
    kinds: dict[Alike, Kind] = {}
    limit, now = Limit(256.0), 0.0
    for number in range(600):
        now += 0.1
        slower = 4.0 if number > 400 else 1.0
        like, seconds = (LONG, 5.0 * slower) if number % 2 else (SHORT, 0.1 * slower)
        in_flight = 200 if number > 400 else 4
        usual = learn(kinds, like, seconds, limit.pace)
        limit = after_answer(limit, seconds, in_flight, now, BOUNDS, 0, 0.0, usual)
    assert limit.found
    assert limit.value < 128.0


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize(
    "scene", ["a second kind comes", "a second kind comes and goes", "answers become ten times longer"]
)
def test_a_healthy_target_of_several_kinds_refuses_nobody(scene: str, processes: int) -> None:
    """Played through, answers of each kind differing as those of models do: ten a second that take 0.1 s, and at times
    as many of another route that take 5 s; or those of one route are of all lengths, and longer from now on."""
    assert result(SCENES[scene], processes, 0.8).refused < 0.005


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("scene", ["three times too much, two kinds", "answers of all lengths, three times too much"])
def test_overload_by_several_kinds_costs_little_goodput(scene: str, processes: int) -> None:
    """Three times as many of all as the target can do."""
    came = result(SCENES[scene], processes, 0.3)
    assert came.goodput > 0.9
    assert came.late_goodput > 0.85
