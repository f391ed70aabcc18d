"""Restore probes: one a target, until it is back, in the name of the route, beside no warm-up."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from backends.base import Call, Reply
from backends.errors import BackendError
from policies.facts import FailureFacts, Fault
from policies.table import EndpointSpec, Target
from policies.temperature import Warmth
from warmers.ping import ask
from warmers.restoring import Restorer

from .world import World, frozen, imported, route_to

COLD = FailureFacts(Fault.PLATFORM, retry_safe=True, cold=True)
BROKEN = FailureFacts(Fault.NETWORK, retry_safe=True)
TARGET = Target("dedicated", "endpoint", EndpointSpec("dedicated"), speaks="openai-chat", restore=(60.0, 300.0))


class Gated:
    """Answers with what it is told, when it is told."""

    def __init__(self) -> None:
        self.asked: list[Call] = []
        self.answers: asyncio.Queue[FailureFacts | Exception | None] = asyncio.Queue()

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        self.asked.append(call)
        answer = await self.answers.get()
        if isinstance(answer, FailureFacts):
            raise BackendError(answer, target, "scripted")
        if answer is not None:
            raise answer
        return Reply(body=b"{}")


def world(target: Target = TARGET) -> tuple[World, Gated, Restorer]:
    backend = Gated()
    made = World(route_to(target), {"endpoint": backend}, frozen())
    made.parts.temperatures.met_cold(target, made.clock.now())
    return made, backend, Restorer(made.parts)


async def settled(restorer: Restorer) -> None:
    """Until no probe is out."""
    while restorer.out:  # noqa: ASYNC110 - virtual time: nothing rings
        await asyncio.sleep(0)


async def test_many_who_find_it_cold_cause_one_probe() -> None:
    """A hundred calls, one request; it waits as long as it has to, and the target is ready then."""
    made, backend, restorer = world()
    assert all(restorer.restore(made.route, TARGET) for _ in range(100))
    for answer in (COLD, COLD, None):
        backend.answers.put_nowait(answer)
    assert made.parts.temperatures.asked(TARGET) is False  # its task has not begun, and there is still but one
    await settled(restorer)
    assert len(backend.asked) == 3
    assert backend.asked[0].invocation.endpoint == "chat"
    assert made.parts.temperatures.warmth(TARGET, made.clock.now()) is Warmth.READY
    (told,) = made.told
    assert (told.operation, told.why) == ("Warm", "restore of dedicated, which was found cold")
    assert 'pointsman_restores_total{target="dedicated",result="ready"} 1' in made.rendered
    assert 'pointsman_restore_seconds_sum{target="dedicated"} 10.0' in made.rendered


async def test_none_is_sent_beside_a_warm_up() -> None:
    """A warm-up asks until it is answered, which is what a probe would do."""
    made, backend, restorer = world()
    warm_up = asyncio.ensure_future(ask(made.parts, made.route, TARGET, 0, "warm-up"))
    while not backend.asked:  # noqa: ASYNC110 - virtual time: nothing rings
        await asyncio.sleep(0)
    assert restorer.restore(made.route, TARGET) is True
    backend.answers.put_nowait(None)
    await warm_up
    assert len(backend.asked) == 1
    assert made.parts.temperatures.asked(TARGET) is False


async def test_one_that_does_not_come_back_is_given_up_and_cold(caplog: pytest.LogCaptureFixture) -> None:
    """After the longest restore; whoever comes then causes another probe."""
    made, backend, restorer = world()
    restorer.restore(made.route, TARGET)
    for _ in range(62):
        backend.answers.put_nowait(COLD)
    with caplog.at_level(logging.WARNING, "pointsman.warm"):
        await settled(restorer)
    assert made.parts.temperatures.warmth(TARGET, made.clock.now()) is Warmth.COLD
    assert 'result="given_up"} 1' in made.rendered
    assert "the restore probe of dedicated was given up: not back within" in caplog.text
    assert restorer.restore(made.route, TARGET) is True
    await restorer.stop()


@pytest.mark.parametrize("failure", [BROKEN, RuntimeError("a bug")])
async def test_one_that_fails_otherwise_leaves_it_unknown(failure: FailureFacts | Exception) -> None:
    """Then it is not known to be cold any more, and traffic finds out what is wrong with it."""
    made, backend, restorer = world()
    restorer.restore(made.route, TARGET)
    backend.answers.put_nowait(failure)
    await settled(restorer)
    assert made.parts.temperatures.warmth(TARGET, made.clock.now()) is Warmth.UNKNOWN
    assert 'result="failed"} 1' in made.rendered


async def test_opaque_targets_have_no_probe() -> None:
    """Nobody knows what they read: a caller's own request has to find out."""
    opaque = replace(TARGET, speaks="opaque")
    made, backend, restorer = world(opaque)
    assert restorer.restore(made.route, opaque) is False
    assert backend.asked == []


async def test_stop_gives_up_what_is_under_way() -> None:
    """No task is left, and nothing is told to be over that is not."""
    made, backend, restorer = world()
    restorer.restore(made.route, TARGET)
    while not backend.asked:  # noqa: ASYNC110 - virtual time: nothing rings
        await asyncio.sleep(0)
    await restorer.stop()
    assert restorer.out == ()
    assert made.parts.temperatures.warmth(TARGET, made.clock.now()) is Warmth.COLD


@pytest.mark.parametrize("behaviour", ["fail_fast", "hold"])
async def test_an_import_is_brought_back(behaviour: str) -> None:
    """Whether the service refuses a cold call or holds it; the restore's time is measured either way."""
    cold = {"starts": "cold", "restore": "90s", "behaviour": behaviour}
    async with imported(route_to, cold=cold) as (made, model):
        target = made.route.warm[0].target
        made.parts.temperatures.met_cold(target, made.clock.now())
        restorer = Restorer(made.parts)
        restorer.restore(made.route, target)
        if behaviour == "hold":
            while model.roster.state() == "cold":  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.001)
            made.clock.advance(95.0)  # at once: how long the answer is on its way is no matter of this clock
        while restorer.out:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)
        assert model.roster.state() == "ready"
        assert model.ledger.report()["calls"] == 1
        assert made.parts.temperatures.warmth(target, made.clock.now()) is Warmth.READY
        (seen,) = made.parts.temperatures.seen(made.clock.now())
        assert 90 <= seen.restore.median <= 100
