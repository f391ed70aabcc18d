"""Two hundred rollbacks through the pipeline itself, each with the old target scaled in: no call fails.

Two proxies, two controllers and one shared state in one process, on a clock that jumps. What is real: the pipeline with
its plans, book and limits, the routes as followers dress them, the state machine, gates, leases, ledger and commands.
What is not: the targets. The old one has been scaled in to what it carries, or little more, and fails every call
beyond its capacity; from the rollback on it is scaled out, an instance at a time. Meanwhile controllers are killed and
proxies hear of shares late.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from backends.base import Call, Invocation, Reply
from backends.errors import BackendError
from policies.choose import first_plan
from policies.evidence import Evidence, Side
from policies.facts import FailureFacts, Fault
from policies.migrating import Migration, Shift
from policies.migration_state import Command, Phase, State, Verb
from policies.overlay import laid
from policies.table import RouteTable, Target
from proxy.pipeline import serve
from proxy.policy_source import Policy
from proxy.record import Record
from proxy.services import Services
from tests.memory import MemoryStore
from tests.proxy.parts import Scripted, TextSource, services
from warmers.lease import Duty
from warmers.migrations.controller import DUTY, Controller
from warmers.migrations.follower import Follower
from warmers.migrations.ledger import Ledger
from warmers.migrations.orders import order

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  gpu: {kind: vllm, url: "http://127.0.0.1:1", model: m}
  packed: {kind: vllm, url: "http://127.0.0.1:2", model: m}
endpoints:
  x:
    serve_from: gpu
    sticky_by: session
    migrate:
      to: packed
      steps: [{share: 10%, hold: 1h}, {share: 25%, hold: 1h}, {share: 50%, hold: 1h}, {share: 100%}]
      gates: {errors: at most +1 points}
      on_breach: {errors: start}
"""
CALLERS = 20
"""So many calls at each tick; of them a share goes to the new target as exactly as it can."""
TICK = 5.0
FULL = 20
"""Instances of the old target when it carries everything."""


@dataclass
class Hosting(Scripted):
    """Both targets. The old one takes as many calls at a tick as it has instances, and one more."""

    instances: int = FULL
    taken: int = 0

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        if target.name == "gpu":
            self.taken += 1
            if self.taken > self.instances + 1:
                raise BackendError(FailureFacts(Fault.PLATFORM, retry_safe=False), target, "overrun")
        return Reply(body=b"ok")


class Proxy:
    """One serving process: its pipeline, and a follower that hears of shares now and then."""

    def __init__(self, parts: Services, policy: Policy, follower: Follower) -> None:
        self._parts = replace(parts, policy=policy)
        self.policy = policy
        self.follower = follower

    @classmethod
    async def made(cls, name: str, hosting: Hosting, ledger: Ledger, world: World) -> Proxy:
        parts = await services(hosting, text=POLICY)
        follower = Follower(ledger, name, world, lambda: policy.redress())
        policy = Policy(TextSource(POLICY), {}, frozenset(), lambda _: None, lambda _: None, dress=follower.dress)
        await policy.load()
        return cls(parts, policy, follower)

    async def call(self, caller: str) -> None:
        """One call of a client. Raises when it fails."""
        invocation = Invocation("x", None, False, b"{}", "request", session_id=caller)
        trace = self._parts.telemetry.start(invocation, 0)
        async with serve(invocation, Record("request", self._parts.now(), 0.0), trace, self._parts):
            pass

    async def hear(self) -> None:
        await self.follower.look(self.policy.current.table)

    def close(self) -> None:
        self._parts.log.close()


