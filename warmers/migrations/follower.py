"""Where every migration stands, as this process last heard it, and how it gets to hear of it.

Every `LOOK` seconds one look at the shared state brings new shares and hands over what this process has seen. So a
command from anywhere is in force in every process within two looks. No request waits for it: what was heard last is
laid over the policy in force, and stays there while the state can't be reached, however long that takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from backends.state import StoreError
from policies.evidence import Evidence
from policies.migration_state import Event, Phase, State
from policies.overlay import laid, overlay
from policies.quantities import show_share
from policies.table import RouteTable

from . import audit
from .copy import Copy
from .ledger import Kept, Ledger
from .witness import Witness

log = logging.getLogger("pointsman.migrate")

LOOK = 4.0
"""Seconds between two looks: with the time of the look itself, half of the ten seconds a command may take."""
LAST_WORDS = 2.0
"""Seconds that a process which ends waits at most to hand over what it has seen last."""
PROMISED = 86_400.0
"""Seconds without the shared state for which steps are promised to hold; they hold beyond that, but it is an error."""

Gathered = Mapping[tuple[str, str], Mapping[str, Evidence]]
"""By migration and window, by route."""


class Counts(Protocol):
    """What is counted of migrations (`backends.migration_counts.MigrationCounts`)."""

    def stand(self, places: Mapping[str, tuple[int, float]]) -> None: ...

    def lost(self, seconds: float) -> None: ...


class Follower:
    """One process's view of the fleet's migrations."""

    def __init__(
        self,
        ledger: Ledger,
        worker: str,
        wall: Callable[[], float],
        changed: Callable[[], None],
        gather: Callable[[], Gathered] | None = None,
        look: float = LOOK,
        counts: Counts | None = None,
        copy: Copy | None = None,
    ) -> None:
        """`worker` is a name that no other process has. `changed` is called when `dress` would give another table.

        `gather` gives what else was seen since its last call, beside requests. `run` looks every `look` seconds. `copy`
        is where this machine remembers what was heard last.
        """
        self.witness = Witness()
        self._ledger = ledger
        self._worker = worker
        self._wall = wall
        self._changed = changed
        self._gather = gather
        self._every = look
        self._counts = counts
        self._copy = copy
        self._heard = False
        self._states: dict[str, State] = {}
        self._lost: float | None = None
        self._late = False

    def also(self, gather: Callable[[], Gathered]) -> None:
        """Ask `gather` for what else was seen, from now on."""
        self._gather = gather

    @property
    def lost(self) -> float:
        """Seconds since the shared state could be reached; 0 while it can."""
        return 0.0 if self._lost is None else max(0.0, self._wall() - self._lost)

    def dress(self, table: RouteTable) -> RouteTable:
        """The table as it is in force: with every migration where it was last heard to stand."""
        return laid(table, overlay(table.migrations.values(), self._states)) if table.migrations else table

    async def look(self, table: RouteTable) -> None:
        """Hear of new states and hand over what was seen. A state that can't be reached changes nothing."""
        if not table.migrations:
            # Nobody listens now: when migrations come back, what was heard before may be long out of date.
            self._states, self._heard, self._lost = {}, False, None
            return
        await self._hear(table)
        if self._counts is not None:
            self._counts.stand({name: _place(self._states.get(name)) for name in table.migrations})
            self._counts.lost(self.lost)

    async def _hear(self, table: RouteTable) -> None:
        try:
            kept = await self._ledger.states()
        except StoreError as error:
            self._cut_off(error)
            return
        self._say_commanded(kept)
        states = {name: one.state for name, one in kept.items()}
        states |= await self._restored(table, kept)
        states |= self._remembered(self._ledger.unreadable - states.keys())
        self._adopt(states)
        self._heard = True
        self._remember()
        try:  # after the news: a state that can be read and not be written to must still be able to roll back
            await self._hand_over()
        except StoreError as error:
            self._cut_off(error)
            return
        if self._lost is not None:
            log.warning("the shared state can be reached again, after %.0f s", self.lost)
        self._lost, self._late = None, False

    def _say_commanded(self, kept: Mapping[str, Kept]) -> None:
        """Commands come from elsewhere: what they did is in this process's log from when it goes by it."""
        for name, one in kept.items():
            before = self._states.get(name)
            if not self._heard or (before is not None and before.version == one.state.version):
                continue
            said = _commanded(one.records)
            if said is not None:
                log.info("migration %s now at %s: %s", name, show_share(one.state.in_force[0]), said)

    def _adopt(self, states: dict[str, State]) -> None:
        if states != self._states:
            self._states = states
            self._changed()

    def _remember(self) -> None:
        """Keep a copy on this machine, for a process that starts while the shared state is out of reach."""
        if self._copy is None:
            return
        try:
            self._copy.keep(self._states, self._wall())
        except OSError as error:
            log.warning("no copy of where migrations stand can be kept on this machine: %s", error)
            self._copy = None

    def _remembered(self, names: frozenset[str]) -> dict[str, State]:
        """Of these, which are there and can't be read, what the copy of this machine says: they have not gone home."""
        found = self._copy.read(self._wall()) if names and self._copy is not None else None
        return {name: state for name, state in found[1].items() if name in names} if found is not None else {}

    def _recall(self) -> None:
        """Take the copy of this machine: this process has never heard anything."""
        found = self._copy.read(self._wall()) if self._copy is not None else None
        if found is None:
            log.warning("nothing is known of where migrations stand: everything goes to the old targets")
            return
        log.warning("migrations stand where they were heard to be %.0f s ago, by the copy of this machine", found[0])
        self._adopt(found[1])

    async def run(self, table: Callable[[], RouteTable], pause: Callable[[float], Awaitable[None]]) -> None:
        """Look until cancelled; what was seen last is handed over then."""
        try:
            while True:
                await pause(self._every)
                await self._safely(table())
        finally:
            try:
                async with asyncio.timeout(LAST_WORDS):
                    await self._hand_over()
            except (StoreError, TimeoutError) as error:
                log.warning("what was seen of migrations last is lost: %s", str(error) or "the shared state is slow")

    async def _safely(self, table: RouteTable) -> None:
        try:
            await self.look(table)
        except Exception:
            # Whatever goes wrong with one look must not keep the next command from this process.
            log.exception("a look at the shared state broke")

    async def _hand_over(self) -> None:
        for (migration, window), by_route in (self._gather() if self._gather else {}).items():
            for route, evidence in by_route.items():
                self.witness.add(route, migration, window, evidence)
        unsaid = dict(self.witness.changed(self._wall()))
        try:
            for of, seen in list(unsaid.items()):
                state = self._states.get(of[0])
                if state is None or state.phase is not Phase.DONE:  # nobody decides anything from what is done
                    await self._ledger.saw(*of, self._worker, seen)
                del unsaid[of]
        finally:
            for of in unsaid:
                self.witness.unsaid(of)
        self.witness.keep(frozenset((name, state.window_id) for name, state in self._states.items()))

    async def _restored(self, table: RouteTable, kept: Mapping[str, Kept]) -> dict[str, State]:
        """Migrations that the shared state has forgotten, or knows as they once were: they stay where they are, and are
        written down again.

        A server that was started empty must not send a whole fleet's traffic back to targets that were scaled in, and
        one that has lost its last writes, or was put back from a backup, must not undo a rollback.
        """
        gone = {
            name: state
            for name, state in self._states.items()
            if name in table.migrations and (name not in kept or _before(kept[name].state, state))
        }
        for name, state in gone.items():
            had = "knew an older place of" if name in kept else "had lost"
            try:
                if await self._ledger.write(kept.get(name), state, ()):
                    log.error("the shared state %s migration %s; it was written down again as it stood", had, name)
            except StoreError as error:
                log.warning("the shared state %s migration %s, and can't be written: %s", had, name, error)
        return gone

    def _cut_off(self, error: StoreError) -> None:
        if self._lost is None:
            self._lost = self._wall()
            log.warning("migrations stand where they are, since the shared state can't be reached: %s", error)
            if not self._heard:
                self._recall()
        if not self._late and self.lost > PROMISED:
            self._late = True
            log.error("migrations have stood still for a day without the shared state: %s", error)


