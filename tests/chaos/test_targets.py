"""Faults that last: targets that stay down, come back, throttle or run hot, and what that does to those beside them."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from .broken_answers import GOOD, HEALTHY, error, saying
from .faults import Fault, Refused, Served
from .stage import Stage, staged
from .upstream import Wire

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300, func_only=True)]


class Sick:
    """An upstream that answers 500 until it is well again."""

    def __init__(self) -> None:
        self.well = False

    async def serve(self, wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.send(GOOD if self.well else error(500, "InternalFailure"))


async def states(stage: Stage) -> dict[str, str]:
    """Each target's breaker."""
    return {each["target"]: each["state"] for each in (await stage.admin("/admin/breakers"))["breakers"]}


async def test_target_down_for_long_and_back(tmp_path: Path) -> None:
    """After five failures it is left alone and the fallback serves; once it is well, that is found out."""
    loop, sick = asyncio.get_running_loop(), Sick()
    fault = Fault("sick", Served(), sick.serve, route={"fallback": [HEALTHY.slug], "idempotent": True})
    async with staged(tmp_path, (fault, HEALTHY)) as stage:
        upstream = stage.upstreams[fault]
        for _ in range(5):
            Served().hold(await stage.play(fault))
        opened = loop.time()
        assert upstream.requests == 5
        assert (await states(stage))["sick"] == "open"
        Served().hold(await stage.play(fault))
        if loop.time() - opened < 3.0:  # it is tried again after four seconds at the earliest, however busy we are
            assert upstream.requests == 5
        sick.well = True
        while (await states(stage))["sick"] != "closed":
            Served().hold(await stage.play(fault))
            await asyncio.sleep(0.05)
        before = upstream.requests
        for _ in range(200):
            Served().hold(await stage.play(fault))
        assert upstream.requests > before
        await stage.settled()


async def test_all_targets_left_alone_with_a_last_resort(tmp_path: Path) -> None:
    """It serves while the others are out, so that no request fails for breakers alone."""
    sick = Sick()
    fault = Fault("sick", Served(), sick.serve, route={"last_resort": HEALTHY.slug, "idempotent": True})
    async with staged(tmp_path, (fault, HEALTHY)) as stage:
        answers = [await stage.play(fault) for _ in range(20)]
        for answer in answers[5:]:
            Served().hold(answer)
            assert answer.headers["x-pointsman-target"] == HEALTHY.slug
        await stage.settled()


async def test_only_target_left_alone(tmp_path: Path) -> None:
    """It is asked all the same, since there is no other: an endpoint is never failed by breakers alone."""
    sick = Sick()
    fault = Fault("sick", Refused(500, "InternalFailure"), sick.serve, route={"retry": {"attempts": 1}})
    async with staged(tmp_path, (fault,)) as stage:
        for _ in range(10):
            fault.promise.hold(await stage.play(fault))
        assert (await states(stage))["sick"] == "open"
        sick.well = True
        Served().hold(await stage.play(fault))


async def test_storm_of_throttling(tmp_path: Path) -> None:
    """Every client is told when to come again, no breaker opens, and the target is asked less than its clients ask."""
    throttled = saying(error(429, "ThrottlingException", b"x-amz-retry-after: 2000\r\n"))
    fault = Fault("throttles", Refused(429, "ThrottlingException", retry_after="2"), throttled)
    async with staged(tmp_path, (fault,)) as stage:
        for answer in await asyncio.gather(*(stage.play(fault) for _ in range(100))):
            assert (answer.status, answer.error) == (429, "ThrottlingException")
            assert answer.headers["retry-after"]
        assert set((await states(stage)).values()) <= {"closed"}
        assert stage.upstreams[fault].requests < 150
        await stage.settled()


async def test_hot_endpoint_beside_a_calm_one(tmp_path: Path) -> None:
    """What a target does not bear is shed with typed errors, and the endpoint beside it never waits for it."""
    cooler = asyncio.Event()

    async def busy(wire: Wire) -> None:
        while True:
            await wire.request()
            await cooler.wait()
            await wire.send(GOOD)

    limit = {"limit": {"min": 4, "max": 4, "queue": 8, "wait": "20s"}}
    hot = Fault("hot", Served(), busy, target=limit, route={"retry": {"attempts": 1}})
    async with staged(tmp_path, (hot, HEALTHY)) as stage:
        crowd = [asyncio.create_task(stage.play(hot)) for _ in range(60)]
        shed = [await one for one in itertools.islice(asyncio.as_completed(crowd), 48)]
        for answer in shed:
            assert (answer.status, answer.error, answer.rest) == (429, "ThrottlingException", b"")
        for _ in range(40):  # while all of the hot one's places are taken, and nothing comes of them
            Served().hold(await stage.play(HEALTHY))
        assert stage.upstreams[hot].requests == 4
        cooler.set()
        served = [answer for answer in await asyncio.gather(*crowd) if answer.status == 200]
        assert len(served) == 12
        await stage.settled()