class World:
    """The clock, the chance, and everything that runs by them."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.chance = random.Random(2026)
        self.hosting = Hosting()
        self.store = MemoryStore()
        self.ledger = Ledger(self.store)
        self.measured: tuple[float, float] = (0.0, 1.0)
        self.controllers = [
            Controller(self.ledger, Duty(self.store, name, self, name=DUTY), self.rooms, self, lambda _: None)
            for name in ("a", "b")
        ]
        self.dead = {0: 0.0, 1: 0.0}

    def __call__(self) -> float:
        return self.now

    async def rooms(self, plan: Migration, state: State, table: RouteTable) -> Mapping[str, float]:
        """Measured every fifteen seconds."""
        if self.now - self.measured[0] >= 15:
            self.measured = (self.now, self.hosting.instances / FULL)
        return {"x": self.measured[1]}

    async def tick(self, proxies: list[Proxy], callers: list[str], *, faults: bool = True) -> None:
        """Five seconds: controllers look unless they are dead, proxies hear or will the next time, clients call."""
        self.now += TICK
        for number, controller in enumerate(self.controllers):
            if faults and self.chance.random() < 0.05:
                self.dead[number] = self.now + self.chance.uniform(5, 40)
            if self.now >= self.dead[number]:
                await controller.round(proxies[0].policy.current.table)
        for proxy in proxies:
            if not faults or self.chance.random() < 0.6:
                await proxy.hear()
        self.hosting.taken = 0
        await asyncio.gather(*(proxies[n % len(proxies)].call(caller) for n, caller in enumerate(callers)))


def spread(table: RouteTable) -> list[str]:
    """Callers of which any share is on the new side as exactly as so few allow."""

    def crossing(caller: str) -> float:
        low, high = 0.0, 1.0
        for _ in range(10):
            middle = (low + high) / 2
            route = laid(table, {"x": Shift("x", "", "gpu", "packed", middle)}).routes["x", None]
            there = first_plan(route, {}, caller, float).attempts[0].target.name == "packed"
            low, high = (low, middle) if there else (middle, high)
        return high

    known = sorted((crossing(caller), caller) for caller in (f"caller-{number}" for number in range(300)))
    return [min(known, key=lambda one: abs(one[0] - (at + 0.5) / CALLERS))[1] for at in range(CALLERS)]


async def one_rollback(world: World, proxies: list[Proxy], callers: list[str], number: int) -> float:
    """From a random step, by a person's word or by a breach. The seconds that it took."""
    chance, hosting = world.chance, world.hosting
    plan = proxies[0].policy.current.table.migrations["x"]
    kept = (await world.ledger.states()).get("x")
    at = chance.randrange(len(plan.steps))
    share = plan.steps[at].share
    state = replace(
        State.planned(plan, run=number), phase=Phase.DONE if share == 1.0 else Phase.RUNNING, step=at, share=share,
        since=world.now, window=at + 1, version=kept.state.version + 1 if kept else 1,
    )  # fmt: skip
    assert await world.ledger.write(kept, state, ())
    for proxy in proxies:
        await proxy.hear()
    hosting.instances = min(FULL, max(1, round(FULL * (1 - share))) + chance.randrange(2))
    world.now += 120
    for _ in range(4):
        await world.tick(proxies, callers, faults=False)
    if state.phase is Phase.RUNNING and chance.random() < 0.5:
        bad = Evidence(Side(20_000, 20), Side(2_000, 1_000), at=world.now)
        await world.ledger.saw("x", state.window_id, "w", {"x": bad})
    else:
        command = Command(f"c{number}", Verb.ROLLBACK, "bad", "ann", world.now)
        await order(world.ledger, plan, command, world.now)
    began = world.now
    pace = chance.randrange(2, 7)
    for ticks in itertools.count(1):
        await world.tick(proxies, callers)
        hosting.instances = min(FULL, hosting.instances + (chance.randrange(pace + 1)))
        home = all(proxy.policy.current.table.routes["x", None].shift is None for proxy in proxies)
        if home or ticks > 400:
            break
    assert (await world.ledger.states())["x"].state.phase is Phase.ROLLED_BACK
    return world.now - began


async def test_two_hundred_rollbacks_without_a_failed_call() -> None:
    """A call that fails ends the test where it happens; every rollback arrives."""
    world = World()
    proxies = [await Proxy.made(name, world.hosting, world.ledger, world) for name in ("one", "two")]
    callers = spread(proxies[0].policy.current.table)
    try:
        took = [await one_rollback(world, proxies, callers, number) for number in range(1, 201)]
    finally:
        for proxy in proxies:
            proxy.close()
    assert len(took) == 200
    assert max(took) < 3600
