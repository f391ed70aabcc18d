"""What a fleet knows of when its targets were used."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace

import pytest

from backends.book import named_place
from backends.emulator.clock import Clock
from policies.table import EndpointSpec, Target
from policies.temperature import Warmth
from tests.memory import MemoryStore, broken_once
from warmers.ping import Parts
from warmers.uses import EVERY, FORGOTTEN, GROUP, Uses

from .world import World, frozen, route_to

TARGET = Target("dedicated", "endpoint", EndpointSpec("dedicated"), speaks="openai-chat", restore=(60.0, 300.0))


MOVED = replace(TARGET, spec=EndpointSpec("another"))
"""What a newer policy calls by the same name."""


def member(store: MemoryStore, name: str, clock: Clock, target: Target = TARGET) -> tuple[World, Parts, Uses]:
    world = World(route_to(target), {}, clock)
    world.parts.temperatures.keep((target,))
    return world, world.parts, Uses(world.parts, store, name)


def used(world: World) -> None:
    world.book.begin(TARGET, 0)
    world.book.answered(TARGET, 0, world.clock.now())
    world.book.end(TARGET, 0, None, world.clock.now())


async def test_traffic_of_one_is_known_to_all() -> None:
    """Each hears of the others' last use, on its own clock, and of none of its own."""
    store, clock = MemoryStore(), frozen()
    (one, _, first), (_, parts, second) = member(store, "one", clock), member(store, "two", clock)
    used(one)
    clock.advance(10)
    await first.exchange()
    await second.exchange()
    assert second.last(TARGET) == pytest.approx(clock.now() - 10, abs=0.1)
    assert first.last(TARGET) is None
    assert parts.temperatures.warmth(TARGET, clock.now()) is Warmth.READY


async def test_use_of_another_place_by_that_name_is_none() -> None:
    """Members read a new policy at different times, and what a dead one told stays for a day: a target that was moved
    is neither taken for warm, nor for restored, because the place that it had answers."""
    store, clock = MemoryStore(), frozen()
    (old, _, first), (_, parts, second) = member(store, "one", clock), member(store, "two", clock, MOVED)
    used(old)
    await first.exchange()
    await second.exchange()
    assert second.last(MOVED) is None
    assert parts.temperatures.warmth(MOVED, clock.now()) is Warmth.UNKNOWN
    parts.temperatures.met_cold(MOVED, clock.now())
    clock.advance(10)
    used(old)
    await first.exchange()
    await second.exchange()
    assert parts.temperatures.warmth(MOVED, clock.now()) is Warmth.COLD


async def test_what_was_heard_of_a_place_is_not_of_where_its_target_is_now() -> None:
    """Between a reload and the next exchange as well."""
    store, clock = MemoryStore(), frozen()
    (one, _, first), (_, _, second) = member(store, "one", clock), member(store, "two", clock)
    used(one)
    await first.exchange()
    await second.exchange()
    assert second.last(TARGET) == pytest.approx(clock.now(), abs=0.1)
    assert second.last(MOVED) is None


async def test_the_latest_of_several_counts() -> None:
    """Whoever told it; one that is still cold for a third is ready by the word of the others."""
    store, clock = MemoryStore(), frozen()
    members = [member(store, name, clock) for name in ("one", "two", "three")]
    _, parts, third = members[2]
    parts.temperatures.met_cold(TARGET, clock.now())
    for world, _, uses in members[:2]:
        clock.advance(20)
        used(world)
        await uses.exchange()
    clock.advance(1)
    await third.exchange()
    assert third.last(TARGET) == pytest.approx(clock.now() - 1, abs=0.1)
    assert parts.temperatures.warmth(TARGET, clock.now()) is Warmth.READY


async def test_only_what_is_new_is_written() -> None:
    """A quiet process reads and writes nothing."""
    store, clock = MemoryStore(), frozen()
    world, _, uses = member(store, "one", clock)
    await uses.exchange()
    assert store.groups == {}
    used(world)
    await uses.exchange()
    before = store.asked
    clock.advance(EVERY)
    await uses.exchange()
    assert store.asked == before + 1


async def test_a_clock_that_is_ahead_does_not_make_the_future() -> None:
    """What another machine says to have used in a minute was used now at the latest."""
    store, clock = MemoryStore(), frozen()
    _, _, uses = member(store, "one", clock)
    text = json.dumps({"at": clock.now() + 60, "used": {named_place(TARGET): clock.now() + 60, "unknown": 1.0}})
    await store.put(GROUP, "two", text.encode())
    await uses.exchange()
    assert uses.last(TARGET) == clock.now()
    assert uses.last(MOVED) is None


@pytest.mark.parametrize("text", [b"", b"[]", b'{"at": 1}', b'{"at": "x", "used": {}}', b'{"at": 1, "used": [1]}'])
async def test_items_of_another_form_tell_nothing_and_go(text: bytes) -> None:
    """So do those of a process that has long been gone."""
    store, clock = MemoryStore(), frozen()
    _, _, uses = member(store, "one", clock)
    await store.put(GROUP, "odd", text)
    gone = json.dumps({"at": clock.now() - FORGOTTEN - 1, "used": {"dedicated": clock.now() - FORGOTTEN - 1}})
    await store.put(GROUP, "gone", gone.encode())
    await uses.exchange()
    assert store.groups[GROUP] == {}


async def test_a_store_out_of_reach_changes_nothing_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """What was heard before holds."""
    cut = False
    store, clock = MemoryStore(lambda: cut), frozen()
    (one, _, first), (_, _, second) = member(store, "one", clock), member(store, "two", clock)
    used(one)
    await first.exchange()
    await second.exchange()
    cut = True
    with caplog.at_level(logging.WARNING, "pointsman.warm"):
        for _ in range(3):
            await second.exchange()
    assert len(caplog.records) == 1
    assert second.last(TARGET) is not None


async def test_it_goes_on_until_it_is_cancelled() -> None:
    """An exchange each half minute."""

    class EnoughError(Exception):
        """The test has seen enough."""

    store, clock = MemoryStore(), frozen()
    world, parts, _ = member(store, "one", clock)
    waits: list[float] = []

    async def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise EnoughError

    used(world)
    with pytest.raises(EnoughError):
        await Uses(replace(parts, pause=pause), store, "one").run()
    assert waits == [EVERY] * 3


async def test_an_exchange_that_breaks_is_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the shared state gives, even what no store may: it is said, and the next exchange tells of the use."""
    clock, waits = frozen(), list[float]()

    async def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise asyncio.CancelledError

    store = MemoryStore(broken_once())
    world, parts, _ = member(store, "one", clock)
    used(world)
    with pytest.raises(asyncio.CancelledError):
        await Uses(replace(parts, pause=pause), store, "one").run()
    assert "no answer of a store" in caplog.text
    assert set(store.groups[GROUP]) == {"one"}


async def test_what_was_used_is_told_again_to_a_state_that_was_emptied() -> None:
    """At the second exchange after that, though nothing was used since."""
    store, clock = MemoryStore(), frozen()
    (one, _, first), (_, _, second) = member(store, "one", clock), member(store, "two", clock)
    used(one)
    await first.exchange()
    store.groups.clear()
    await first.exchange()
    await first.exchange()
    await second.exchange()
    assert second.last(TARGET) == pytest.approx(clock.now(), abs=0.1)
