"""What keeps targets warm and brings them back, put together: warmer, restore probes, and what the fleet uses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from backends.state import Store, StoreError
from warmers.lease import Duty
from warmers.ping import Parts
from warmers.prices import SHIPPED, open_prices
from warmers.restoring import Fleet, Restorer
from warmers.runner import Warmer
from warmers.uses import Uses

log = logging.getLogger("pointsman.warm")


@dataclass(frozen=True, slots=True)
class Warmth:
    """The parts; `uses` is None where the process is on its own."""

    warmer: Warmer
    restorer: Restorer
    uses: Uses | None


def warmth_of(pings: Parts, store: Store | None, new_id: Callable[[], str], prices: str | None) -> Warmth:
    """The parts of one process. `prices` is a file of them; None: those that ship with the product."""
    reading = partial(open_prices, Path(prices) if prices is not None else SHIPPED)
    if store is None:
        return Warmth(Warmer(pings, prices=reading), Restorer(pings), None)
    name = new_id()
    uses = Uses(pings, store, name)
    warmer = Warmer(pings, store, Duty(store, name, pings.wall), uses, reading)
    return Warmth(warmer, Restorer(pings, Fleet(store, name, uses)), uses)


def beside(opens: Callable[[], Store | None]) -> Store | None:
    """The store that workers share where the fleet has none. It helps, and is no reason not to serve: None where it
    can't be opened, as when somebody has cleaned the temporary folder."""
    try:
        return opens()
    except StoreError as error:
        log.warning("this process keeps targets warm by what it sees itself: %s", error)
        return None
