"""Billing windows and counts."""

from __future__ import annotations

import datetime

from backends.emulator.config import Price
from backends.emulator.ledger import Ledger

DAY = datetime.datetime(2026, 7, 1, tzinfo=datetime.UTC).timestamp()
PRICES = (
    Price(since=datetime.date(2026, 8, 1), usd_per_unit_minute=0.1),
    Price(since=datetime.date(2026, 7, 1), usd_per_unit_minute=0.05),
)


def ledger(*, windows: bool = True) -> Ledger:
    return Ledger(PRICES, 2, windows=windows)


def test_a_window_is_five_minutes_from_the_first_success_of_each_copy() -> None:
    """Calls within it are free, the next after it opens another, and copies have windows of their own."""
    book = ledger()
    for copy, at in (("copy-1", 0), ("copy-1", 299.9), ("copy-2", 10), ("copy-1", 300)):
        book.succeeded(copy, 3, 4, DAY + at)
    report = book.report()
    assert report["windows"] == 3
    assert report["copies"]["copy-1"]["windows"] == ["2026-07-01T00:00:00Z", "2026-07-01T00:05:00Z"]
    assert report["cost_usd"] == 1.5
    assert (report["calls"], report["prompt_tokens"], report["completion_tokens"]) == (4, 12, 16)


def test_failures_open_no_window() -> None:
    """Only a successful inference is billed."""
    book = ledger()
    book.failed("copy-1")
    assert book.report()["windows"] == 0
    assert book.report()["failed"] == 1
    assert book.cost() == 0


def test_the_price_is_the_one_in_force_when_the_window_opened() -> None:
    """Prices are dated; before the first one there is no cost to tell."""
    book = ledger()
    assert book.price_at(DAY - 1) is None
    assert book.price_at(DAY + 40 * 86_400) == 0.1
    book.succeeded("copy-1", 1, 1, DAY + 40 * 86_400)
    assert book.cost() == 1.0
    book.succeeded("copy-2", 1, 1, DAY - 86_400)
    assert book.cost() is None


def test_only_imports_have_windows() -> None:
    """What is billed by the instance has calls and tokens, no windows and no cost."""
    book = ledger(windows=False)
    book.succeeded("copy-1", 1, 2, DAY)
    assert {"windows", "cost_usd"} & set(book.report()) == set()
    assert book.report()["copies"]["copy-1"] == {"calls": 1, "failed": 0, "prompt_tokens": 1, "completion_tokens": 2}
