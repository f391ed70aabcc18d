"""What is counted of cold targets: how warm they are, what restores took and came to, whom it cost what, and dollars.

A part of `Meters` with the same promises: plain additions, a bounded number of label sets, and counts of several
processes that add up. Of several processes the coldest one's word on a target is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import families
from .families import Histograms, Scalars, last
from .metric_names import COLD_REQUESTS, RESTORE_TIME, RESTORES, TEMPERATURE, WARM_COST


class ColdCounts:
    """The counts of one process, or of several after `merge`."""

    def __init__(self, cap: int) -> None:
        """At most `cap` label sets of each metric; what is beyond lands in `_other`."""
        self._temperatures = Scalars(TEMPERATURE, cap, max)
        self._restores = Scalars(RESTORES, cap)
        self._times = Histograms(RESTORE_TIME, cap)
        self._requests = Scalars(COLD_REQUESTS, cap)
        self._costs = Scalars(WARM_COST, cap, last)
        self._all = (self._temperatures, self._restores, self._times, self._requests, self._costs)

    def temperatures(self, states: Iterable[tuple[str, int]]) -> None:
        """What every tracked target is now, as `policies.temperature.Warmth` numbers it."""
        self._temperatures.replace(((target,), int(state)) for target, state in states)

    def restore(self, target: str, result: str) -> None:
        """A restore probe is over: `ready`, `given_up` or `failed`."""
        self._restores.count((target, result))

    def restored(self, target: str, seconds: float) -> None:
        """A target was back so long after it had been found cold."""
        self._times.observe((target,), seconds)

    def request(self, model: str, became: str) -> None:
        """A request of a route met a cold target: `spill`, `hold` or `fail`."""
        self._requests.count((model, became))

    def cost(self, target: str, interval: str, usd: float) -> None:
        """What warm-ups cost a month at the interval that is in force (`policy`) or the one `advised`."""
        self._costs.count((target, interval), usd)

    def settle(self) -> None:
        """Forget what a process has now: it is gone."""
        self._temperatures.replace(())

    def merge(self, other: ColdCounts) -> None:
        """Add the counts of another process."""
        families.merge(self._all, other._all)

    def dump(self) -> dict[str, Any]:
        """All counts as JSON values; `load` reads them back."""
        return families.dump(self._all)

    @classmethod
    def load(cls, data: dict[str, Any], cap: int) -> ColdCounts:
        """The counts that `dump` described; KeyError, TypeError or ValueError when it did not."""
        counts = cls(cap)
        families.load(counts._all, data)
        return counts

    def render(self) -> list[str]:
        """The blocks of Prometheus' text format."""
        return [family.render() for family in self._all]
