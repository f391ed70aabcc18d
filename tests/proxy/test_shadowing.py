"""Copies are made where migrations can be, and what they show is handed to the fleet."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

from backends.gates import Gates
from backends.tasks import start
from policies.table import EndpointSpec, Target
from proxy.shadowing import shadows_of
from tests.memory import MemoryStore
from tests.warmers.shadow.scene import OLD, Scripted, answer, call, route, table_of
from tests.warmers.world import World, frozen, route_to
from warmers.migrations.follower import Follower
from warmers.migrations.ledger import Ledger


def world() -> World:
    return World(route_to(Target("a", "endpoint", EndpointSpec("a"))), {}, frozen())


async def test_without_shared_state_nothing_is_copied() -> None:
    """Nothing can migrate then."""
    around = world()
    async with AsyncExitStack() as parts:
        assert shadows_of(None, None, around.parts, Gates(), around.meters, parts) is None


async def test_the_fleet_hears_what_copies_show() -> None:
    """With shared state there are copies; at the follower's next look their evidence is in the ledger."""
    around, table, backend, store = world(), table_of(route()), Scripted(), MemoryStore()
    backends = {"vllm": backend, "bedrock": backend}
    pings = replace(around.parts, table=lambda: (table, "d/1"), backends=backends, pause=asyncio.sleep)
    follower = Follower(Ledger(store), "w", around.clock.now, lambda: None)
    async with AsyncExitStack() as parts:
        shadows = shadows_of(store, follower, pings, Gates(), around.meters, parts)
        assert shadows is not None
        taken, _ = shadows.answered(table.routes["chat", None], call(), OLD, answer(), 0.1)
        assert taken is not None
        taken.done()
        running = start(shadows.run(), name="shadow")
        for _ in range(50):  # turns of the loop: nothing here waits for anything outside it
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await follower.look(table)
    evidence = (await Ledger(store).evidence("chat", "w1"))["chat"]
    assert evidence.agreement is not None
    assert (evidence.agreement.requests, evidence.new.requests) == (1, 1)
    assert 'pointsman_shadow_requests_total{model="chat",result="compared"} 1' in around.rendered
