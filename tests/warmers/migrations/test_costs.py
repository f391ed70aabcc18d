"""What a migration will cost at the end, from what the targets run on."""

from __future__ import annotations

import pytest

from policies.evidence import SLOT, Evidence
from policies.load import load_policy
from policies.migrating import Member
from policies.table import RouteTable
from warmers.migrations.costs import NOTHING_TO_SAVE, cost_part, dated, projected
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


HERE = 5_900_000
NOW = HERE * SLOT + 1
BUSY = frozenset(range(HERE - 2 * 288, HERE + 1))
"""Two days without a pause."""
HOURLY = frozenset(range(HERE - 2 * 288, HERE + 1, 12))


def always_on() -> float:
    """One unit, 288 windows a day, storage besides, against the published price of the instance."""
    rate, hour = PRICES.unit_minute("us-east-1", "v1.0").usd, PRICES.instance_hour("us-east-1", "ml.g6e.xlarge").usd
    return (rate * 60 * 24 * PRICES.window_days + PRICES.storage.usd) / (hour * PRICES.instance_hours)


def part(old: str, new: str, known: RouteTable, busy: frozenset[int] = BUSY) -> tuple[float, float] | None:
    return cost_part(Member("x", old, new), known, PRICES, busy, NOW)


def test_busy_import_is_always_on() -> None:
    """The most that it can cost; before anything is known of its requests it may be that, or storage alone."""
    assert part("gpu", "one", table()) == pytest.approx((always_on(), always_on()))
    least, most = part("gpu", "one", table(), frozenset()) or (0.0, 0.0)
    assert most == pytest.approx(always_on())
    assert least < 0.002


def test_quiet_import_is_cheaper_than_the_instance_it_leaves() -> None:
    """$882 for warm-ups every 14 minutes against $1,902: the published case passes, always on it would not."""
    warmed = load_policy(
        POLICY.replace("COUNT", "count: 1").replace(
            "    migrate:", "    warm: {one: {every: 14m, jitter: 0%}}\n    migrate:"
        ),
        {},
    )
    rare = frozenset({HERE, HERE - 288})
    assert part("gpu", "one", warmed, rare) == pytest.approx((0.465, 0.465), rel=0.01)
    assert always_on() > 1.29
    assert part("gpu", "one", table(), HOURLY) == pytest.approx((0.109, 0.109), rel=0.02)


def test_release_to_release_is_what_units_make_it() -> None:
    """Both are asked for alike, so that the same requests cost the same."""
    assert part("one", "one", table(), HOURLY) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize(
    ("old", "new", "count", "told"),
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
def test_part_of_the_old_cost(old: str, new: str, count: str, told: float | None) -> None:
    """What is committed saves nothing by leaving and costs by coming; what nobody declared or priced is not known."""
    assert part(old, new, table(count)) == (None if told is None else pytest.approx((told, told)))


def test_route_that_is_gone_costs_nothing_that_is_known() -> None:
    """The policy has changed since."""
    assert cost_part(Member("y", "gpu", "one"), table(), PRICES, BUSY, NOW) is None


def test_gate_gets_its_evidence() -> None:
    """With the time it was worked out; a migration that does not ask for it gets none."""
    known = table()
    seen = {"x": Evidence(busy=BUSY)}
    found = projected(known.migrations["x"], known, PRICES, seen, NOW)
    assert found["x"].cost == (NOW, *(part("gpu", "one", known) or ()))
    without = load_policy(POLICY.replace("COUNT", "count: 1").replace(", cost_at_full_share: at most 80%", ""), {})
    assert projected(without.migrations["x"], without, PRICES, seen, NOW) == {}
    bare = load_policy(POLICY.replace("COUNT", "count: 1").replace("serve_from: gpu", "serve_from: bare"), {})
    assert projected(bare.migrations["x"], bare, PRICES, seen, NOW) == {}


def test_projection_that_still_holds_is_dated_anew() -> None:
    """It is worked out now and then, and looked at often; evidence without one stays without."""
    assert dated(Evidence(cost=(1.0, 0.5, 0.6)), 9.0).cost == (9.0, 0.5, 0.6)
    assert dated(Evidence(), 9.0).cost is None
