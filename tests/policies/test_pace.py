"""Paces: what some answers show of a target, and how sure that is."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from policies.pace import Pace, chance, heard, relieved


def pace(seconds: float, in_flight: float = 10.0, count: int = 30) -> Pace:
    return Pace(math.log(seconds), math.log(in_flight), count)


def of(*seconds: float, most: int = 50, share: float = 1.0) -> Pace:
    """The pace of answers that took so long, one request at a time."""
    found: Pace | None = None
    for each in seconds:
        found = heard(found, math.log(each), 0.0, 0.0, most, share)
    assert found is not None
    return found


def test_it_is_a_geometric_mean() -> None:
    """One long answer among short ones does not move it far."""
    assert of(0.1, 0.1, 0.1, 10.0).seconds == pytest.approx(0.1 * 100**0.25)
    assert of(0.5, 2.0).count == 2
    assert pace(1.0, 7.0).in_flight == pytest.approx(7.0)


def test_paces_are_compared_by_what_is_beyond_the_usual() -> None:
    """Long answers of a kind that takes long are no slower than short ones of another; what they took is told all the
    same."""
    short, long = (heard(None, math.log(each), math.log(8.0), math.log(each), 50, 1.0) for each in (0.1, 5.0))
    mixed = heard(heard(None, math.log(0.1), 0.0, 0.0, 50, 1.0), math.log(5.0), 0.0, math.log(50.0), 50, 1.0)
    assert (short.beyond, long.beyond) == (0.0, 0.0)
    assert long.seconds == pytest.approx(5.0)
    assert mixed.beyond == pytest.approx(math.log(0.1))
    fewer = heard(None, math.log(5.0), math.log(2.0), math.log(5.0), 50, 1.0)
    assert relieved(short, fewer) is False
    assert relieved(replace(short, usual=short.usual - 2.0), fewer)


def test_what_did_not_come_in_time_is_late_and_no_word_of_those_that_came() -> None:
    """Of four answers two are waited for in vain, four times as long as is usual; where hardly any comes it is not
    known whether fewer requests help."""
    found: Pace | None = None
    for came in (True, False) * 2:
        found = heard(found, math.log(1.0 if came else 4.0), 0.0, 0.0, 50, 1.0, came=came)
    assert found is not None
    assert (found.lost, found.unknown) == (0.5, False)
    assert found.beyond == pytest.approx(math.log(2.0))
    assert found.common == pytest.approx(0.0)
    none = replace(found, lost=1.0)
    assert none.unknown
    assert relieved(replace(found, load=2.0), found) is False
    assert relieved(replace(found, load=2.0), none) is None


def test_however_long_none_came_in_time_what_those_before_took_is_known() -> None:
    """Their weight is next to nothing then, and nothing is divided by it; the next one that comes is all there is."""
    found = heard(None, math.log(5.0), 0.0, 0.0, 30, 1.0, came=False)
    assert found.common == found.beyond
    for number in range(3000):
        found = heard(found, math.log(1.0 if number < 30 else 5.0), 0.0, 0.0, 30, 1.0, came=number < 30)
    assert found.lost > 1.0 - 1e-12
    assert found.common == pytest.approx(0.0)
    found = heard(found, math.log(2.0), 0.0, 0.0, 30, 1.0)
    assert found.common == pytest.approx(math.log(2.0))


def test_the_first_answers_count_the_same_and_later_ones_by_the_time_they_stand_for() -> None:
    """A hundred that come in one moment say little more than one."""
    known = of(*[1.0] * 10, most=10)
    assert known.count == 10
    moment, slow = known, known
    for _ in range(100):
        moment = heard(moment, math.log(10.0), 0.0, 0.0, 10, 0.0)
        slow = heard(slow, math.log(10.0), 0.0, 0.0, 10, 0.5)
    assert moment.seconds < 1.3
    assert slow.seconds > 9.0
    assert heard(of(1.0), math.log(10.0), 0.0, 0.0, 10, 0.01, slowly=True).seconds == pytest.approx(10**0.01)


@pytest.mark.parametrize("spread", [0.1, 1.0])
def test_chance_explains_what_differs_by_chance(spread: float) -> None:
    """Of two paces of the same answers; that of answers that take twice as long is told apart where enough came."""
    draw = random.Random(1)

    def some(median: float, count: int) -> Pace:
        return of(*(median * draw.lognormvariate(0.0, math.sqrt(spread)) for _ in range(count)), most=count)

    apart = [abs((one := some(1.0, 30)).mean - (other := some(1.0, 50)).mean) > chance(one, other, spread)
             for _ in range(400)]  # fmt: skip
    assert sum(apart) < 40  # one in twenty, by two standard errors
    one, other = some(1.0, 200), some(2.0, 200)
    assert other.mean - one.mean > chance(one, other, spread)


def test_a_queue_is_told_from_a_slow_target() -> None:
    """By half as many requests; two fewer of ten say nothing."""
    assert relieved(pace(2.0, 20), pace(1.0, 10)) is True
    assert relieved(pace(2.0, 20), pace(1.9, 10)) is False
    assert relieved(pace(2.0, 10), pace(1.0, 8)) is None
    assert relieved(pace(2.0, 10), pace(2.0, 20)) is None
