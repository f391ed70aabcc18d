"""What this machine remembers of migrations, where the shared state is there and says nothing, or is away again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backends.state import Item
from policies.migration_state import Verb
from policies.table import Route
from warmers.migrations.copy import Copy
from warmers.migrations.follower import Follower
from warmers.migrations.ledger import Ledger
from warmers.migrations.orders import order

from .fleet import PLAN, Fleet, table


def started(fleet: Fleet, folder: Path, worker: str) -> Follower:
    """A process of this machine."""
    copy = Copy(folder, "valkey://x", worker)
    return Follower(Ledger(fleet.store), worker, fleet.clock, lambda: None, copy=copy)


def share(one: Follower) -> float:
    route = one.dress(table()).lookup("apexguru", None)
    assert isinstance(route, Route)
    return route.shift.share if route.shift is not None else 0.0


@pytest.mark.parametrize("text", [b'{"state":"{\\"format\\":2}","records":[]}', b"garbage"])
async def test_a_state_that_can_not_be_read_sends_nobody_home(text: bytes, tmp_path: Path) -> None:
    """A process that starts goes by the copy, as those that run stay where they are; and the copy does not forget."""
    fleet = Fleet()
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    before = started(fleet, tmp_path, "before")
    await before.look(table())
    fleet.store.groups["migrations"]["apexguru"] = Item(2, text)
    await before.look(table())
    after = started(fleet, tmp_path, "after")
    await after.look(table())
    fleet.cut = True
    last = started(fleet, tmp_path, "last")
    await last.look(table())
    assert [share(one) for one in (before, after, last)] == [0.1, 0.1, 0.1]


async def test_migrations_that_come_back_while_the_state_is_away_go_by_the_copy(tmp_path: Path) -> None:
    """As after a restart: who took them out of the policy until the state is back has them where they stood."""
    fleet = Fleet()
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    one = started(fleet, tmp_path, "one")
    await one.look(table())
    fleet.cut = True
    await one.look(table())
    await one.look(replace(table(), migrations={}))
    assert (share(one), one.lost) == (0.0, 0.0)
    await one.look(table())
    assert share(one) == 0.1
