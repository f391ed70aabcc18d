"""Standstills: what everything waited for is nobody's lateness, unless it happens again and again."""

from __future__ import annotations

import pytest

from policies.limits import START, Limit, after_answer
from policies.pace import Pace
from policies.standstills import Stood, moved_on

from .test_limits import BOUNDS

CALM = Pace(0.0, 0.0, 10)
"""A second an answer."""


@pytest.mark.parametrize(
    ("seconds", "since", "heeded", "took", "stood"),
    [
        pytest.param(5.0, 0.03, True, 5.0, Stood(), id="others came just now"),
        pytest.param(5.0, 1.9, True, 5.0, Stood(), id="others came soon enough"),
        pytest.param(1.5, 5.0, True, 1.5, Stood(), id="it was asked late, and nobody before"),
        pytest.param(5.0, 5.0, False, 5.0, Stood(), id="nobody listened"),
        pytest.param(
            5.0, 5.0, True, None, Stood(96.0, 100.0), id="it took no longer than that and as on a calm target"
        ),
        pytest.param(9.0, 5.0, True, 5.0, Stood(96.0, 100.0), id="it was late before as well"),
    ],
)
def test_what_everything_waited_for(
    seconds: float, since: float, heeded: bool, took: float | None, stood: Stood
) -> None:
    """It is taken out of what an answer took, as far as that was under way."""
    assert moved_on(Stood(), seconds, 100.0, since, CALM, heeded=heeded) == (took, stood)


def stood_still(limit: Limit, seconds: float, now: float, rate: int = 100, service: float = 0.05) -> Limit:
    """The limit after everything stood for `seconds` while requests came at `rate`, and then all were answered."""
    waiting = int(seconds * rate)
    for number in range(waiting):
        took = service + seconds * (1 - number / waiting)
        limit = after_answer(limit, took, waiting - number, now + number * 0.0003, BOUNDS)
    return limit


def steady(limit: Limit, now: float, seconds: float, rate: int = 100, service: float = 0.05) -> Limit:
    """The limit after good traffic that a calm target answers at once."""
    for number in range(int(seconds * rate)):
        limit = after_answer(limit, service, int(rate * service), now + number / rate, BOUNDS)
    return limit


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_a_moment_in_which_everything_stood_does_not_shrink_it(seconds: float) -> None:
    """Nobody had an answer and then all had: that is no sign of too many requests, however late all of them are."""
    limit = steady(Limit(), 0.0, 5.0)
    now = 5.0
    for _ in range(5):
        limit = stood_still(limit, seconds, now + seconds)
        limit = steady(limit, now + 2 * seconds, 4 * seconds)
        now += 6 * seconds
    assert limit.value >= START


def test_what_stands_again_and_again_is_slow() -> None:
    """Only what is rare is passed over."""
    limit = steady(Limit(), 0.0, 5.0)
    first = stood_still(limit, 0.5, 5.5)
    assert first.stood.end == 5.5
    assert stood_still(steady(first, 5.6, 0.4), 0.5, 6.5).stood == first.stood
    assert stood_still(steady(first, 5.6, 3.0), 0.5, 9.1).stood.end == 9.1


def test_lateness_beyond_the_standstill_counts() -> None:
    """A queue that was there before everything stood is seen all the same."""
    limit = steady(Limit(), 0.0, 5.0)
    for number in range(600):
        limit = after_answer(limit, 2.0, 200, 5.5 + number / 100, BOUNDS)
    assert limit.value < START / 2
