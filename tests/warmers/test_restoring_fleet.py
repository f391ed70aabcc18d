"""Restore probes of a fleet: one process sends, the others hear of it; who dies is followed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from backends.emulator.clock import Clock
from backends.state import Item, Lease
from policies.temperature import Warmth, pace
from tests.memory import MemoryStore
from warmers.ping import Parts
from warmers.restoring import PERIOD, Fleet, Restorer
from warmers.uses import Uses

from .test_restoring import COLD, TARGET, Gated
from .world import World, frozen, route_to


async def until(condition: Callable[[], bool]) -> None:
    """In virtual time, where nothing rings."""
    while not condition():  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.001)


class Member:
    """One process of the fleet, with the target found cold."""

    def __init__(self, name: str, store: MemoryStore, clock: Clock) -> None:
        self.backend = Gated()
        self.world = World(route_to(TARGET), {"endpoint": self.backend}, clock)
        self.parts: Parts = replace(self.world.parts, pause=self._pause)
        self.parts.temperatures.met_cold(TARGET, clock.now())
        self.restorer = Restorer(self.parts, Fleet(store, name, Uses(self.parts, store, name)))
        self._clock = clock

    async def _pause(self, seconds: float) -> None:
        self._clock.advance(seconds)
        await asyncio.sleep(0.001)

    @property
    def warmth(self) -> Warmth:
        return self.parts.temperatures.warmth(TARGET, self._clock.now())

    def restore(self) -> None:
        assert self.restorer.restore(self.world.route, TARGET) is True

    async def asked(self) -> None:
        await until(lambda: bool(self.backend.asked))

    async def settled(self) -> None:
        await until(lambda: not self.restorer.out)


async def test_one_process_sends_and_the_others_hear_of_it() -> None:
    """The target is asked by one; when it is back all know, without a request of their own."""
    store, clock = MemoryStore(), frozen()
    one, two = Member("one", store, clock), Member("two", store, clock)
    one.restore()
    await one.asked()
    two.restore()
    one.backend.answers.put_nowait(COLD)
    await until(lambda: two.warmth is Warmth.WARMING)
    one.backend.answers.put_nowait(None)
    await one.settled()
    await two.settled()
    assert (one.warmth, two.warmth) == (Warmth.READY, Warmth.READY)
    assert (len(one.backend.asked), len(two.backend.asked)) == (2, 0)
    assert 'result="ready"} 1' in one.world.rendered
    assert "pointsman_restores_total{" not in two.world.rendered
    assert store.leases["restore/dedicated"].expires == 0.0


async def test_who_is_killed_is_followed() -> None:
    """The lease of a process that renews it no more runs out, and another one's probe goes out."""
    store, clock = MemoryStore(), frozen()
    store.leases["restore/dedicated"] = Lease("restore/dedicated", "dead", 1, clock.now() + PERIOD)
    two = Member("two", store, clock)
    began = clock.now()
    two.restore()
    await two.asked()
    assert PERIOD <= clock.now() - began <= 2 * PERIOD
    two.backend.answers.put_nowait(None)
    await two.settled()
    assert two.warmth is Warmth.READY


async def test_the_lease_is_kept_for_as_long_as_it_takes() -> None:
    """A restore of minutes outlives many periods."""
    store, clock = MemoryStore(), frozen()
    one = Member("one", store, clock)
    began = clock.now()
    one.restore()
    await one.asked()
    await until(lambda: clock.now() >= began + 10 * PERIOD)
    assert store.leases["restore/dedicated"].expires > clock.now()
    await one.restorer.stop()
    assert store.leases["restore/dedicated"].expires == 0.0


class Slow(MemoryStore):
    """One that says what others use when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_for, self.says = asyncio.Event(), asyncio.Event()

    async def items(self, group: str) -> Mapping[str, Item]:
        self.asked_for.set()
        await self.says.wait()
        return await super().items(group)


async def test_who_finds_it_cold_again_while_the_others_are_told_that_it_was_back_has_a_probe() -> None:
    """Whoever waits for it would wait until somebody else came: of the last probe only the telling is not over."""
    store, clock = Slow(), frozen()
    one = Member("one", store, clock)
    one.restore()
    await one.asked()
    one.backend.answers.put_nowait(None)
    await store.asked_for.wait()
    one.parts.temperatures.met_cold(TARGET, clock.now())
    one.restore()
    store.says.set()
    back = clock.now()
    await until(lambda: len(one.backend.asked) == 2)
    assert clock.now() - back >= pace(
        TARGET.restore
    )  # no quicker than a cold one: it may answer probes and refuse others
    one.backend.answers.put_nowait(None)
    await one.settled()
    assert one.warmth is Warmth.READY


async def test_without_the_store_each_sends_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """Two probes are better than none."""
    store, clock = MemoryStore(lambda: True), frozen()
    members = [Member("one", store, clock), Member("two", store, clock)]
    with caplog.at_level(logging.WARNING, "pointsman.warm"):
        for member in members:
            member.backend.answers.put_nowait(None)
            member.restore()
            await member.settled()
    assert [len(member.backend.asked) for member in members] == [1, 1]
    assert "can't be agreed on" in caplog.text
    assert "left to run out" in caplog.text
    assert [member.warmth for member in members] == [Warmth.READY] * 2


async def test_a_lease_that_was_lost_is_not_given_back() -> None:
    """A process that slept through its period leaves its successor's alone."""
    store, clock = MemoryStore(), frozen()
    one = Member("one", store, clock)
    one.restore()
    await one.asked()
    theirs = Lease("restore/dedicated", "two", 9, clock.now() + 10 * PERIOD)
    store.leases["restore/dedicated"] = theirs
    one.backend.answers.put_nowait(None)
    await one.settled()
    assert store.leases["restore/dedicated"] == theirs
