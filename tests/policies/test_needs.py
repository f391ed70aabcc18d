"""What each step of a migration needs, and how long that takes at a route's traffic."""

from __future__ import annotations

import math

from policies.migrating import Gate, Measure, Member, Migration, Step
from policies.needs import needs

from .moves import plan

ERRORS = Gate(Measure.ERRORS, 0.002)
FIVE = Step(share=0.05, hold=1)


def moving() -> Migration:
    gates = (ERRORS, Gate(Measure.AGREEMENT, 0.97), Gate(Measure.COST, 0.8))
    members = (Member("x", "old", "new", gates), Member("y", "old", "new", gates[:1]))
    return plan(Step(shadow=0.05, hold=1), FIVE, Step(share=1.0), members=members)


def test_every_step_has_its_need() -> None:
    """Of the gate that needs most, as requests of the route in all, and as time at its rate; the last needs nothing."""
    shadow, share, last = needs(moving(), {"x": 10.0, "y": 1.0})
    assert (share.step, share.measure) == (1, Measure.ERRORS)
    assert share.requests == math.ceil(share.new / 0.05)
    # Members have as many windows to share the chance with, and the one with the least traffic decides.
    assert (share.route, share.seconds) == ("y", share.requests)
    assert (shadow.new > 0, shadow.measure is None) == (True, False)
    assert (last.new, last.requests, last.seconds, last.measure) == (0, 0, 0.0, None)


def test_without_a_rate_there_is_no_time() -> None:
    """Counts can be told all the same."""
    assert {need.seconds for need in needs(moving())} == {None}
    assert needs(moving())[1].requests > 0
