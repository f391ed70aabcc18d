"""What the targets of a rehearsal cost."""

from __future__ import annotations

from proxy.rehearsal.costs import spent
from tests.proxy.rehearsal.played import COLD, played
from warmers.prices import open_prices


def test_windows_and_hours_are_what_is_paid() -> None:
    """An import costs its windows of five minutes, an instance its hours, whether it is called or not."""
    _, outcome, rehearsal = played(COLD, {"chat": [(10.0, 1), (20.0, 1), (400.0, 1)]}, 7200.0)
    gpu, imported = spent(rehearsal.pointed.table, rehearsal.stand_ins, outcome.ledgers, rehearsal.span, open_prices())
    assert (gpu.target, imported.target, imported.windows) == ("gpu", "import", 2)
    prices = open_prices()
    assert gpu.usd == 2 * prices.instance_hour("us-east-1", "ml.g6e.xlarge").usd
    assert imported.usd is not None
    assert imported.usd > 0


def test_what_has_no_cost_says_so() -> None:
    """A target without `cost`, or without a price, has none, for a reason."""
    policy = COLD.replace(", cost: {instance: ml.g6e.xlarge}", "").replace("units: 2", "units: 2, version: v9.0")
    _, outcome, rehearsal = played(policy, {"chat": [(10.0, 1)]}, 60.0)
    gpu, imported = spent(rehearsal.pointed.table, rehearsal.stand_ins, outcome.ledgers, rehearsal.span, open_prices())
    assert (gpu.usd, gpu.basis) == (None, "the policy has no `cost` of it")
    assert imported.usd is None
    assert "has no price of v9.0" in imported.basis
