"""What one process remembers of how long answers usually take."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest

from backends.usual import KINDS, Usual
from policies.kinds import Alike, Kind, alike, expected
from policies.pace import Pace, heard

SHORT, LONG, NONE = alike("a", 900, 600), alike("a", 900, 9000), alike("a", 900)
CALM = Pace(math.log(0.1), 0.0, 30)


def drawn(answers: int) -> Iterator[tuple[Alike, float]]:
    """Of more kinds than are remembered, and some far more often than others."""
    draw = random.Random(1)
    for _ in range(answers):
        route, size = int(draw.triangular(0, 50, 0)), draw.randrange(30)
        yield alike(str(route), 900, 2**size, streaming=size == 0), draw.lognormvariate(0.0, 1.0)


def test_a_kind_is_compared_with_itself() -> None:
    """What answers like it took before, beside those of the first kind; and of one alone nothing is learnt."""
    usual = Usual()
    assert [usual.of(SHORT, seconds, CALM) for seconds in (0.1, 5.0, 5.0)] == [0.0, 0.0, 0.0]
    for _ in range(5):
        assert usual.of(LONG, 5.0, CALM) == pytest.approx(math.log(50.0))
    assert usual.of(LONG, 0.1, CALM) == pytest.approx(math.log(50.0))
    assert usual.of(SHORT, 0.1, CALM) == 0.0


def test_one_more_forgets_the_one_unused_for_longest() -> None:
    """The first is used again and stays; the second is new when it comes back, and nothing is said of it."""
    usual = Usual()
    kinds = [alike(str(each), 900, 600) for each in range(KINDS + 1)]
    for like in kinds[:-1]:
        usual.of(like, 5.0, CALM)
    usual.of(kinds[0], 5.0, CALM)
    usual.of(kinds[-1], 5.0, CALM)
    assert usual.of(kinds[1], 0.1, CALM) == 0.0
    assert usual.of(kinds[0], 0.1, CALM) == pytest.approx(0.0, abs=0.1)
    assert usual.of(kinds[3], 0.1, CALM) == pytest.approx(math.log(50.0))
    assert len(usual._kinds) == len(usual._routes) == KINDS


def test_an_answer_that_did_not_come_is_compared_with_those_of_its_route() -> None:
    """By how many there are of each; where there are none, with all of late. Those that are not whole, and other
    routes', do not count, and of itself nothing is learnt."""
    usual, late = Usual(), Pace(0.0, 0.0, 30, usual=2.0)
    assert usual.of(NONE, 30.0, None, came=False) == 0.0
    assert usual.of(NONE, 30.0, late, came=False) == 2.0
    usual.of(alike("b", 900, 600), 0.1, None)
    for like, seconds, times in (
        (SHORT, 0.1 * math.e, 150),
        (LONG, 0.1 * math.e**3, 50),
        (alike("a", 900, streaming=True), 7.0, 7),
    ):
        for _ in range(times):
            usual.of(like, seconds, CALM)
    for _ in range(3):
        assert usual.of(NONE, 30.0, late, came=False) == pytest.approx(1.5)
    assert usual.of(alike("c", 900), 30.0, late, came=False) == 2.0


def test_what_is_added_up_is_what_is_known() -> None:
    """Whatever came and was forgotten: as if each answer that did not come had been compared with every kind."""
    usual, kinds, late = Usual(), dict[Alike, Kind](), Pace(0.0, 0.0, 30, usual=2.0)
    for like, seconds in drawn(20_000):
        known = kinds.pop(like, None)
        told, learnt = expected(known, len(kinds), seconds, CALM)
        if len(kinds) == KINDS:
            del kinds[next(iter(kinds))]
        kinds[like] = learnt
        assert usual.of(like, seconds, CALM) == told
    assert len(kinds) == KINDS
    for route in {(like.route, like.streaming) for like in kinds}:
        of_it = [kind for like, kind in kinds.items() if (like.route, like.streaming) == route]
        mean = sum(kind.usual * kind.count for kind in of_it) / sum(kind.count for kind in of_it)
        assert usual.of(alike(route[0], 1, streaming=route[1]), 1.0, late, came=False) == pytest.approx(mean, abs=1e-9)
    assert len(usual._routes) == len({(like.route, like.streaming) for like in kinds})


def test_answers_that_do_not_come_leave_what_is_usual_alone() -> None:
    """However long it goes on that some are waited for in vain: else each kind would seem quicker than it is, and all
    of them late."""
    usual = Usual()
    pace: Pace | None = None
    common = []
    for number in range(5000):
        like, seconds = (SHORT, 0.1) if number % 2 else (LONG, 5.0)
        came = number % 10 > 0
        took = seconds if came else 30.0
        pace = heard(pace, math.log(took), 0.0, usual.of(like, took, pace, came=came), 30, 1.0, came=came)
        common.append(pace.common)
    assert common[-1] == pytest.approx(common[500], abs=0.1)
    beside = usual.of(LONG, 5.0, pace) - usual.of(SHORT, 0.1, pace)
    assert beside == pytest.approx(math.log(50.0), rel=0.05)
