"""What owners have left of their quotas: memory that all workers of a machine share.

An owner has one quota, whichever worker its connections happen to lie on, after a reload, after a worker was killed and
after an upgrade. So what is left lies in a table of fixed size in shared memory, an entry for each owner, found by a
hash of its name; in a row that is full whoever asked for longest ago gives way. A worker that looks at an owner's entry
locks it, for some microseconds; the kernel takes the lock from one that is killed meanwhile (fcntl(2)).

Promises: nobody waits for long: an entry that stays locked, since its holder was stopped in that moment, is used all
the same. Times are on the monotonic clock, which the processes of a machine have in common.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
from collections.abc import Callable
from hashlib import blake2b
from struct import Struct

from policies.quotas import Bucket, Quota, Rate, full, refilled, taken, wait_for

_TAG, _LEFT = 8, Struct("=dddd")
"""64 bits of the hash; what is left of requests and since when, and of tokens. NaN: nobody has asked for it yet."""
_ENTRY = _TAG + _LEFT.size
_WAYS, _ROWS = 16, 512
_ROW = _WAYS * _ENTRY
SIZE = _ROWS * _ROW
"""8,192 owners, 320 KiB, of which only what is used is there."""
_TRIES = 200
"""Looks at a lock that another process has; each lets others run."""
_NEW = _LEFT.pack(math.nan, 0.0, math.nan, 0.0)

_offer: Callable[[], None] = getattr(os, "sched_yield", lambda: None)  # not every system has it


class Owners:
    """The table."""

    __slots__ = ("_descriptor", "_memory")

    def __init__(self, descriptor: int = -1) -> None:
        """`descriptor` is of memory made by `new_memory`, and stays open; -1: this process's own."""
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, SIZE)

    def admit(self, quota: Quota, now: float) -> tuple[str, float] | None:
        """Take one request. Where there is none, or tokens are owed, take nothing and say what it is that the owner is
        over, and the seconds until it is not; so who asks again and again while tokens are owed has requests left when
        they are not."""
        row, tag = _place(quota.owner)
        locked = self._lock(row)
        try:
            at = self._found(row, tag)
            requests, tokens = self._read(at, quota, now)
            for what, rate, bucket, amount in (
                ("tokens", quota.tokens, tokens, 0.0),
                ("requests", quota.requests, requests, 1.0),
            ):
                if rate is not None and (wait := wait_for(bucket, rate, amount)) > 0:
                    return what, wait
            self._write(at, tag, requests if quota.requests is None else taken(requests, 1.0), tokens)
            return None
        finally:
            if locked:
                self._unlock(row)

    def charge(self, quota: Quota, tokens: int, now: float) -> None:
        """Take what a request used out of the owner's tokens, into debt if need be."""
        row, tag = _place(quota.owner)
        locked = self._lock(row)
        try:
            at = self._found(row, tag)
            requests, left = self._read(at, quota, now)
            self._write(at, tag, requests, taken(left, tokens))
        finally:
            if locked:
                self._unlock(row)

    def _found(self, row: int, tag: bytes) -> int:
        """Where the owner's entry is, or one that nobody has, or whose owner asked for longest ago: that is emptied."""
        memory = self._memory
        found = memory.find(tag, row, row + _ROW)
        while found >= 0 and (found - row) % _ENTRY:  # bytes of another entry that look like it
            found = memory.find(tag, found + 1, row + _ROW)
        if found < 0:
            found = min(range(row, row + _ROW, _ENTRY), key=self._asked)
            memory[found : found + _ENTRY] = tag + _NEW
        return found

    def _asked(self, at: int) -> float:
        """When an entry was last looked at; before all others where it is nobody's."""
        if not any(self._memory[at : at + _TAG]):
            return -math.inf
        _, requests, _, tokens = _LEFT.unpack_from(self._memory, at + _TAG)
        return float(max(requests, tokens))

    def _read(self, at: int, quota: Quota, now: float) -> tuple[Bucket, Bucket]:
        """What there is now of requests and of tokens."""
        requests, requests_at, tokens, tokens_at = _LEFT.unpack_from(self._memory, at + _TAG)
        return (
            _now(Bucket(requests, requests_at), quota.requests, now),
            _now(Bucket(tokens, tokens_at), quota.tokens, now),
        )

    def _write(self, at: int, tag: bytes, requests: Bucket, tokens: Bucket) -> None:
        entry = tag + _LEFT.pack(requests.left, requests.at, tokens.left, tokens.at)
        self._memory[at : at + _ENTRY] = entry

    def _lock(self, row: int) -> bool:
        """False where it is not to be had, or not needed."""
        if self._descriptor < 0:
            return False
        for _ in range(_TRIES):
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _ROW, row)
            except OSError:
                _offer()
            else:
                return True
        return False

    def _unlock(self, row: int) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, _ROW, row)


def _place(owner: str) -> tuple[int, bytes]:
    """The row of an owner's entry, and what it is known by there; that is never all zeros."""
    digest = blake2b(owner.encode(), digest_size=2 + _TAG).digest()
    return int.from_bytes(digest[:2], "big") % _ROWS * _ROW, digest[2:-1] + bytes((digest[-1] | 1,))


def _now(bucket: Bucket, rate: Rate | None, now: float) -> Bucket:
    """The bucket at `now`; one that is not granted stays as it is."""
    if rate is None:
        return bucket
    return full(rate, now) if math.isnan(bucket.left) else refilled(bucket, rate, now)


def new_memory() -> int:
    """A descriptor of an empty table; the caller closes it."""
    descriptor = os.memfd_create("pointsman-quotas")
    os.ftruncate(descriptor, SIZE)
    return descriptor
