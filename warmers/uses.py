"""When each target was last used by anyone in the fleet, told through the shared state about twice a minute.

Every process writes one item of its own, when something was used since the last time, and reads those of all. So
traffic that another proxy serves suppresses warm-ups, a process that has just started knows what is loaded, and one
that found a target cold hears that it is back. Moments are coarse, and as true as the machines' clocks agree. A use is
of a name and a place: under another policy the name may be of another.

Nothing on a request's path waits for it; while the store is out of reach, what was last heard holds.
"""

from __future__ import annotations

import json
import logging

from backends.book import named_place
from backends.state import Item, Store, StoreError
from policies.table import RouteTable, Target

from .ping import Parts

log = logging.getLogger("pointsman.warm")

GROUP = "uses"
EVERY = 30.0
"""Seconds between two exchanges."""
FORGOTTEN = 86_400.0
"""Seconds after which the item of a process that has not written is removed."""


class Uses:
    """This process's part in what the fleet knows of uses."""

    def __init__(self, parts: Parts, store: Store, name: str) -> None:
        """`name` is one that no other process has."""
        self._parts = parts
        self._store = store
        self._name = name
        self._heard: dict[str, float] = {}
        self._written: dict[str, float] = {}
        self._lost = False

    def last(self, target: Target) -> float | None:
        """When another process last used the target, on this one's steady clock; None: not known."""
        return self._heard.get(named_place(target))

    async def run(self) -> None:
        """Exchange until cancelled."""
        while True:
            try:
                await self.exchange()
            except Exception:
                # Whatever goes wrong with one exchange must not be the last that others hear.
                log.exception("an exchange of what is used broke")
            await self._parts.pause(EVERY)

    async def exchange(self) -> None:
        """Tell what was used here, and hear what was used elsewhere. A store out of reach changes nothing."""
        parts, (table, _) = self._parts, self._parts.table()
        now, wall = parts.now(), parts.wall()
        targets = _shared(table, parts)
        own = {named_place(target): parts.book.last_used(target) for target in targets}
        used = {name: round(wall - (now - moment), 1) for name, moment in own.items() if moment is not None}
        try:
            if used != self._written:
                text = json.dumps({"at": wall, "used": used}, separators=(",", ":"))
                await self._store.put(GROUP, self._name, text.encode())
                self._written = used
            items = await self._store.items(GROUP)
            if self._name not in items:  # the state was lost: it is told again at the next exchange
                self._written = {}
            for name in [name for name, item in items.items() if wall - _read(item)[0] > FORGOTTEN]:
                await self._store.drop(GROUP, name)
            self._lost = False
        except StoreError as error:
            if not self._lost:
                log.warning("what other processes use can't be told or heard: %s", error)
            self._lost = True
            return
        self._hear([_read(item)[1] for name, item in items.items() if name != self._name], targets, now, wall)

    def _hear(self, told: list[dict[str, float]], targets: list[Target], now: float, wall: float) -> None:
        self._heard = {}
        for target in targets:
            place = named_place(target)
            moments = [used[place] for used in told if place in used]
            if moments:
                at = now - max(0.0, wall - max(moments))
                self._heard[place] = at
                self._parts.temperatures.heard(target, at, now)


def _shared(table: RouteTable, parts: Parts) -> list[Target]:
    """The targets whose use matters to others: those that are kept warm, and those that may be cold."""
    warmed = {one.target.name for route in table.routes.values() for one in route.warm}
    names = warmed | set(parts.temperatures.tracked)
    return [target for name, target in table.targets.items() if name in names]


def _read(item: Item) -> tuple[float, dict[str, float]]:
    """When an item was written, and the uses it tells of; nothing, long ago, of one in another form."""
    try:
        value = json.loads(item.value)
        return float(value["at"]), {str(name): float(moment) for name, moment in value["used"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return 0.0, {}
