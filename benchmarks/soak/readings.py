"""The proxy's processes, seen from outside: memory and descriptors from /proc, tasks from the admin port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
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


def held(stage: Stage, workers: int) -> dict[int, int]:
    """Memory of each of the proxy's processes now. Raises OSError while one of them is not there."""
    own = proxies(stage.proxy.process.pid, workers)
    if workers > 1 and len(own) <= workers:
        raise ProcessLookupError
    return {pid: memory(pid) for pid in own}


class Lows:
    """What each of the proxy's processes had in memory at least, while it was looked at.

    Their heaps are given back every half minute (proxy/heap.py), each at moments of its own, and fill again by tens of
    MiB in between: one look a minute, or one at all of them together, sees now the one and now the other, and a beat of
    minutes that is no growth.
    """

    def __init__(self, look: Callable[[], Mapping[int, int]]) -> None:
        self._look = look
        self._least: dict[int, int] = {}

    async def watch(self) -> None:
        """Look every second, until cancelled."""
        while True:
            with suppress(OSError):  # a process has just ended
                self._seen()
            await asyncio.sleep(1.0)

    def taken(self) -> int:
        """The least of each since this was asked last, of those that still are, added up."""
        found = sum(self._least[pid] for pid in self._seen())
        self._least = {}
        return found

    def _seen(self) -> Mapping[int, int]:
        now = self._look()
        for pid, size in now.items():
            self._least[pid] = min(size, self._least.get(pid, size))
        return now


async def read(stage: Stage, workers: int, at: float, lows: Lows) -> Reading:
    """How the processes are now, and their memory at its least since the last reading."""
    own = proxies(stage.proxy.process.pid, workers)
    others = [child for pid in own for child in children(pid) if child not in own]
    tasks = (await stage.admin("/admin/tasks"))["tasks"]
    return Reading(
        at=at,
        memory=lows.taken(),
        handlers=sum(map(memory, others)),
        descriptors=sum(map(descriptors, own)),
        tasks=sum(tasks.values()),
    )
