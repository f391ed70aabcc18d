"""Which signatures were seen, and when first: memory that all workers of a machine share, so that a captured request is
refused by whichever of them it reaches.

Strategy: a table of fixed size in shared memory, without locks. A signature is random, so it is its own hash: it says
in which bucket it is, and the oldest of a full bucket gives way. Two workers that meet one signature in the same moment
may both take it for the first; so close together it counts for a twin anyway (`auth.REPEAT`). Whoever holds the memory
keeps it: a worker that is killed takes nothing along, and a supervisor leaves it to its successor.

Promises: the memory is bounded, and only touched where signatures come; a lookup costs about a microsecond.
"""

from __future__ import annotations

import mmap
import os

WAYS, BUCKETS = 16, 32_768
"""524,288 signatures. With 300 a second, one in five thousand has given way to newer ones within ten minutes."""
_TAG, _TIME = 10, 6
_ENTRY = _TAG + _TIME
"""80 bits of the signature, and milliseconds since 1970."""
_BUCKET = WAYS * _ENTRY
_HEADS = BUCKETS * _BUCKET
"""Behind the buckets: a byte for each, which of its entries is overwritten next."""
SIZE = _HEADS + BUCKETS


class Replays:
    """The table."""

    def __init__(self, descriptor: int = -1) -> None:
        """`descriptor` is of memory made by `new_memory`, and may be closed afterwards; -1: this process's own."""
        self._memory = mmap.mmap(descriptor, SIZE)

    def first_seen(self, signature: bytes, now: float, lasts: float) -> float:
        """When `signature`, of 32 bytes, was first seen: `now`, unless it was within the `lasts` seconds before."""
        memory, number = self._memory, int.from_bytes(signature[:4], "big") % BUCKETS
        at, tag = number * _BUCKET, signature[4 : 4 + _TAG]
        found = memory.find(tag, at, at + _BUCKET)
        while found >= 0 and (found - at) % _ENTRY:  # bytes of two entries that look like it
            found = memory.find(tag, found + 1, at + _BUCKET)
        if found >= 0:
            before = int.from_bytes(memory[found + _TAG : found + _ENTRY], "big") / 1000
            if now - before <= lasts:
                return before
        else:
            head = memory[_HEADS + number]
            memory[_HEADS + number] = (head + 1) % WAYS
            found = at + head % WAYS * _ENTRY
        memory[found : found + _ENTRY] = tag + round(now * 1000).to_bytes(_TIME, "big")
        return now


def new_memory() -> int:
    """A descriptor of an empty table; the caller closes it."""
    descriptor = os.memfd_create("pointsman-replays")
    os.ftruncate(descriptor, SIZE)
    return descriptor
