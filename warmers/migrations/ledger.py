"""What a fleet keeps of its migrations in the shared state: where each stands, what was decided, what was seen.

    migrations           item a migration: its state, and the records of the change that led there
    audit/NAME           item a record; only ever swapped in where there is none
    evidence/NAME        item a window, worker and route: counts since that worker came to that window
    seen/NAME            document: what the controller saw at its last look
    plans                document: a copy of the plans in force; that there is one says that a proxy has been here
    told                 document: up to which version each migration's decisions have been told to people

A state is changed by compare and set, so that of two who decide at the same moment one wins and the other looks again.
The records of a change are written with the state, in the same item, and copied to the audit before the next change:
whoever dies between the two loses no record and doubles none.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from backends.state import Item, Store, StoreError
from policies import plan_copy
from policies.evidence import Evidence
from policies.migrating import Migration
from policies.migration_state import State

from . import audit
from .report import Report, read

log = logging.getLogger("pointsman.migrate")

MIGRATIONS = "migrations"
PLANS = "plans"
TOLD = "told"


@dataclass(frozen=True, slots=True)
class Kept:
    """A migration's state as it is stored."""

    state: State
    version: int
    """Of the item: what a change has to follow."""
    records: tuple[bytes, ...] = ()
    """Of the change that led here, in their turn."""


class Ledger:
    """Every method raises StoreError when the store can't be reached, or holds what this version can't read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unreadable: set[tuple[str, int]] = set()
        self.unreadable: frozenset[str] = frozenset()
        """Migrations whose states were there at the last look and could not be read."""
        self._states: dict[str, tuple[Item, Kept]] = {}
        self._evidence: dict[str, dict[str, tuple[bytes, Evidence]]] = {}
        """What was read last, by migration and key: most looks find the same, and reading it is most of their work."""

    async def states(self) -> dict[str, Kept]:
        """Every migration that was ever started, by name; one that can't be read is left out, and said once."""
        found, unreadable = {}, set[str]()
        for name, item in (await self._store.items(MIGRATIONS)).items():
            known = self._states.get(name)
            try:
                found[name] = known[1] if known is not None and known[0] == item else _kept(name, item)
            except StoreError as error:
                if (name, item.version) not in self._unreadable:
                    self._unreadable.add((name, item.version))
                    log.error("%s", error)  # noqa: TRY400 - the message says it all
                unreadable.add(name)
                continue
            self._states[name] = item, found[name]
        self.unreadable = frozenset(unreadable)
        return found

    async def state(self, name: str) -> Kept | None:
        """Where one stands; None when nobody has started it."""
        item = (await self._store.items(MIGRATIONS)).get(name)
        return _kept(name, item) if item is not None else None

    async def write(self, before: Kept | None, state: State, records: tuple[bytes, ...]) -> bool:
        """Put `state` in place of `before`, None: of nothing. False, and nothing changed, when another was quicker."""
        if before is not None:
            await self._copy(before)
        written = Kept(state, (before.version if before else 0) + 1, records)
        if not await self._store.swap(MIGRATIONS, state.name, _text(written), written.version - 1):
            return False
        await self._copy(written)
        return True

    async def history(self, name: str) -> list[dict[str, Any]]:
        """Every record of a migration, oldest first."""
        found = {key: item.value for key, item in (await self._store.items(_audit(name))).items()}
        newest = await self.state(name)
        if newest is not None:  # its writer may have died before it copied them
            found |= {audit.key(newest.version, turn): text for turn, text in enumerate(newest.records)}
        return [audit.read(found[key]) for key in sorted(found)]

    async def since(self, kept: Kept, version: int) -> list[bytes]:
        """The records of all changes after `version` that led to `kept`, oldest first."""
        found: dict[str, bytes] = {}
        if version < kept.version - 1:  # of the last change alone they are at hand
            stored = await self._store.items(_audit(kept.state.name))
            first, last = audit.key(version + 1, 0), audit.key(kept.version, 0)
            found = {key: item.value for key, item in stored.items() if first <= key < last}
        return [*(found[key] for key in sorted(found)), *kept.records]

    async def told(self) -> Mapping[str, int]:
        """Up to which version each migration's decisions have been told."""
        try:
            return {str(name): int(at) for name, at in json.loads(await self._store.read(TOLD) or b"{}").items()}
        except (ValueError, TypeError, AttributeError):
            log.exception("it can't be read what has been told of migrations: it is told again")
            return {}

    async def mark(self, told: Mapping[str, int], token: int) -> None:
        """Keep that, for who has the duty next; nothing happens when the one with that lease has been succeeded."""
        await self._store.write(TOLD, json.dumps(dict(told)).encode(), token)

    async def saw(self, name: str, window: str, worker: str, evidence: Mapping[str, Evidence]) -> None:
        """What `worker` has seen so far in a window of a migration, by route; it replaces what it had said before."""
        for route, seen in evidence.items():
            text = json.dumps(seen.to_json(), separators=(",", ":")).encode()
            await self._store.put(_evidence(name), f"{window} {worker} {route}", text)

    async def evidence(self, name: str, window: str) -> dict[str, Evidence]:
        """What all workers have seen in a window, by route."""
        total: dict[str, Evidence] = {}
        known, read = self._evidence.get(name, {}), {}
        for key, item in (await self._store.items(_evidence(name))).items():
            of, _, rest = key.partition(" ")
            if of == window:
                route = rest.partition(" ")[2]
                before = known.get(key)
                seen = before[1] if before is not None and before[0] == item.value else _seen(name, item.value)
                read[key] = item.value, seen
                total[route] = together(total[route], seen) if route in total else seen
        self._evidence[name] = read
        return total

    async def forget(self, name: str, window: str) -> None:
        """Drop what was seen in windows before this one: the decisions that rest on it are in the audit."""
        for key in await self._store.items(_evidence(name)):
            if _order(key.partition(" ")[0]) < _order(window):
                await self._store.drop(_evidence(name), key)

    async def report(self, name: str) -> Report | None:
        """What the controller saw at its last look; None when there was none."""
        return read(await self._store.read(_report(name)))

    async def tell(self, name: str, report: Report, token: int) -> None:
        """Keep what the controller with that lease has seen; nothing happens when it has been succeeded."""
        await self._store.write(_report(name), report.to_json(), token)

    async def plans(self) -> Mapping[str, Migration] | None:
        """The plans that the controller goes by; None when none has been here ever."""
        text = await self._store.read(PLANS)
        if text is None:
            return None
        try:
            return plan_copy.from_json(text)
        except ValueError as error:
            msg = (
                f"the copy of the plans in force can't be read ({error}): has a newer version of pointsman written it?"
            )
            raise StoreError(msg) from error

    async def publish(self, plans: Iterable[Migration], token: int) -> None:
        """Keep a copy of the plans in force; nothing happens when the controller with that lease has been succeeded."""
        await self._store.write(PLANS, plan_copy.to_json(plans), token)

    async def _copy(self, kept: Kept) -> None:
        for turn, text in enumerate(kept.records):
            await self._store.swap(_audit(kept.state.name), audit.key(kept.version, turn), text, 0)


