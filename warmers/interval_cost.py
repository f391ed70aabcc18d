"""PURE. What warm-ups of an imported model cost a month, at one interval or another, by dated prices.

Each warm-up that comes more than a window after the last opens a billing window of its own, so that shorter intervals
cost more, up to a copy that is always on. Counted is what the warm-ups of an otherwise idle model cost: traffic
suppresses them and pays its own windows. Outside the hours of a calendar nothing is sent, and nothing is paid.
"""

from __future__ import annotations

from policies.calendar import open_spans
from policies.table import ImportCost, Warmup

from .economics import DAY, windows_a_day, windows_usd
from .prices import Prices

_WEEK = 7 * DAY


def windows_of(warmup: Warmup, every: float) -> float:
    """Billing windows a day of one copy that is warmed at `every` seconds, less half of the jitter on average."""
    return windows_a_day(every * (1 - warmup.jitter / 2))


def month_usd(warmup: Warmup, every: float, prices: Prices, wall: float) -> float | None:
    """USD a month of warming at `every` seconds, in the hours of the week from `wall` (seconds since 1970) on.

    None when the policy does not say what the target is billed by, or the prices do not have it.
    """
    target = warmup.target
    if not isinstance(target.cost, ImportCost):
        return None
    try:
        rate = prices.unit_minute(target.region, target.cost.version).usd
    except ValueError:
        return None
    open_share = 1.0
    if warmup.hours is not None:
        spans = open_spans(warmup.hours, wall, wall + _WEEK)
        open_share = sum(end - start for start, end in spans) / _WEEK
    windows = windows_of(warmup, every) * prices.window_days * open_share
    return windows_usd(target.cost.units, rate, windows, warmup.copies)
