"""Every decision of the fleet told once, whoever took it: the controller, or a person from a laptop.

Commands are carried out where they are given, so nobody who serves sees them happen. What they did is in the shared
state with its records, and the process on duty tells of it at its next look. How far it has come is kept there as well,
so that a successor goes on from there. That is written down once nothing waits to be told any more: a process that is
killed before tells too little, and its successor tells that again. So each decision is told at least once, and twice
only when the duty changes hands in between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from backends.state import StoreError
from policies.migration_state import Decision

from . import audit
from .ledger import Kept, Ledger

log = logging.getLogger("pointsman.migrate")


def at_once() -> bool:
    """Nothing waits: what is told has arrived."""
    return True


class Teller:
    """The telling of one process, while it is on duty."""

    def __init__(self, ledger: Ledger, tell: Callable[[Decision], None], settled: Callable[[], bool] = at_once) -> None:
        """`tell` is told of each decision; `settled` says whether all of that has got where it was to go."""
        self._ledger = ledger
        self._tell = tell
        self._settled = settled
        self._token: int | None = None
        self._told: dict[str, int] = {}
        self._marked: dict[str, int] = {}

    async def catch_up(self, kept: Mapping[str, Kept], token: int) -> None:
        """Tell what has been decided since this was last done, by whoever has the duty. Raises StoreError."""
        if token != self._token:  # another may have had the duty, and told
            self._told = dict(await self._ledger.told())
            self._token, self._marked = token, dict(self._told)
        for name, one in kept.items():
            await self._one(name, one)
        await self._mark()

    async def leave(self) -> None:
        """Write down how far this process came, before it gives up the duty. Raises nothing."""
        try:
            await self._mark()
        except StoreError as error:
            log.warning("the next one on duty may tell of decisions again: %s", error)

    async def _one(self, name: str, kept: Kept) -> None:
        before = self._told.get(name, 0)
        if kept.version == before:
            return
        # A smaller version than was told of: the shared state was lost, and has begun anew.
        since = before if before < kept.version else 0
        for record in await self._ledger.since(kept, since):
            try:
                decision = audit.decision(record)
            except ValueError:
                log.exception("a record of migration %s can't be read", name)
                continue
            self._tell(decision)
        self._told[name] = kept.version

    async def _mark(self) -> None:
        if self._token is not None and self._told != self._marked and self._settled():
            await self._ledger.mark(self._told, self._token)
            self._marked = dict(self._told)
