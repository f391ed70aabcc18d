"""Memory that was freed goes back to the system, so that a process does not grow from burst to burst.

Python leaves blocks above 512 bytes to the C library. glibc gives back by itself what is free at the end of its heap,
and keeps what lies between pieces that are still used: after each burst of bodies somewhat more. Measured over half an
hour of every fault and good traffic: 15 to 31 MiB of a worker's heap were free, and two workers and their supervisor
grew by 20 MiB, though no object was left.

Strategy: when the process has another size than when it was last looked after, all free pages of its heap are given
back, wherever they lie. That is done in a thread, and the loop waits for it only where it needs the heap meanwhile:
0.1 ms for each 1.5 MiB that is given back. Elsewhere than with glibc nothing is done.

Larger blocks could be mappings of their own instead, which end when they are freed (mallopt(3)). That makes no smaller
blocks go back, and a body of 1 MiB would cost 390 us in place of 26, since each page of a new mapping is a fault.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

CHANGED = 2 * 1024 * 1024
"""Bytes by which the process has to have grown or shrunk since: less is not worth the faults by which it takes its
pages again. One that has shrunk had a burst when it was looked after last."""
PERIOD = 30.0
"""Seconds between two looks at how large the process is."""


def resident() -> int:
    """Bytes of memory that the process has, pages included that it shares with others."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def give_back() -> None:
    """Give all free pages of the heap back to the system. Only where there is glibc."""
    ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


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
) -> None:
    """Give back what is free whenever the process has another size than after the last time, for ever."""
    left = 0  # so that what was needed for the start alone goes at the first look
    while True:
        await sleep(PERIOD)
        if abs(size() - left) > CHANGED:
            await asyncio.to_thread(release)
            left = size()
