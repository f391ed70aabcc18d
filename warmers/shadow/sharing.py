"""What the processes of a fleet have spent on copies, told to one another through the shared state.

Each process puts its own sum of a day where the others read it, every `LOOK` seconds while something is spent or read;
so a fleet may overspend by what it spends in that time. Without the state each goes on with what it heard last: then a
budget may be spent once by every process, at worst, until the state is back or the day is over.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable

from backends.state import Store, StoreError

from .purse import Purse

log = logging.getLogger("pointsman.shadow")

LOOK = 10.0
"""Seconds."""


class Sharing:
    """One process's part in it."""

    def __init__(self, store: Store, purse: Purse, worker: str, wall: Callable[[], float]) -> None:
        """`worker` is a name that no other process has."""
        self._store = store
        self._purse = purse
        self._worker = worker
        self._wall = wall
        self._told: tuple[int, dict[str, float]] | None = None
        self._cut_off = False

    async def run(self, pause: Callable[[float], Awaitable[None]]) -> None:
        """Tell and listen until cancelled."""
        while True:
            await pause(LOOK)
            await self.look()

    async def look(self) -> None:
        """Tell what was spent here, and hear what others have. A state that can't be reached changes nothing."""
        day, spent = self._purse.spent(self._wall())
        if not self._purse.used:
            return
        try:
            if spent and self._told != (day, spent):
                await self._store.put(_group(day), self._worker, json.dumps(spent).encode())
                await self._forget(day - 2)
                self._told = day, spent
            self._purse.others(day, await self._others(day))
        except StoreError as error:
            if not self._cut_off:
                log.warning("what other processes spend on copies is not known now: %s", error)
            self._cut_off = True
            return
        self._cut_off = False

    async def _others(self, day: int) -> dict[str, float]:
        total: dict[str, float] = {}
        for worker, item in (await self._store.items(_group(day))).items():
            if worker == self._worker:
                continue
            for migration, usd in _read(item.value).items():
                total[migration] = total.get(migration, 0.0) + usd
        return total

    async def _forget(self, day: int) -> None:
        for worker in await self._store.items(_group(day)):
            await self._store.drop(_group(day), worker)


def _group(day: int) -> str:
    return f"copies/{day}"


def _read(value: bytes) -> dict[str, float]:
    """What a process has written; nothing where it is not readable, since it is another version's."""
    try:
        return {str(name): float(usd) for name, usd in json.loads(value).items()}
    except (ValueError, TypeError, AttributeError):
        return {}
