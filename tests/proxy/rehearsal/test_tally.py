"""What a rehearsal counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.outcome import SHADOW, WARM, AttemptOutcome
from proxy.rehearsal.tally import SLICES, Tally, quantile
from tests.outcomes import outcome


@pytest.mark.parametrize(("part", "expected"), [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)])
def test_quantiles_are_values_that_were_seen(part: float, expected: float) -> None:
    """The smallest value that so many do not exceed."""
    assert quantile([float(value) for value in range(1, 101)], part) == expected
    assert quantile([], part) is None


def test_warm_ups_and_copies_are_not_requests() -> None:
    """They are counted by target, and no request is among them."""
    tally = Tally(100.0)
    cold = AttemptOutcome("import", "bedrock", 0, 1.0, "cold", cold=True)
    tally.told(replace(outcome(), operation=WARM, status=200, attempts=(cold,)), 1.0)
    tally.told(replace(outcome(), operation=SHADOW, attempts=(cold,)), 1.0)
    assert (tally.requests, tally.copies["import"]) == (0, 1)
    assert (tally.warmed["import"].sent, tally.warmed["import"].met_cold, tally.warmed["import"].failed) == (1, 1, 0)


def test_requests_are_counted_where_they_began() -> None:
    """A request belongs to the slice in which it came, and only answers have latencies."""
    tally = Tally(96.0)
    one = replace(outcome(), endpoint="chat", component=None, operation="InvokeEndpoint", status=200, seconds=2.0)
    tally.told(replace(one, cold="spill"), 3.5)
    tally.told(replace(one, status=429, cold="fail"), 50.0)
    tally.told(replace(one, component="part", cold="hold"), 1000.0)
    model = tally.models["chat"]
    assert (model.requests, model.failed, model.cold, model.spilled, model.failed_cold) == (2, 1, 2, 1, 1)
    assert [place for place, seen in enumerate(model.slices) if seen] == [1]
    assert len(tally.models["chat/part"].slices[SLICES - 1]) == 1


def test_states_are_kept_where_they_change() -> None:
    """Looking often costs no memory."""
    tally = Tally(10.0)
    for at, state in ((0.0, "ready"), (1.0, "ready"), (2.0, "cold"), (3.0, "ready")):
        tally.looked({"import": state}, at)
    assert tally.states == {"import": [(0.0, "ready"), (2.0, "cold"), (3.0, "ready")]}
