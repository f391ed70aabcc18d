"""The one process of a fleet that moves migrations on: it reads what was seen, asks what follows, and writes it.

Who it is follows from a lease, so that the work is done once; that a step is taken once follows from compare and set,
so that a controller which does not know that it has lost the duty does no harm. Commands do not come here: whoever
gives one writes what follows from it by itself (`orders.py`), so that `rollback` needs no controller to be alive. What
became of them is told from here all the same (`telling.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from backends.state import StoreError
from policies.evidence import Evidence
from policies.migrating import Migration
from policies.migration import step
from policies.migration_state import Decision, Seen, State
from policies.table import RouteTable

from ..lease import Duty
from .audit import Basis, records
from .follower import LOOK
from .judging import Judge
from .ledger import Kept, Ledger
from .report import Report, report
from .telling import Teller, at_once

log = logging.getLogger("pointsman.migrate")

DUTY = "migrations"
LEASE = 3.75
"""Looks that the lease of the one on duty holds: 15 seconds with the usual ones."""
REPORT = 10.0
"""Seconds after which what was seen is told again although it is the same, so that readers know that somebody looks."""

PUBLISH = 3600.0
"""Seconds after which the plans in force are written down again although they are the same: a state may be lost."""

Rooms = Callable[[Migration, State, RouteTable], Awaitable[Mapping[str, float]]]
"""By route: the part of its traffic that the old target is shown able to take now; what is not known is not in it."""

Costs = Callable[[Migration, RouteTable, Mapping[str, Evidence], float], Mapping[str, Evidence]]
"""By route what the new target would cost with all of the traffic, as evidence, by what was seen up to a moment
(`costs.projected`)."""


def no_costs(plan: Migration, table: RouteTable, seen: Mapping[str, Evidence], now: float) -> Mapping[str, Evidence]:
    """Nobody says what anything costs."""
    return {}


class Controller:
    """The controller of one process, on duty or not."""

    def __init__(
        self,
        ledger: Ledger,
        duty: Duty,
        rooms: Rooms,
        wall: Callable[[], float],
        tell: Callable[[Decision], None],
        look: float = LOOK,
        costs: Costs = no_costs,
        settled: Callable[[], bool] = at_once,
    ) -> None:
        """`tell` is told of every decision of the fleet, as `Teller` has it. `run` looks every `look` seconds."""
        self._ledger = ledger
        self._duty = duty
        self._rooms = rooms
        self._wall = wall
        self._teller = Teller(ledger, tell, settled)
        self._every = look
        self._costs = costs
        self._judge = Judge()
        self._reported: dict[str, Report] = {}
        self._said: dict[str, str] = {}
        self._published: tuple[float, int, Mapping[str, Migration]] = (float("-inf"), 0, {})

    async def run(self, table: Callable[[], RouteTable], pause: Callable[[float], Awaitable[None]]) -> None:
        """Decide what is to be decided, until cancelled; the duty is released then."""
        try:
            while True:
                try:
                    await self.round(table())
                except Exception:
                    # Whatever goes wrong with one look, a red gate has to lead back at the next.
                    log.exception("a look at the migrations broke")
                await pause(min(self._every, self._duty.look))
        finally:
            await self._teller.leave()
            await self._duty.release()

    async def round(self, table: RouteTable) -> None:
        """One look at every migration, if this process is on duty. A state that can't be reached is left alone."""
        token = await self._duty.hold() if table.migrations else None
        if token is None:
            return
        try:
            kept = await self._ledger.states()
            await self._publish(table.migrations, token)
            self._said.pop("", None)
        except StoreError as error:
            self._say("", error)
            return
        try:
            await self._teller.catch_up(kept, token)
        except StoreError as error:  # what has to be decided does not wait for it
            log.warning("what was decided about migrations is told later: %s", error)
        for name, plan in table.migrations.items():
            if name in kept:
                await self._safely(plan, kept[name], table, token)

    async def _publish(self, plans: Mapping[str, Migration], token: int) -> None:
        """Keep a copy of the plans where commands find it that have no policy which can be used."""
        at, under, before = self._published
        now = self._wall()
        if now - at >= PUBLISH or under != token or before != plans:  # a lease of another number: a state that was lost
            await self._ledger.publish(plans.values(), token)
            self._published = now, token, plans

    async def _safely(self, plan: Migration, kept: Kept, table: RouteTable, token: int) -> None:
        try:
            await self._one(plan, kept, table, token)
            self._said.pop(plan.name, None)
        except StoreError as error:
            self._say(plan.name, error)
        except Exception:
            # Whatever goes wrong with one migration must not keep the others from being taken back.
            log.exception("the controller broke at migration %s", plan.name)

    def _say(self, name: str, error: StoreError) -> None:
        """Once, and again when it is another reason; `name` is empty where it is about all of them."""
        if self._said.get(name) != str(error):
            what = f"migration {name} does not move" if name else "no migration moves"
            log.warning("%s, since the shared state can't be used: %s", what, error)
        self._said[name] = str(error)

    async def _one(self, plan: Migration, kept: Kept, table: RouteTable, token: int) -> None:
        state, now = kept.state, self._wall()
        window = state.window_id
        evidence = dict(await self._ledger.evidence(plan.name, window))
        for route, cost in self._costs(plan, table, evidence, now).items():
            evidence[route] = evidence.get(route, Evidence()) + cost
        rooms = await self._rooms(plan, state, table)
        verdicts = self._judge.judge(plan, state, evidence, now)
        seen = Seen(window, verdicts, rooms)
        move = step(state, plan, seen, (), now)
        if move.changed:
            said = records(move.decisions, Basis(verdicts, evidence, rooms))
            if not await self._ledger.write(kept, move.state, said):
                return  # somebody was quicker, and knew no less
            await self._ledger.forget(plan.name, move.state.window_id)
            await self._teller.catch_up({plan.name: Kept(move.state, kept.version + 1, said)}, token)
        await self._report(plan.name, report(move, seen, now), token)

    async def _report(self, name: str, report: Report, token: int) -> None:
        before = self._reported.get(name)
        if before is None or not before.same(report) or report.at - before.at >= REPORT:
            await self._ledger.tell(name, report, token)
            self._reported[name] = report
