"""What a fleet spends on copies is known to all of it."""

from __future__ import annotations

import asyncio

import pytest

from backends.tasks import start
from tests.memory import MemoryStore
from tests.warmers.shadow.scene import DAY, NEW
from warmers.prices import open_prices
from warmers.shadow import Purse, Sharing
from warmers.shadow.sharing import LOOK

WINDOW = 0.5718
"""US dollars of one billing window of NEW."""


class Fleet:
    """Two processes and the state they share."""

    def __init__(self) -> None:
        self.wall = DAY
        self.down = False
        self.store = MemoryStore(lambda: self.down)
        self.purses = [Purse(open_prices) for _ in range(2)]
        self.sharings = [
            Sharing(self.store, purse, f"w{number}", lambda: self.wall) for number, purse in enumerate(self.purses)
        ]

    async def look(self) -> None:
        for sharing in self.sharings:
            await sharing.look()


async def test_what_one_spends_the_others_cannot() -> None:
    """Both count towards the budget, neither counts its own twice, and another migration's is its own."""
    fleet = Fleet()
    one, other = fleet.purses
    one.charge("m", NEW, 1.0, DAY)
    assert other.affords("m", WINDOW, DAY)
    await fleet.look()
    assert not other.affords("m", WINDOW, DAY)
    assert other.affords("n", WINDOW, DAY)
    other.charge("m", NEW, 1.0, DAY)
    await fleet.look()
    await fleet.look()
    assert one.affords("m", 2 * WINDOW + 0.01, DAY)
    assert not one.affords("m", 2 * WINDOW, DAY)


async def test_a_new_day_begins_anew_and_old_ones_are_forgotten() -> None:
    """The state holds what was spent today and yesterday."""
    fleet = Fleet()
    for day in range(4):
        fleet.wall = DAY + day * 86_400
        assert fleet.purses[1].affords("m", WINDOW, fleet.wall)
        fleet.purses[0].charge("m", NEW, 1.0, fleet.wall)
        await fleet.look()
        assert not fleet.purses[1].affords("m", WINDOW, fleet.wall)
    assert [group for group, items in fleet.store.groups.items() if items] == ["copies/20002", "copies/20003"]


async def test_who_copies_nothing_asks_nothing() -> None:
    """A fleet without shadow steps costs the state nothing."""
    fleet = Fleet()
    await fleet.look()
    assert fleet.store.asked == 0


async def test_without_the_state_the_last_word_holds(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once; what was heard before still counts, and later everything is told."""
    fleet = Fleet()
    one, other = fleet.purses
    assert other.affords("m", WINDOW, DAY)
    one.charge("m", NEW, 1.0, DAY)
    await fleet.look()
    fleet.down = True
    one.charge("m", NEW, 1.0, DAY + 400)
    await fleet.look()
    await fleet.look()
    assert not other.affords("m", WINDOW, DAY)
    assert other.affords("m", 2 * WINDOW, DAY)
    assert caplog.text.count("is not known now: cut off") == 2
    fleet.down = False
    await fleet.look()
    assert not other.affords("m", 2 * WINDOW, DAY)


@pytest.mark.parametrize("value", [b"{", b"[]", b'{"m": "much"}'])
async def test_what_another_version_wrote_is_passed_over(value: bytes) -> None:
    """A value that cannot be read counts nothing and breaks nothing."""
    fleet = Fleet()
    assert fleet.purses[1].affords("m", WINDOW, DAY)
    await fleet.store.put("copies/20000", "w9", value)
    fleet.purses[0].charge("m", NEW, 1.0, DAY)
    await fleet.look()
    assert not fleet.purses[1].affords("m", WINDOW, DAY)


async def test_it_looks_every_few_seconds_until_it_is_ended() -> None:
    """Its task waits, tells, and waits again until it is ended."""
    fleet, paused = Fleet(), asyncio.Event()
    waits: list[float] = []

    async def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            paused.set()
        if len(waits) >= 3:
            await asyncio.Event().wait()

    fleet.purses[0].charge("m", NEW, 1.0, DAY)
    task = start(fleet.sharings[0].run(pause), name="sharing")
    await paused.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert waits == [LOOK] * 3
    assert fleet.store.groups["copies/20000"].keys() == {"w0"}
