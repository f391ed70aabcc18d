"""What the warmer says of dollars, and what it leaves unsent because others use the target, or restore it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from policies.table import ImportCost, Route, Target
from tests.memory import MemoryStore
from warmers.prices import Prices, open_prices
from warmers.restoring import Restorer
from warmers.runner import Warmer
from warmers.uses import Uses

from .world import World, imported, route_to

MINUTE = 60.0


def priced(every: float) -> Callable[[Target], Route]:
    """A route that warms an import of two units."""
    return lambda target: route_to(replace(target, cost=ImportCost(2)), every=every)


async def twice(world: World, warmer: Warmer, seconds: float) -> str:
    """Two warm-ups so far apart; the advice of the second."""
    await warmer.round()
    world.clock.advance(seconds)
    ((one,), _) = await warmer.round()
    return f"{one.advice} | {one.usd_per_month} | {one.advised_usd_per_month}"


async def test_advice_says_what_both_intervals_cost(caplog: pytest.LogCaptureFixture) -> None:
    """In words, in the outcome and in the metrics: $1,235 a month for two units at 20 minutes, $1,764 at 14."""
    async with imported(priced(20 * MINUTE)) as (world, _):
        warmer = Warmer(world.parts, prices=open_prices)
        with caplog.at_level(logging.WARNING, "pointsman.warm"):
            said = await twice(world, warmer, 20 * MINUTE)
        assert "103 instead of 72 billing windows a day and $1,764 instead of $1,235 a month" in said
        assert "a month" in caplog.text
        assert 'pointsman_warm_usd_per_month{target="imported",interval="policy"} 1235' in world.rendered
        assert 'pointsman_warm_usd_per_month{target="imported",interval="advised"} 1764' in world.rendered


async def test_an_interval_that_holds_costs_what_it_costs() -> None:
    """Without advice both are the same, and there is nothing to say."""
    async with imported(priced(14 * MINUTE)) as (world, _):
        said = await twice(world, Warmer(world.parts, prices=open_prices), 14 * MINUTE)
        assert said.startswith("None | 1764.")
        assert 'interval="advised"} 1764' in world.rendered


async def test_prices_that_can_not_be_read_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The warmer warms all the same, and counts windows."""

    def unreadable() -> Prices:
        message = "no such file"
        raise OSError(message)

    async with imported(priced(20 * MINUTE)) as (world, _):
        with caplog.at_level(logging.WARNING, "pointsman.warm"):
            said = await twice(world, Warmer(world.parts, prices=unreadable), 20 * MINUTE)
        assert "103 instead of 72 billing windows a day, see" in said
        assert caplog.text.count("can't be told: no such file") == 1


async def test_traffic_of_another_process_suppresses_warm_ups() -> None:
    """What others use is heard through the shared state; a while later the warm-up is due from that moment on."""
    async with imported(lambda target: route_to(target)) as (world, model):
        store, target = MemoryStore(), world.route.warm[0].target
        other = World(world.route, {}, world.clock)
        uses = Uses(world.parts, store, "one")
        warmer = Warmer(world.parts, uses=uses)
        for _ in range(3):
            other.book.begin(target, 0)
            other.book.answered(target, 0, world.clock.now())
            other.book.end(target, 0, None, world.clock.now())
            await Uses(other.parts, store, "two").exchange()
            await uses.exchange()
            assert (await warmer.round())[0] == ()
            world.clock.advance(10 * MINUTE)
        assert model.ledger.report()["calls"] == 0
        world.clock.advance(4 * MINUTE)
        ((one,), _) = await warmer.round()
        assert one.gap == pytest.approx(14 * MINUTE, abs=1)


async def test_use_elsewhere_says_nothing_of_further_copies() -> None:
    """A request that another process sent has reached one of three."""
    copies = {"min": 3, "max": 3, "concurrency": 1}
    async with imported(lambda target: route_to(target, copies=3), copies=copies) as (world, _):
        target = world.route.warm[0].target
        other, store = World(world.route, {}, world.clock), MemoryStore()
        other.book.begin(target, 0)
        other.book.answered(target, 0, world.clock.now())
        await Uses(other.parts, store, "two").exchange()
        uses = Uses(world.parts, store, "one")
        await uses.exchange()
        assert uses.last(target) is not None
        assert len((await Warmer(world.parts, uses=uses).round())[0]) == 1


async def test_no_warm_up_is_sent_beside_a_restore_probe() -> None:
    """The probe uses the target as a warm-up would; the warm-up is due an interval after it."""
    async with imported(lambda target: route_to(target), cold={"starts": "cold", "restore": "90s"}) as (world, model):
        target = world.route.warm[0].target
        world.parts.temperatures.met_cold(target, world.clock.now())
        restorer = Restorer(world.parts)
        restorer.restore(world.route, target)
        while not world.parts.temperatures.asked(target):  # noqa: ASYNC110 - virtual time: nothing rings
            await asyncio.sleep(0)
        assert (await Warmer(world.parts).round())[0] == ()
        while restorer.out:  # noqa: ASYNC110 - virtual time: nothing rings
            await asyncio.sleep(0.001)
        assert model.ledger.report()["calls"] == 1
        assert (await Warmer(world.parts).round())[0] == ()


async def test_how_many_copies_answered_is_known() -> None:
    """At least one, at most as many as were asked: no service says which copy answers."""
    copies = {"min": 3, "max": 3, "concurrency": 8}
    async with imported(lambda target: route_to(target, copies=3), copies=copies) as (world, _):
        await Warmer(world.parts).round()
        (seen,) = world.parts.temperatures.seen(world.clock.now())
        assert seen.copies == (1, 3)
