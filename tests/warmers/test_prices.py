"""Dated prices."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from warmers.prices import LARGEST, SHIPPED, Price, open_prices, read_prices

GOOD = """\
apiVersion: pointsman-prices/v1
date: 2026-01-31
months: {instance_hours: 730, window_days: 30}
sources: {bill: our own}
imports:
  storage_per_unit_month: {usd: 2, source: bill}
  per_unit_minute: {us-east-1: {v1.0: {usd: 0.5, source: bill}}}
instances: {us-east-1: {ml.x.large: {usd: 3.5, basis: derived, source: bill}}}
"""


def test_shipped_prices() -> None:
    """What ships has its date, a source for every number, and the prices that public material agrees on."""
    prices = open_prices()
    assert prices.source == SHIPPED.name == f"prices-{prices.date:%Y-%m}.yaml"
    assert (prices.instance_hours, prices.window_days, prices.storage.usd) == (730, 30, 1.95)
    units = [
        prices.unit_minute(*key).usd for key in (("us-east-1", "v1.0"), ("us-east-1", "v2.0"), ("eu-central-1", "v1.0"))
    ]
    assert units == [0.05718, 0.1433, 0.07144]
    assert prices.instance_hour("us-east-1", "ml.c5.xlarge").usd == 0.204
    assert prices.instance_hour("us-east-1", "ml.g6e.xlarge").usd == 2.6054
    assert prices.instance_hour("us-east-1", "g6e.xlarge").usd == 1.861


def test_a_file_of_ones_own() -> None:
    """Every number of it is found again."""
    prices = read_prices(GOOD, "mine.yaml")
    assert (prices.source, prices.date, prices.sources) == (
        "mine.yaml",
        datetime.date(2026, 1, 31),
        {"bill": "our own"},
    )
    assert prices.unit_minute("us-east-1", "v1.0") == Price(usd=0.5, source="bill")
    assert prices.instance_hour("us-east-1", "ml.x.large").basis == "derived"


@pytest.mark.parametrize(("region", "name"), [("us-east-1", "ml.y.large"), ("mars-1", "ml.x.large")])
def test_a_price_that_is_not_there(region: str, name: str) -> None:
    """The message names the file and the place to add it."""
    with pytest.raises(
        ValueError, match=rf"mine.yaml has no price of {name} in {region}; add it as instances.{region}"
    ):
        read_prices(GOOD, "mine.yaml").instance_hour(region, name)


def test_units_of_another_version() -> None:
    """The price of units is never taken from another version of them."""
    with pytest.raises(ValueError, match=r"add it as imports.per_unit_minute.us-east-1.v2.0"):
        read_prices(GOOD, "mine.yaml").unit_minute("us-east-1", "v2.0")


def test_no_region() -> None:
    """A target without one has no price, and the remedy is in the policy."""
    with pytest.raises(ValueError, match="give the target a `region`"):
        read_prices(GOOD, "mine.yaml").instance_hour(None, "ml.x.large")


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("usd: 3.5", "usd: -3.5", "mine.yaml:8: instances.us-east-1.ml.x.large.usd: Input should be greater than 0"),
        ("usd: 3.5", "usd: cheap", "mine.yaml:8: instances.us-east-1.ml.x.large.usd: Input should be a valid number"),
        ("2026-01-31", "yesterday", "mine.yaml:2: date:"),
        ("prices/v1", "prices/v9", "mine.yaml:1: apiVersion:"),
        ("basis: derived", "basis: guessed", "mine.yaml:8: instances.us-east-1.ml.x.large.basis:"),
        ("date:", "dated: x\ndate:", "mine.yaml:2: dated: Extra inputs are not permitted"),
        ("date:", "apiVersion: x\ndate:", "mine.yaml:2: apiVersion: is written twice"),
        ("{bill: our own}", "{tariff: theirs}", "has the source bill, which `sources` lacks"),
    ],
)
def test_refused(good: str, bad: str, said: str) -> None:
    """Each problem is told with line and place."""
    with pytest.raises(ValueError, match=r"mine\.yaml") as error:
        read_prices(GOOD.replace(good, bad, 1), "mine.yaml")
    assert said in str(error.value)


def test_opened_by_path(tmp_path: Path) -> None:
    """A file is named by its path; one that is far too large, or no text, is refused."""
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    assert open_prices(path).source == str(path)
    path.write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(ValueError, match="larger than 4 MiB"):
        open_prices(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not UTF-8 at byte 0"):
        open_prices(path)
