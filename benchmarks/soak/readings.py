"""The proxy's processes, seen from outside: memory and descriptors from /proc, tasks from the admin port."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.chaos.stage import Stage, descriptors, memory

from .report import Reading

QUIET = 30.0
"""Seconds after which what is still under way counts as left behind."""


def children(pid: int) -> list[int]:
    """Processes that a process has started and that still are."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(each) for each in (task / "children").read_text().split()]
    return found


def proxies(pid: int, workers: int) -> list[int]:
    """The supervisor and its workers, or the one process."""
    return [pid, *children(pid)] if workers > 1 else [pid]


async def rest(stage: Stage) -> None:
    """Wait until nothing is under way and idle connections are closed."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + QUIET
    await asyncio.sleep(9.0)  # idle connections are kept for 4 s and looked at every 4
    while loop.time() < give_up:
        limits = (await stage.admin("/admin/limits"))["limits"]
        if not any(each["in_flight"] or each["waiting"] for each in limits):
            return
        await asyncio.sleep(0.5)


async def read(stage: Stage, workers: int, at: float) -> Reading:
    """How the processes are now."""
    own = proxies(stage.proxy.process.pid, workers)
    others = [child for pid in own for child in children(pid) if child not in own]
    tasks = (await stage.admin("/admin/tasks"))["tasks"]
    return Reading(
        at=at,
        memory=sum(map(memory, own)),
        handlers=sum(map(memory, others)),
        descriptors=sum(map(descriptors, own)),
        tasks=sum(tasks.values()),
    )
