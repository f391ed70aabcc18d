"""What copies cost, and the day's budget."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.table import EndpointSpec, InstanceCost, Target
from tests.warmers.shadow.scene import DAY, NEW, OLD
from warmers.prices import open_prices
from warmers.shadow import Purse

UNIT = 0.05718
"""US dollars of a custom model unit and minute in us-east-1, v1.0, as shipped."""


def test_an_import_is_charged_by_billing_windows() -> None:
    """The first copy opens five minutes for all units of its copies; others within them are free; then the next."""
    purse = Purse(open_prices)
    assert purse.charge("m", NEW, 2.0, DAY + 2) == pytest.approx(UNIT * 2 * 5)
    assert purse.charge("m", NEW, 2.0, DAY + 299) == 0
    assert purse.charge("m", NEW, 2.0, DAY + 301) == pytest.approx(UNIT * 2 * 5)


def test_an_import_of_unknown_size_is_charged_as_a_large_one() -> None:
    """A budget holds although the policy does not say what the model is billed by."""
    assert Purse(open_prices).charge("m", replace(NEW, cost=None), 2.0, DAY) == pytest.approx(UNIT * 8 * 5)


def test_instances_are_charged_for_their_time() -> None:
    """Where the policy says what a target runs on, its price for the copy's seconds; else nothing is known."""
    paid = Target(
        "paid", "endpoint", EndpointSpec("e"), region="us-east-1", cost=InstanceCost("ml.g6e.xlarge", share=0.5)
    )
    assert Purse(open_prices).charge("m", paid, 3600.0, DAY) == pytest.approx(2.6054 / 2)
    assert Purse(open_prices).charge("m", OLD, 3600.0, DAY) == 0


def test_an_import_where_no_price_is_known_is_charged_the_dearest() -> None:
    """A budget holds there as well."""
    dearest = max(price.usd for row in open_prices().units.values() for price in row.values())
    assert Purse(open_prices).charge("m", replace(NEW, region="mars-1"), 1.0, DAY) == pytest.approx(dearest * 2 * 5)


def test_instances_without_a_price_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """They cost nothing that is counted, and somebody is told so."""
    unknown = Target("odd", "endpoint", EndpointSpec("e"), region="us-east-1", cost=InstanceCost("ml.odd.large"))
    purse = Purse(open_prices)
    assert [purse.charge("m", unknown, 1.0, DAY) for _ in range(2)] == [0, 0]
    assert purse.unpriced == {"odd"}
    assert caplog.text.count("copies to odd are not counted against a budget") == 1


def test_the_budget_is_a_days_and_a_fleets() -> None:
    """Spent here and elsewhere adds up to the budget; midnight in UTC begins anew; migrations have their own."""
    purse = Purse(open_prices)
    assert purse.affords("m", None, DAY)
    assert purse.affords("m", 1.0, DAY)
    purse.charge("m", NEW, 1.0, DAY + 1)
    day, spent = purse.spent(DAY + 2)
    assert day == 20_000
    assert spent == pytest.approx({"m": 0.5718})
    purse.others(day - 1, {"m": 99.0})
    assert purse.affords("m", 1.0, DAY + 2)
    purse.others(day, {"m": 0.5})
    assert not purse.affords("m", 1.0, DAY + 2)
    assert purse.affords("m", 2.0, DAY + 2)
    assert purse.affords("other", 1.0, DAY + 2)
    assert purse.affords("m", 1.0, DAY + 86_400)
    assert purse.spent(DAY + 86_400) == (20_001, {})
