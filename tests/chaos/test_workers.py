"""The same faults with two workers behind one port, and a worker that is killed among them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from .broken_answers import HEALTHY
from .stage import Stage, staged, until
from .table import QUICK, SLOW

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300, func_only=True)]


async def serving(stage: Stage) -> list[int]:
    """Process ids of the workers that serve."""
    workers = (await stage.admin("/readyz"))["workers"]
    return [each["pid"] for each in workers if each["state"] == "serving"]


async def test_two_workers_among_all_faults(tmp_path: Path) -> None:
    """Every fault comes to the same as with one, whichever worker meets it, and neither keeps anything of it."""
    async with staged(tmp_path, (*QUICK, HEALTHY), "--workers", "2") as stage:
        for _ in range(3):
            for fault, answer in zip(QUICK, await asyncio.gather(*map(stage.play, QUICK)), strict=True):
                fault.promise.hold(answer)
        await stage.settled()


async def test_worker_killed_among_requests(tmp_path: Path) -> None:
    """Only what it had in flight is lost, without an answer that looks whole; another takes its place."""
    async with staged(tmp_path, (HEALTHY, SLOW), "--workers", "2") as stage:
        upstream = stage.upstreams[SLOW]
        under_way = [asyncio.create_task(stage.play(SLOW)) for _ in range(20)]
        await until(lambda: asked(upstream.requests >= len(under_way)))
        victim = await least_busy(stage)
        os.kill(victim, signal.SIGKILL)
        outcomes = Counter(answer.status for answer in await asyncio.gather(*under_way))
        assert set(outcomes) <= {0, 200}
        assert outcomes[200] > 0
        for _ in range(20):
            HEALTHY.promise.hold(await stage.play(HEALTHY))
        await until(lambda: replaced(stage, victim))
        for answer in await asyncio.gather(*(stage.play(HEALTHY) for _ in range(20))):
            HEALTHY.promise.hold(answer)


async def least_busy(stage: Stage) -> int:
    """The process id of the worker that has the fewest of the requests: on a busy machine one may have them all."""
    has = Counter(dict.fromkeys(range(2), 0))
    for row in (await stage.admin("/admin/limits"))["limits"]:
        has[row["worker"]] += row["in_flight"]
    number = min(has, key=lambda worker: has[worker])
    workers = (await stage.admin("/readyz"))["workers"]
    return next(int(each["pid"]) for each in workers if each["worker"] == number)


async def asked(reached: bool) -> bool:
    """A fact of this process among those of another."""
    return reached


async def replaced(stage: Stage, pid: int) -> bool:
    """Whether two workers serve again, none of them the one that was killed."""
    now = await serving(stage)
    return len(now) == 2 and pid not in now
