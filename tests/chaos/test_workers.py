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
        before = await serving(stage)
        os.kill(before[0], signal.SIGKILL)
        outcomes = Counter(answer.status for answer in await asyncio.gather(*under_way))
        assert set(outcomes) <= {0, 200}  # how many of each it had is the kernel's affair
        for _ in range(20):
            HEALTHY.promise.hold(await stage.play(HEALTHY))
        await until(lambda: replaced(stage, before[0]))
        for answer in await asyncio.gather(*(stage.play(HEALTHY) for _ in range(20))):
            HEALTHY.promise.hold(answer)


async def asked(reached: bool) -> bool:
    """A fact of this process among those of another."""
    return reached


async def replaced(stage: Stage, pid: int) -> bool:
    """Whether two workers serve again, none of them the one that was killed."""
    now = await serving(stage)
    return len(now) == 2 and pid not in now
