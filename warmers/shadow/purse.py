"""What copies have cost today, and whether there is money left.

A copy is charged what it adds to a bill: at an imported model every billing window of five minutes that copies keep
open (user guide, "Calculate the cost of running a custom model"), at instances whose cost the policy declares their
price for the seconds that the copy took, although they are paid by the hour anyway. An import whose units the policy
does not declare is charged for `MOST_UNITS`, and one in a region without a price at the dearest there is, so that a
budget is kept where nobody knows better; instances without a declared cost or without a price are charged nothing.

The day is that of UTC. What other processes have spent is told by `others`; between two tellings a fleet may overspend
by what it spends in that time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from policies.table import BedrockSpec, ImportCost, InstanceCost, Target

from ..prices import Prices

log = logging.getLogger("pointsman.shadow")

WINDOW = 300.0
"""Seconds of Bedrock's billing window."""
MOST_UNITS = 8
"""Custom model units of a copy of a 70B model, the most that the user guide's table of examples has."""
_DAY = 86_400.0


class Purse:
    """What one process has spent on copies."""

    def __init__(self, prices: Callable[[], Prices]) -> None:
        """`prices` reads them; it is called once, for the first charge."""
        self._read = prices
        self._prices: Prices | None = None
        self._day = -1
        self._spent: dict[str, float] = {}
        self._others: dict[str, float] = {}
        self._open_until: dict[str, float] = {}
        self.used = False
        """Whether anything was ever charged or asked for."""
        self.unpriced: set[str] = set()
        """Targets whose instances have no price: what they cost is not counted, and that was logged."""

    def charge(self, migration: str, target: Target, seconds: float, wall: float) -> float:
        """Count one copy that took `seconds` and ended at `wall`, in seconds since 1970; the US dollars of it."""
        self._turn(wall)
        self.used = True
        try:
            usd = self._usd(target, seconds, wall)
        except ValueError as error:
            if target.name not in self.unpriced:
                log.warning("copies to %s are not counted against a budget: %s", target.name, error)
            self.unpriced.add(target.name)
            return 0.0
        self._spent[migration] = self._spent.get(migration, 0.0) + usd
        return usd

    def affords(self, migration: str, budget: float | None, wall: float) -> bool:
        """Whether there is something left today."""
        self._turn(wall)
        self.used = True
        spent = self._spent.get(migration, 0.0) + self._others.get(migration, 0.0)
        return budget is None or spent < budget

    def spent(self, wall: float) -> tuple[int, dict[str, float]]:
        """The day, counted from 1970, and what this process has spent on it by migration."""
        self._turn(wall)
        return self._day, dict(self._spent)

    def others(self, day: int, spent: dict[str, float]) -> None:
        """What all other processes have spent on that day."""
        if day == self._day:
            self._others = dict(spent)

    def _turn(self, wall: float) -> None:
        day = int(wall // _DAY)
        if day != self._day:
            self._day, self._spent, self._others = day, {}, {}

    def _usd(self, target: Target, seconds: float, wall: float) -> float:
        if isinstance(target.spec, BedrockSpec):
            cost = target.cost if isinstance(target.cost, ImportCost) else ImportCost(MOST_UNITS)
            if wall < self._open_until.get(target.name, 0.0):
                return 0.0
            price = self._unit_minute(target.region, cost.version)
            self._open_until[target.name] = wall - seconds + WINDOW
            return price * cost.units * cost.copies * WINDOW / 60.0
        if not isinstance(target.cost, InstanceCost):
            return 0.0
        price = self._known().instance_hour(target.region, target.cost.instance).usd
        return price * target.cost.share * seconds / 3600.0

    def _unit_minute(self, region: str | None, version: str) -> float:
        prices = self._known()
        try:
            return prices.unit_minute(region, version).usd
        except ValueError:
            return max(price.usd for row in prices.units.values() for price in row.values())

    def _known(self) -> Prices:
        if self._prices is None:
            self._prices = self._read()
        return self._prices