def _before(one: State, other: State) -> bool:
    """Whether `one` is what `other` once was: a smaller version, and nothing in it that happened later.

    A migration that was begun anew in a state that was lost has a smaller version too, and is no step back.
    """
    return one.version < other.version and one.run <= other.run and _latest(one) <= _latest(other)


def _latest(state: State) -> float:
    """When the last thing happened that the state tells of."""
    return max(state.since, state.ramped, state.done_at or 0.0, *(at for _, at in state.applied), 0.0)


def _commanded(records: Sequence[bytes]) -> str | None:
    """What a command led to, who gave it and why; None where there was none, or where a record can't be read."""
    try:
        done = [audit.read(record) for record in records]
    except ValueError:
        return None  # the history says it; hearing of the state must not depend on it
    done = [record for record in done if record["event"] != Event.REFUSED.value]  # it led to nothing
    command = next((record for record in done if record.get("command") is not None), None)
    if command is None:
        return None
    events = ", ".join(str(record["event"]) for record in done)
    return f"{events} ({command.get('who')}: {command.get('why')})"


def _place(state: State | None) -> tuple[int, float]:
    """Step, from 1, and share in force; 0 and 0 of a migration that nobody has started."""
    return (0, 0.0) if state is None else (state.step + 1, state.in_force[0])
