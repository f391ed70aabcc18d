"""The emulator's own clock: real time flows through it, and tests may push it forward or stop it.

Strategy: every wait of the stand-ins (restoring a copy, first byte, token by token, a queue) is a moment on this
clock and never a sleep. A waiter re-reads the clock whenever its bell rings; `advance` and `freeze` ring every bell,
so pushing the clock 15 minutes fires all timers that lie in them, at once and in any order. Signatures are not judged
by this clock: a client signs with real time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

TICK = 1e-6
"""Seconds that a wait lasts at least. Time near 1970 has finer digits than a loop's clock, which would never get there
by steps that it can't tell from none."""


class Bell:
    """Wakes everyone who waits at the moment it rings; it keeps no memory of having rung."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake all present waiters."""
        self._event.set()
        self._event = asyncio.Event()

    async def heard(self) -> None:
        """Return at the next ring."""
        await self._event.wait()


class Clock:
    """Seconds since 1970 as the stand-ins see them. `now` never goes back."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._anchor = steady()
        self._base = wall()
        self._frozen = False
        self._bells: list[Bell] = []
        self._own = self.bell()

    @property
    def frozen(self) -> bool:
        """Whether real time is kept out."""
        return self._frozen

    def now(self) -> float:
        """Emulated seconds since 1970."""
        return self._base if self._frozen else self._base + (self._steady() - self._anchor)

    def bell(self) -> Bell:
        """A bell that also rings whenever the clock is moved; it lives as long as the clock."""
        bell = Bell()
        self._bells.append(bell)
        return bell

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds` and wake all waiters. Errors: ValueError for a negative step."""
        if seconds < 0:
            msg = f"the clock only moves forward, not by {seconds} s"
            raise ValueError(msg)
        self._base += seconds
        self._ring()

    def freeze(self, frozen: bool = True) -> None:
        """Stop real time from flowing in (or let it in again)."""
        self._base = self.now()
        self._anchor = self._steady()
        self._frozen = frozen
        self._ring()

    async def wait(self, bell: Bell, until: float | None) -> None:
        """Return when `until` is reached, when `bell` rings, or when the clock is moved: the caller looks again."""
        left = None if until is None or self._frozen else until - self.now()
        if left is not None:
            left = max(left, TICK) if left > 0 else 0.0
        try:
            async with asyncio.timeout(left):
                await bell.heard()
        except TimeoutError:
            return

    async def pass_to(self, moment: float) -> None:
        """Return at `moment` (at once when it is past)."""
        while self.now() < moment:
            await self.wait(self._own, moment)

    async def rest(self, seconds: float) -> None:
        """Return `seconds` from now."""
        if seconds > 0:
            await self.pass_to(self.now() + seconds)

    def _ring(self) -> None:
        for bell in self._bells:
            bell.ring()
