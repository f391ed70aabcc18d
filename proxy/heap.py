"""Memory that was freed goes back to the system, and what stays lies in large pages.

A process must not grow from burst to burst.

Python leaves blocks above 512 bytes to the C library. glibc gives back by itself what is free at the end of its heap,
and keeps what lies between pieces that are still used: after each burst of bodies somewhat more. Measured over half an
hour of every fault and good traffic: 15 to 31 MiB of a worker's heap were free, and two workers and their supervisor
grew by 20 MiB, though no object was left.

Strategy: when the process has another size than when it was last looked after, all free pages of its heap are given
back, wherever they lie. That is done in a thread, and the loop waits for it only where it needs the heap meanwhile:
0.1 ms for each 1.5 MiB that is given back. Elsewhere than with glibc nothing is done.

What objects in circles hold is free once the collector has looked for them, which in Python's own order it does for
the old ones after two million new objects: an hour and more, in which a worker grew by 10 MiB. So it looks first. What
the process started with is left out (`gc.freeze`), and the rest takes 2 ms.

Larger blocks could be mappings of their own instead, which end when they are freed (mallopt(3)). That makes no smaller
blocks go back, and a body of 1 MiB would cost 390 us in place of 26, since each page of a new mapping is a fault.

What a process has once it is set up stays until its end, and a request finds its way through all of it. In pages of
4 KiB that takes more addresses than a processor remembers, above all after it has slept. Laid in pages of 2 MiB, a
request that comes alone took 6 and 12 us less of 110 in the proxy in two comparisons, and no less in a third; under
load it is 1 % of the CPU at the most. It takes 15 to 100 ms, once, before a process serves.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

CHANGED = 2 * 1024 * 1024
"""Bytes by which the process has to have grown or shrunk since: less is not worth the faults by which it takes its
pages again. One that has shrunk had a burst when it was looked after last."""
PERIOD = 30.0
"""Seconds between two looks at how large the process is."""
LONGEST = 0.02
"""Seconds of CPU that a look for objects in circles may take, in which no request moves. After a longer one, as where a
handler has since brought millions of objects, they are left to Python's own order."""
DENSE = 0.75
"""The share of a large page that has to be in use: what is not becomes so, and the process would grow by it."""
COLLAPSE = 25
"""MADV_COLLAPSE, which Linux has since 6.1 (madvise(2))."""
LARGE_PAGE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
"""Bytes of a large page, where the system has any."""


def resident() -> int:
    """Bytes of memory that the process has, pages included that it shares with others."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def give_back() -> None:
    """Give all free pages of the heap back to the system. Only where there is glibc."""
    ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


def collect() -> float:
    """Free all objects in circles. Returns the seconds of CPU that it took."""
    began = time.thread_time()
    gc.collect()
    return time.thread_time() - began


def lay_in_large_pages(size: Path = LARGE_PAGE) -> int:
    """Have what this process uses densely lie in large pages: how many there are now. 0 where the system has none."""
    try:
        large = int(size.read_text())
        own = _own()
    except OSError:
        return 0
    system = ctypes.CDLL(None)
    system.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return sum(
        system.madvise(at, large, COLLAPSE) == 0
        for first, end in own
        for at in range(-(-first // large) * large, end - large + 1, large)
        if _in_use(at, large) >= DENSE
    )


def _own() -> list[tuple[int, int]]:
    """Beginning and end of each stretch of memory that is this process's alone and no file's."""
    stretches: list[tuple[int, int]] = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, rights, _, _, _, *name = line.split(maxsplit=5)
        if rights == "rw-p" and name in ([], ["[heap]"]):
            first, end = where.split("-")
            stretches.append((int(first, 16), int(end, 16)))
    return stretches


def _in_use(at: int, size: int) -> float:
    """The share of the memory from `at` that has pages."""
    pages = (ctypes.c_ubyte * (size // os.sysconf("SC_PAGE_SIZE")))()
    if ctypes.CDLL(None).mincore(ctypes.c_void_p(at), ctypes.c_size_t(size), pages):
        return 0.0
    return sum(page & 1 for page in pages) / len(pages)


def by_glibc(known: Callable[[str], str | None] = os.confstr) -> bool:
    """Whether the C library is glibc; of others nothing is known."""
    try:
        return (known("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except ValueError:
        return False


async def watch(
    sleep: Callable[[float], Awaitable[None]],
    size: Callable[[], int] = resident,
    release: Callable[[], None] = give_back,
    free: Callable[[], float] = collect,
) -> None:
    """Give back what is free whenever the process has another size than after the last time, for ever."""
    left = 0  # so that what was needed for the start alone goes at the first look
    brief = True
    while True:
        await sleep(PERIOD)
        if abs(size() - left) > CHANGED:
            brief = brief and free() <= LONGEST
            await asyncio.to_thread(release)
            left = size()
