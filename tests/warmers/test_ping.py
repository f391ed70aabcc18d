"""One warm-up: warm, cold until it is back, cold for too long, slow, failed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from backends.base import Call, Reply
from backends.errors import BackendError, Said
from policies.facts import FailureFacts, Fault
from policies.table import EndpointSpec, Target
from policies.temperature import LONGEST_PACE
from warmers.ping import RESTORE, SLOW, Answer, ask, patience

from .world import World, frozen, imported, route_to

COLD = FailureFacts(Fault.PLATFORM, retry_safe=True, cold=True)
TARGET = Target("dedicated", "endpoint", EndpointSpec("dedicated"), speaks="openai-chat", restore=(60.0, 300.0))


class Scripted:
    """Answers from a list, each after so many virtual seconds."""

    def __init__(self, *answers: tuple[float, FailureFacts | None]) -> None:
        self.answers = list(answers)
        self.world: World | None = None
        self.left: list[float] = []

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        self.left.append(deadline - asyncio.get_running_loop().time())
        seconds, facts = self.answers.pop(0)
        assert self.world is not None
        self.world.clock.advance(seconds)
        if facts is not None:
            raise BackendError(facts, target, "scripted", Said(429, "not ready", "ModelNotReadyException"))
        return Reply(body=b"{}")


async def asked(*answers: tuple[float, FailureFacts | None], target: Target = TARGET) -> tuple[Answer, World, Scripted]:
    backend = Scripted(*answers)
    world = backend.world = World(route_to(target), {"endpoint": backend}, frozen())
    return await ask(world.parts, world.route, target, 0, "why"), world, backend


async def test_warm() -> None:
    """One attempt, answered at once."""
    answer, world, _ = await asked((0.5, None))
    assert answer == Answer(cold=False, seconds=0.5)
    assert world.book.last_used(TARGET) == world.clock.now()


async def test_cold_target_is_asked_until_it_is_back() -> None:
    """Only a successful inference counts; every attempt stands in the one log line."""
    answer, world, _ = await asked((0.0, COLD), (0.0, replace(COLD, retry_after=30.0)), (1.0, None))
    assert answer == Answer(cold=True, seconds=LONGEST_PACE + 30.0 + 1.0)
    (outcome,) = world.told
    assert [attempt.cold for attempt in outcome.attempts] == [True, True, False]
    assert (outcome.status, outcome.ended) == (200, "done")
    assert [number for _, number, _ in world.trace.attempts] == [1, 2, 3]


async def test_cold_target_is_given_up_when_the_longest_restore_is_over() -> None:
    """It is asked a pace after the longest restore for the last time; that fails, and nothing is left in flight."""
    answer, world, backend = await asked(*[(0.0, replace(COLD, retry_after=100.0))] * 6)
    assert (answer.cold, answer.failure, answer.seconds) == (True, "scripted", 300.0 + LONGEST_PACE)
    assert len(backend.answers) == 1
    assert backend.left == pytest.approx([305.0, 205.0, 105.0, 5.0, 1.0], abs=1.0)
    (outcome,) = world.told
    assert (outcome.status, outcome.error_type, outcome.ended) == (429, "ModelNotReadyException", "failed")
    (view,) = world.book.views([TARGET])["dedicated"]
    assert (view.in_flight, view.cold) == (0, True)
    assert world.book.last_used(TARGET) is None


async def test_target_that_is_back_after_exactly_its_longest_restore_is_met_ready() -> None:
    """`restore: 60s..60s` names one moment: the last attempt comes after it, not before."""
    target = replace(TARGET, restore=(60.0, 60.0))
    answer, _, backend = await asked(*[(0.0, COLD)] * 13, (0.5, None), target=target)
    assert answer == Answer(cold=True, seconds=65.5)
    assert backend.answers == []


@pytest.mark.parametrize(
    ("restore", "seconds", "cold"),
    [((60.0, 300.0), 59.9, False), ((60.0, 300.0), 60.0, True), (None, SLOW - 0.1, False), (None, SLOW, True)],
)
async def test_answer_that_is_slow_met_it_cold(restore: tuple[float, float] | None, seconds: float, cold: bool) -> None:
    """A service may hold a cold call instead of refusing it; a restore's shortest time tells the two apart."""
    answer, _, _ = await asked((seconds, None), target=replace(TARGET, restore=restore))
    assert answer.cold is cold


async def test_other_failure_is_not_repeated() -> None:
    """What is no matter of being cold is the next warm-up's."""
    answer, world, backend = await asked((0.1, FailureFacts(Fault.NETWORK, retry_safe=True)), (0.0, None))
    assert (answer.cold, answer.failure) == (False, "scripted")
    assert len(backend.answers) == 1
    assert world.told[0].status == 429


async def test_cancelled_warm_up_leaves_nothing_in_flight() -> None:
    """The process may end while a cold target is waited for."""

    class Hanging:
        entered = asyncio.Event()

        async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
            self.entered.set()
            await asyncio.Event().wait()
            raise AssertionError

    backend = Hanging()
    world = World(route_to(TARGET), {"endpoint": backend}, frozen())
    task = asyncio.ensure_future(ask(world.parts, world.route, TARGET, 0, "why"))
    await backend.entered.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert world.book.views([TARGET])["dedicated"][0].in_flight == 0
    assert world.book.last_used(TARGET) is None


def test_patience_is_the_longest_restore_and_a_pace() -> None:
    """As the policy declares it, else what Bedrock's guide says."""
    told = patience(TARGET), patience(replace(TARGET, restore=(6.0, 12.0))), patience(replace(TARGET, restore=None))
    assert told == (300.0 + LONGEST_PACE, 12.5, RESTORE + LONGEST_PACE)


async def test_real_cold_start_on_the_stand_in() -> None:
    """A cold import refuses, restores while it is asked, and answers with one token."""
    async with imported(route_to, cold={"starts": "cold", "restore": 60}) as (world, model):
        answer = await ask(world.parts, world.route, world.route.warm[0].target, 0, "why")
        assert (answer.cold, answer.failure) == (True, None)
        assert 60.0 <= answer.seconds <= 65.0
        assert model.ledger.report()["completion_tokens"] == 1
