"""PURE. What an imported model would cost with all of a route's requests, by when those were asked for lately.

Five-minute windows with a call are what is billed, so that the cost of a quiet model hangs on how its requests lie and
on its warm-ups, and not on how many it has. `replay` tells it from the slots in which the route was asked for: as many
whole days up to now as are known, a week at most, taken to repeat themselves. Before a day is known, the hours that
nobody has watched are taken to be without a request, and to be full of them: the truth lies between the two.
"""

from __future__ import annotations

from collections.abc import Collection

from policies.evidence import SLOT
from policies.table import ImportCost, Target, Warmup

from .arrivals import Arrivals, gather
from .economics import DAY, storage_usd, windows_usd
from .plan import RESTORE, warming_of
from .prices import Prices
from .residency import replay

IDLE_LIMIT = 900.0
"""Seconds without a call after which a copy is taken to go where the policy does not say."""
SLOTS_A_DAY = int(DAY / SLOT)
DAYS = 7


def lately(busy: Collection[int], now: float) -> tuple[Arrivals, Arrivals]:
    """The requests that a route has had lately: at least, and at most. `now` is in seconds since 1970."""
    here = int(now / SLOT)
    first = min(busy, default=here + 1)
    days = min(DAYS, (here - first) // SLOTS_A_DAY)
    begin = here + 1 - max(1, days) * SLOTS_A_DAY
    known = {slot for slot in busy if begin <= slot <= here}
    unwatched = set(range(begin, first))
    return _arrivals(known, begin, here + 1), _arrivals(known | unwatched, begin, here + 1)


def import_usd(target: Target, warmup: Warmup | None, arrivals: Arrivals, prices: Prices) -> float:
    """USD a month of an imported model that has these requests and these warm-ups, its storage included.

    `target` has an `ImportCost`, `arrivals` a start. Raises ValueError when there is no price.
    """
    assert isinstance(target.cost, ImportCost)  # noqa: S101 - the caller's look
    assert arrivals.start is not None  # noqa: S101 - as above
    cost = target.cost
    warming = None if warmup is None else warming_of(warmup, arrivals.start, arrivals.span)
    restore = target.restore[1] if target.restore else RESTORE
    tally = replay(arrivals, warming, target.idle_limit or IDLE_LIMIT, restore)
    windows = tally.windows * prices.window_days * DAY / arrivals.span
    rate = prices.unit_minute(target.region, cost.version).usd
    return windows_usd(cost.units, rate, windows, cost.copies) + storage_usd(cost.units, prices.storage.usd)


def _arrivals(slots: Collection[int], begin: int, end: int) -> Arrivals:
    return gather((((slot - begin) * SLOT, 1) for slot in slots), (end - begin) * SLOT, begin * SLOT)
