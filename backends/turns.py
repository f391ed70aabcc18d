"""Who waits for a place, and the clock that calls them in when what kept them out is over by time alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """One who waits."""

    admitted: asyncio.Future[None]
    size: int
    until: float
    """On the loop's clock: it waits no longer."""


TICK = 0.001
"""Seconds: timers of uvloop count in milliseconds, and none is to ring before its time."""


class Bell:
    """Rings at a time that it is told, once however often it is told."""

    __slots__ = ("_at", "_ring")

    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring
        self._at: float | None = None

    def at(self, when: float) -> None:
        """Ring at `when`, on the loop's clock, and at no time that it was told before."""
        if when != self._at:
            self._at = when
            asyncio.get_running_loop().call_at(when + TICK, self._rings, when)

    def _rings(self, when: float) -> None:
        if when == self._at:
            self._ring()