def together(one: Evidence, other: Evidence) -> Evidence:
    """Both; where the policy's bound of agreement has changed in between, the comparisons of the newer alone."""
    try:
        return one + other
    except ValueError:
        older = one if one.at <= other.at else other
        rest = other if older is one else one
        return replace(older, agreement=None) + rest


def _audit(name: str) -> str:
    return f"audit/{name}"


def _evidence(name: str) -> str:
    return f"evidence/{name}"


def _order(window: str) -> tuple[int, ...]:
    """Windows by their age: `run.number`."""
    return tuple(int(part) for part in window.split("."))


def _report(name: str) -> str:
    return f"seen/{name}"


def _text(kept: Kept) -> bytes:
    records = [one.decode() for one in kept.records]
    return json.dumps({"state": kept.state.to_json().decode(), "records": records}).encode()


def _kept(name: str, item: Item) -> Kept:
    try:
        found = json.loads(item.value)
        records = tuple(str(one).encode() for one in found["records"])
        return Kept(State.from_json(found["state"].encode()), item.version, records)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"what is kept of migration {name} can't be read ({error}): has a newer version of pointsman written it?"
        raise StoreError(msg) from error


def _seen(name: str, text: bytes) -> Evidence:
    try:
        return Evidence.from_json(json.loads(text))
    except ValueError as error:
        msg = f"evidence of migration {name} can't be read ({error}): has a newer version of pointsman written it?"
        raise StoreError(msg) from error
