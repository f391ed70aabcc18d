"""What two workers do where their limits have to hold back, and where they must not: real processes, a target with so
many places, and clients who ask however many of them have not been answered yet. It is counted, never timed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .pressing import LEFT, became, drawn, target, told
from .serving import policy_of, served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BETWEEN = 0.3
"""How much answers differ: the standard deviation of their logarithms."""


def limited(port: int) -> str:
    """The policy of one target whose limit finds its own value."""
    return policy_of(port).replace(", limit: {min: 100}", "")


def test_longer_answers_are_no_overload(tmp_path: Path) -> None:
    """Of a target that has places for all: a route is asked for short answers, and from now on for twenty times longer
    ones as well, two in three. A fifth of all is refused where their lengths do not count. (Nobody is, as it is; a few
    may be where the machine stands still.)"""
    draw = random.Random(1)
    short = drawn(draw, 0.0, 14.0, 20.0, lambda: 0.05 * draw.lognormvariate(0.0, BETWEEN))
    longer = drawn(draw, 4.0, 14.0, 40.0, lambda: 1.0 * draw.lognormvariate(0.0, BETWEEN))
    with target(200) as port, served(tmp_path, limited(port)) as running:
        asked = told(running.port, [*short, *longer])
    came = became(asked)
    assert set(came) <= {"200", "429"}
    assert came["429"] < len(asked) / 50


def test_clients_who_leave_do_not_keep_others_from_an_answer(tmp_path: Path) -> None:
    """Four times what a target can do, which does not begin with those that have left but goes on with what it has
    begun, and clients who wait for five times what an answer takes: it does a good part of what it can, where nobody
    would be answered if the limit were not told of those who leave."""
    places, takes, calm, begun, end = 8, 0.1, 2.0, 6.0, 16.0
    could, draw = places / takes, random.Random(1)

    def seconds() -> float:
        return takes * draw.lognormvariate(-(BETWEEN**2) / 2.0, BETWEEN)

    asking = [*drawn(draw, 0.0, calm, 0.3 * could, seconds), *drawn(draw, calm, end, 4.0 * could, seconds)]
    with target(places) as port, served(tmp_path, limited(port)) as running:
        asked = told(running.port, asking, patience=5.0 * takes)
    late = became(asked, begun)
    share = late["200"] / (could * (end - begun))
    print(f"clients who leave: the target did {share:.0%} of what it could; {dict(late)}")
    assert set(late) <= {"200", "429", LEFT}
    assert share > 1 / 5
