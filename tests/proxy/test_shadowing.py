"""Copies are made where migrations can be, and what they show is handed to the fleet."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import cast

import pytest

from backends.base import Invocation
from backends.errors import BackendError
from backends.gates import Gates
from backends.tasks import start
from policies.facts import FailureFacts, Fault
from policies.table import EndpointSpec, Target
from proxy.pipeline import serve
from proxy.policy_source import InForce, Policy
from proxy.record import Record
from proxy.services import Services
from proxy.shadowing import shadows_of
from tests.memory import MemoryStore
from tests.warmers.shadow.scene import (
    OLD,
    REFUSED,
    Pieces,
    Scene,
    Scripted,
    answer,
    call,
    route,
    stream,
    table_of,
)
from tests.warmers.world import World, frozen, route_to
from warmers.migrations.follower import Follower
from warmers.migrations.ledger import Ledger

from . import parts
from .parts import Answer, services


def world() -> World:
    return World(route_to(Target("a", "endpoint", EndpointSpec("a"))), {}, frozen())


async def test_the_fleet_hears_what_copies_show() -> None:
    """With shared state there are copies; at the follower's next look their evidence is in the ledger."""
    around, table, backend, store = world(), table_of(route()), Scripted(), MemoryStore()
    backends = {"vllm": backend, "bedrock": backend}
    pings = replace(around.parts, table=lambda: (table, "d/1"), backends=backends, pause=asyncio.sleep)
    follower = Follower(Ledger(store), "w", around.clock.now, lambda: None)
    async with AsyncExitStack() as stack:
        shadows = shadows_of(store, follower, pings, Gates(), around.meters, stack)
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


class Beside:
    """A proxy whose route `chat` is in a shadow step, over a scripted backend."""

    def __init__(self, services: Services, scene: Scene) -> None:
        self.services = services
        self.scene = scene

    async def ask(self, *, streaming: bool = False, leave: bool = False) -> bytes:
        """What a client gets; `leave`: it goes after the first piece."""
        body = b'{"messages": []}'
        invocation = Invocation("chat", None, streaming=streaming, body=body, request_id="r-1")
        record = Record("r-1", self.services.now(), 0.0)
        trace = self.services.telemetry.start(invocation, 0)
        got = b""
        async with serve(invocation, record, trace, self.services) as (reply, _):
            if reply.stream is None:
                return reply.body
            async for piece in reply.stream:
                got += piece
                if leave:
                    break
        return got


@dataclass(frozen=True, slots=True)
class Fixed:
    """A policy that stays as it is."""

    current: InForce


async def beside(*answers: Answer) -> Beside:
    """The scene's policy in force; `answers` are what clients get, one after the other."""
    scene = Scene()
    made = await services(parts.Scripted(list(answers)))
    policy = cast(Policy, Fixed(InForce(scene.table, 1)))
    return Beside(replace(made, policy=policy, shadows=scene.shadows), scene)


async def test_the_pipeline_offers_what_the_old_target_answered() -> None:
    """Whole and streamed answers pass unchanged; each is one sampled request that waits to be copied."""
    whole, pieces = answer(), stream(b"a", b"b")
    proxy = await beside(whole, pieces)
    assert await proxy.ask() == whole.body
    assert await proxy.ask(streaming=True) == b"ab"
    assert proxy.scene.backend.calls == []
    task = start(proxy.scene.shadows.run(), name="shadow")
    await proxy.scene.counts.until(2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert proxy.scene.counts.results == {"compared": 2}


async def test_a_client_that_leaves_is_not_copied() -> None:
    """Half an answer is no evidence; the upstream is closed as for any other request."""
    pieces = stream(b"a", b"b")
    proxy = await beside(pieces)
    assert await proxy.ask(streaming=True, leave=True) == b"a"
    assert proxy.scene.counts.results == {"client_gone": 1}
    assert isinstance(pieces.stream, Pieces)
    assert pieces.stream.closed == 1


async def test_what_the_model_refuses_is_offered_and_still_refused() -> None:
    """The client gets the failure; that of the moment is counted and left."""
    proxy = await beside(REFUSED, FailureFacts(Fault.NETWORK, retry_safe=None))
    for _ in range(2):
        with pytest.raises(BackendError):
            await proxy.ask()
    assert proxy.scene.counts.results == {"failure": 1}
