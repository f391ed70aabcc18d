"""The one process of a fleet that moves migrations on: it reads what was seen, asks what follows, and writes it.

Who it is follows from a lease, so that the work is done once; that a step is taken once follows from compare and set,
so that a controller which does not know that it has lost the duty does no harm. Commands do not come here: whoever
gives one writes what follows from it by itself (`orders.py`), so that `rollback` needs no controller to be alive.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from backends.state import StoreError
from policies.gate import judge
from policies.migrating import Migration
from policies.migration import step
from policies.migration_state import Decision, Seen, State
from policies.table import RouteTable

from ..lease import Duty
from .audit import Basis, records
from .follower import LOOK
from .ledger import Kept, Ledger

log = logging.getLogger("pointsman.migrate")

DUTY = "migrations"

Rooms = Callable[[Migration, State, RouteTable], Awaitable[Mapping[str, float]]]
"""By route: the part of its traffic that the old target is shown able to take now; what is not known is not in it."""


class Controller:
    """The controller of one process, on duty or not."""

    def __init__(
        self,
        ledger: Ledger,
        duty: Duty,
        rooms: Rooms,
        wall: Callable[[], float],
        tell: Callable[[Decision], None],
    ) -> None:
        """`tell` is told of every decision that was written, once."""
        self._ledger = ledger
        self._duty = duty
        self._rooms = rooms
        self._wall = wall
        self._tell = tell

    async def run(self, table: Callable[[], RouteTable], pause: Callable[[float], Awaitable[None]]) -> None:
        """Decide what is to be decided, until cancelled; the duty is released then."""
        try:
            while True:
                await self.round(table())
                await pause(min(LOOK, self._duty.look))
        finally:
            await self._duty.release()

    async def round(self, table: RouteTable) -> None:
        """One look at every migration, if this process is on duty. A state that can't be reached is left alone."""
        if not table.migrations or await self._duty.hold() is None:
            return
        try:
            kept = await self._ledger.states()
            for name, plan in table.migrations.items():
                if name in kept:
                    await self._one(plan, kept[name], table)
        except StoreError as error:
            log.warning("no migration moves, since the shared state can't be used: %s", error)

    async def _one(self, plan: Migration, kept: Kept, table: RouteTable) -> None:
        state, now = kept.state, self._wall()
        window = state.window_id
        evidence = await self._ledger.evidence(plan.name, window)
        rooms = await self._rooms(plan, state, table)
        verdicts = judge(plan, state, evidence, now)
        move = step(state, plan, Seen(window, verdicts, rooms), (), now)
        if not move.changed:
            return
        said = records(move.decisions, Basis(verdicts, evidence, rooms))
        if not await self._ledger.write(kept, move.state, said):
            return  # somebody was quicker, and knew no less
        for decision in move.decisions:
            self._tell(decision)
        await self._ledger.forget(plan.name, move.state.window_id)
