"""What warm-ups cost a month."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.calendar import read_calendar
from policies.table import BedrockSpec, ImportCost, InstanceCost, Target, Warmup
from tests.policies.written import IMPORT, PATIENT
from warmers.interval_cost import month_usd, windows_of
from warmers.plan import warming_of
from warmers.prices import open_prices

PRICES = open_prices()
MONDAY = 1_783_296_000.0


def warmup(units: int = 1, region: str = "us-east-1", **changes: object) -> Warmup:
    """An import of so many units, warmed."""
    cost = ImportCost(units)
    target = Target("imported", "bedrock", BedrockSpec(IMPORT), speaks="openai-chat", region=region, cost=cost)
    return replace(Warmup(target, jitter=0.0), **changes)  # type: ignore[arg-type]  # of Warmup's fields


@pytest.mark.parametrize(
    ("units", "minutes", "usd"),
    [(1, 14, 882), (2, 14, 1764), (8, 14, 7058), (2, 5, 4940), (2, 1, 4940), (2, 30, 823), (8, 60, 1647)],
)
def test_the_published_table(units: int, minutes: int, usd: int) -> None:
    """One idle copy at $0.05718 a unit and minute, 30 days."""
    assert month_usd(warmup(units), minutes * 60, PRICES, MONDAY) == pytest.approx(usd, abs=1)


def test_hours_and_copies() -> None:
    """A calendar pays for its hours, each copy for itself."""
    always = month_usd(warmup(), 840.0, PRICES, MONDAY)
    assert always is not None
    hours = read_calendar("Mon-Fri 06:00-20:00 UTC")
    assert month_usd(warmup(hours=hours), 840.0, PRICES, MONDAY) == pytest.approx(always * 70 / 168)
    assert month_usd(warmup(copies=3), 840.0, PRICES, MONDAY) == pytest.approx(always * 3)


def test_jitter_costs_what_it_sends() -> None:
    """Up to a tenth earlier is a twentieth on average: 108 windows a day, not 103; `warm plan` has the same."""
    assert windows_of(warmup(jitter=0.1), 840.0) == pytest.approx(86_400 / 798)
    assert month_usd(warmup(jitter=0.1), 840.0, PRICES, MONDAY) == pytest.approx(882.21 / 0.95, abs=0.1)
    assert warming_of(warmup(jitter=0.1), MONDAY, 86_400.0).interval == 798.0


def test_what_has_no_price() -> None:
    """A target without `cost`, on instances, or in a region that the prices lack, costs an unknown amount."""
    target = warmup().target
    for other in (replace(target, cost=None), replace(target, cost=InstanceCost("ml.g5.xlarge"))):
        assert month_usd(Warmup(other), 840.0, PRICES, MONDAY) is None
    assert month_usd(warmup(region="mars-north-1"), 840.0, PRICES, MONDAY) is None


@PATIENT
@given(st.floats(1, 86_400), st.floats(1, 86_400))
def test_a_shorter_interval_never_costs_less(one: float, other: float) -> None:
    """And none costs more than a copy that is always on."""
    short, long = sorted((one, other))
    costs = [month_usd(warmup(), every, PRICES, MONDAY) for every in (300.0, short, long)]
    assert None not in costs
    most, dear, cheap = (cost or 0.0 for cost in costs)
    assert cheap <= dear * (1 + 1e-9) <= most * (1 + 2e-9)
