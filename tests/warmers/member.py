"""One process of a fleet, for tests: warms a scripted target by real clocks and prints a line for each warm-up.

python -m tests.warmers.member NAME STATE PERIOD EVERY
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace

from backends.base import Call, Reply
from backends.state import open_store
from policies.table import EndpointSpec, Target
from warmers.lease import Duty
from warmers.runner import Warmer

from .world import World, frozen, route_to


class Ready:
    """A target that answers at once."""

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        return Reply(body=b"{}")


async def warm(name: str, state: str, period: float, every: float) -> None:
    target = Target("dedicated", "endpoint", EndpointSpec("dedicated"), speaks="openai-chat")
    world = World(route_to(target, every=every), {"endpoint": Ready()}, frozen())
    store = open_store(state)
    parts = replace(
        world.parts,
        now=time.monotonic,
        wall=time.time,
        pause=asyncio.sleep,
        tell=lambda outcome: print(name, flush=True),
    )
    await Warmer(parts, store, Duty(store, name, time.time, period)).run()


if __name__ == "__main__":
    asyncio.run(warm(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
