"""Targets with several addresses: cold when each of them is."""

from __future__ import annotations

import asyncio

import pytest

from backends.base import Call, Reply
from backends.errors import BackendError
from policies.table import Target
from policies.temperature import Warmth
from proxy.pipeline import serve
from proxy.record import Record

from .parts import Held, invocation
from .test_cold import COLD, World, world


class Hosts(Held):
    """Two addresses, of which those in `out` refuse for being cold, and come back when they are told to."""

    def __init__(self, *out: int) -> None:
        super().__init__(Reply(body=b"{}"))
        self.out = set(out)
        self.asked: list[int] = []

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        self.asked.append(replica)
        if call.invocation.request_id != "request-0":  # a probe, which comes back with the host
            await self.go.wait()
            self.out.discard(replica)
        if replica in self.out:
            raise BackendError(COLD, target, "scripted")
        return self.answer


async def served(made: World) -> str:
    """One request of the route with two addresses, to its end; its word on cold."""
    asked, trace = invocation("replicated"), made.services.telemetry.start(invocation("replicated"), 0)
    made.record = Record("request-0", made.now, 0.0)
    async with serve(asked, made.record, trace, made.services):
        return made.record.cold or "none"


@pytest.mark.parametrize("out", [0, 1])
async def test_one_cold_address_of_two_is_no_state_of_the_target(out: int) -> None:
    """The request goes on to the other; nobody waits and no probe is sent."""
    backend = Hosts(out)
    async with world(backend) as made:
        for _ in range(6):
            assert await served(made) == "none"
        assert made.temperatures.warmth(made.target("several"), made.now) is Warmth.READY
        assert made.restorer.out == ()
        assert 1 - out in backend.asked


async def test_target_with_all_addresses_cold_is_cold_and_all_are_restored() -> None:
    """The request is held, each address gets a probe of its own, and the first that is back lets it go."""
    backend = Hosts(0, 1)
    async with world(backend) as made:
        request = asyncio.ensure_future(served(made))
        while len(backend.asked) < 4:  # noqa: ASYNC110 - nothing rings; a hang ends by the test's own limit
            await asyncio.sleep(0)
        assert made.temperatures.warmth(made.target("several"), made.now) is Warmth.WARMING
        assert sorted(backend.asked) == [0, 0, 1, 1]
        backend.go.set()
        assert await request == "hold"
        assert made.temperatures.warmth(made.target("several"), made.now) is Warmth.READY
