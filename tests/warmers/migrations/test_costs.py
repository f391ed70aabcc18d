"""What a migration will cost at the end, from what the targets run on."""

from __future__ import annotations

import pytest

from policies.load import load_policy
from policies.migrating import Member
from policies.table import RouteTable
from warmers.migrations.costs import NOTHING_TO_SAVE, cost_part, projected
from warmers.prices import open_prices

PRICES = open_prices()
POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  gpu: {kind: endpoint, endpoint: gpu, region: us-east-1, speaks: lmi, cost: {instance: ml.g6e.xlarge, COUNT}}
  one:
    kind: bedrock
    model: arn:aws:bedrock:us-east-1:123456789012:imported-model/apexguru0001
    speaks: openai-completions
    cost: {units: 1}
  part: {kind: endpoint, endpoint: part, region: us-east-1, cost: {instance: ml.g6e.xlarge, share: 25%}}
  odd: {kind: endpoint, endpoint: odd, region: us-east-1, cost: {instance: ml.g99.xlarge}}
  bare: {kind: endpoint, endpoint: bare, region: us-east-1}
endpoints:
  x:
    serve_from: gpu
    clients_speak: lmi
    migrate:
      to: one
      steps: [{share: 5%, hold: 24h}, {share: 100%}]
      gates: {errors: at most +1 points, cost_at_full_share: at most 80%}
"""


def table(count: str = "count: 1") -> RouteTable:
    return load_policy(POLICY.replace("COUNT", count), {})


def test_import_is_reckoned_as_always_on() -> None:
    """One unit, 288 windows a day, storage besides, against the published price of the instance."""
    rate, hour = PRICES.unit_minute("us-east-1", "v1.0").usd, PRICES.instance_hour("us-east-1", "ml.g6e.xlarge").usd
    month = rate * 60 * 24 * PRICES.window_days + PRICES.storage.usd
    part = cost_part(Member("x", "gpu", "one"), table(), PRICES)
    assert part == pytest.approx(month / (hour * PRICES.instance_hours))


@pytest.mark.parametrize(
    ("old", "new", "count", "part"),
    [
        ("gpu", "part", "count: 1", 0.25),
        ("gpu", "part", "count: 2", 0.125),
        ("gpu", "part", "count: 2, committed: 1", 0.25),
        ("gpu", "part", "committed: 1", NOTHING_TO_SAVE),
        ("part", "gpu", "committed: 1", 4.0),
        ("gpu", "odd", "count: 1", None),
        ("gpu", "bare", "count: 1", None),
        ("bare", "gpu", "count: 1", None),
        ("gone", "gpu", "count: 1", None),
    ],
)
def test_part_of_the_old_cost(old: str, new: str, count: str, part: float | None) -> None:
    """What is committed saves nothing by leaving and costs by coming; what nobody declared or priced is not known."""
    assert cost_part(Member("x", old, new), table(count), PRICES) == (None if part is None else pytest.approx(part))


def test_gate_gets_its_evidence() -> None:
    """With the time it was worked out; a migration that does not ask for it gets none."""
    known = table()
    found = projected(known.migrations["x"], known, PRICES, 7.0)
    assert found["x"].cost == (7.0, cost_part(Member("x", "gpu", "one"), known, PRICES))
    without = load_policy(POLICY.replace("COUNT", "count: 1").replace(", cost_at_full_share: at most 80%", ""), {})
    assert projected(without.migrations["x"], without, PRICES, 7.0) == {}
    bare = load_policy(POLICY.replace("COUNT", "count: 1").replace("serve_from: gpu", "serve_from: bare"), {})
    assert projected(bare.migrations["x"], bare, PRICES, 7.0) == {}
