"""What requests of one kind usually take beside those of others."""

from __future__ import annotations

import math

import pytest

from benchmarks.limits import SCENES, result
from policies.kinds import Kind, expected
from policies.limits import Bounds, Limit, after_answer
from policies.pace import Pace

BOUNDS = Bounds(4, 4000)


def beyond(seconds: float) -> Pace:
    """Answers that take so many times what is usual."""
    return Pace(math.log(seconds), 0.0, 30)


def test_one_kind_alone_is_compared_with_itself() -> None:
    """Nothing is learnt of it: a target that becomes slower is slower, however long that goes on."""
    kinds: dict[str, Kind] = {}
    for seconds in (0.1, 0.1, 5.0, 5.0):
        assert expected(kinds, "a", seconds, beyond(seconds)) == 0.0
    assert kinds == {"a": Kind()}


def test_another_kind_is_known_by_what_it_takes_beside_the_first() -> None:
    """Its first answer says that the target is as slow as the others say, and nothing more; its usual time is then the
    mean, whether it is met on a quick target or on one that has become slower."""
    kinds: dict[str, Kind] = {}
    expected(kinds, "short", 0.1, None)
    assert expected(kinds, "long", 5.0, beyond(0.1)) == pytest.approx(math.log(50.0))
    for seconds, slower in ((4.0, 0.1), (2.0 * 5.0, 0.2), (2.0 * 6.25, 0.2)):
        expected(kinds, "long", seconds, beyond(slower))
    assert kinds["long"].usual == pytest.approx(math.log(50.0))
    assert kinds["long"].count == 4


def test_a_kind_that_changes_is_learnt_anew() -> None:
    """What one takes longer than before, while the others do not, is soon usual for it; the target is not blamed."""
    kinds = {"short": Kind(0.0), "long": Kind(math.log(50.0))}
    for _ in range(1000):
        expected(kinds, "long", 20.0, beyond(0.1))
    assert kinds["long"].usual == pytest.approx(math.log(200.0), rel=0.01)
    assert expected(kinds, "short", 0.1, beyond(0.1)) == 0.0


@pytest.mark.parametrize("known", [True, False])
def test_more_long_answers_are_no_slower_target(known: bool) -> None:
    """Of a target that answers short requests, and from now on long ones as well, the limit stays where it was; told
    nothing of kinds it would take them for lateness."""
    kinds: dict[str, Kind] = {}
    limit, now = Limit(256.0), 0.0
    for number in range(400):
        now += 0.1
        long = number > 200 and number % 2
        seconds = 5.0 if long else 0.1
        usual = expected(kinds, "long" if long else "short", seconds, limit.pace) if known else 0.0
        limit = after_answer(limit, seconds, 30 if number > 200 else 2, now, BOUNDS, 0, 0.0, usual)
    assert (limit.value == 256.0) is known
    assert limit.found is not known


def test_a_target_that_is_slower_for_all_kinds_is_late() -> None:
    """Whatever they usually take."""
    kinds: dict[str, Kind] = {}
    limit, now = Limit(256.0), 0.0
    for number in range(600):
        now += 0.1
        slower = 4.0 if number > 400 else 1.0
        kind, seconds = ("long", 5.0 * slower) if number % 2 else ("short", 0.1 * slower)
        in_flight = 200 if number > 400 else 4
        usual = expected(kinds, kind, seconds, limit.pace)
        limit = after_answer(limit, seconds, in_flight, now, BOUNDS, 0, 0.0, usual)
    assert limit.found
    assert limit.value < 128.0


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("scene", ["a second kind comes", "a second kind comes and goes"])
def test_a_healthy_target_of_two_kinds_refuses_nobody(scene: str, processes: int) -> None:
    """Played through, answers of each kind differing as those of models do: ten a second that take 0.1 s, and at times
    as many that take 5 s."""
    assert result(SCENES[scene], processes, 0.8).refused < 0.005


@pytest.mark.parametrize("processes", [1, 3])
def test_overload_by_two_kinds_costs_little_goodput(processes: int) -> None:
    """Three times as many of both as the target can do."""
    came = result(SCENES["three times too much, two kinds"], processes, 0.8)
    assert came.goodput > 0.9
    assert came.late_goodput > 0.85
