"""The copies of one model: started by calls, busy, idle, gone again.

The state is a function of what was written down and of the clock: nothing runs in the background, each look first
removes the copies that have been idle long enough. A model without copies starts one at the first call that meets it
and is `warming` until it is ready (each call that comes meanwhile is refused, or held). More work than the copies
take, or more than `scale_out_at` calls on each, for `scale_out_after` seconds, starts another, up to the maximum.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal

from .clock import Clock
from .config import ModelConfig


class Turned(enum.Enum):
    """Why a call gets no place."""

    COLD = "cold"
    FULL = "full"


@dataclass(slots=True)
class Copy:
    """One copy; changed by its roster only."""

    name: str
    ready_at: float
    in_flight: int = 0
    last_used: float = 0.0


class Roster:
    """Places for calls on one model's copies."""

    def __init__(self, config: ModelConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._bell = clock.bell()
        self._copies: list[Copy] = []
        self._started = 0
        self._waiting = 0
        self._overloaded_since: float | None = None
        if config.cold.starts == "warm":
            for _ in range(max(1, config.minimum)):
                self._start(clock.now())

    @property
    def waiting(self) -> int:
        """Calls that wait for a place or for a copy to be ready."""
        return self._waiting

    def copies(self) -> tuple[Copy, ...]:
        """The copies there are now, ready or not."""
        self._look(self._clock.now())
        return tuple(self._copies)

    def state(self) -> Literal["cold", "warming", "ready"]:
        """`cold`: no copy; `warming`: none ready; `ready`."""
        copies, now = self.copies(), self._clock.now()
        if not copies:
            return "cold"
        return "ready" if any(copy.ready_at <= now for copy in copies) else "warming"

    def touch(self) -> None:
        """Do what a call does that is not let in: start restoring when there is no copy."""
        now = self._clock.now()
        self._look(now)
        if not self._copies:
            self._start(now + self._config.cold.restore)

    async def enter(self) -> Copy | Turned:
        """A place on the least busy ready copy; give it back with `leave`."""
        arrived = self._clock.now()
        queued = False
        try:
            while True:
                self.touch()
                now = self._clock.now()
                ready = [copy for copy in self._copies if copy.ready_at <= now]
                copy = min(ready, key=lambda one: one.in_flight, default=None)
                if copy is not None and copy.in_flight < self._config.copies.concurrency:
                    copy.in_flight += 1
                    copy.last_used = now
                    if self._crowded():
                        self._overloaded(now)
                    return copy
                turned = self._turned(now, arrived) if copy is None else self._full(queued)
                if turned is not None:
                    return turned
                self._waiting += not queued
                queued = True
                await self._clock.wait(
                    self._bell, self._next_ready(now, arrived) if copy is None else self._overloaded(now)
                )
        finally:
            self._waiting -= queued

    def leave(self, copy: Copy) -> None:
        """Give a place back."""
        copy.in_flight -= 1
        copy.last_used = self._clock.now()
        if not self._waiting and not self._crowded():
            self._overloaded_since = None
        self._bell.ring()

    def _crowded(self) -> bool:
        """Whether copies have more work than they are to have for long, though they take it."""
        at = self._config.copies.scale_out_at
        return at is not None and sum(copy.in_flight for copy in self._copies) > at * len(self._copies)

    def _overloaded(self, now: float) -> float | None:
        if self._overloaded_since is None:
            self._overloaded_since = now
        pending = [copy.ready_at for copy in self._copies if copy.ready_at > now]
        if pending:
            return min(pending)
        if len(self._copies) >= self._config.copies.max:
            return None
        due = self._overloaded_since + self._config.copies.scale_out_after
        if now < due:
            return due
        self._overloaded_since = None
        return self._start(now + self._config.copies.start).ready_at

    def _turned(self, now: float, arrived: float) -> Turned | None:
        cold = self._config.cold
        return Turned.COLD if cold.behaviour == "fail_fast" or now >= arrived + cold.hold_limit else None

    def _full(self, queued: bool) -> Turned | None:
        queue = self._config.copies.queue
        return Turned.FULL if not queued and queue is not None and self._waiting >= queue else None

    def _next_ready(self, now: float, arrived: float) -> float:
        return min(
            arrived + self._config.cold.hold_limit, *(copy.ready_at for copy in self._copies if copy.ready_at > now)
        )

    def _start(self, ready_at: float) -> Copy:
        self._started += 1
        copy = Copy(name=f"copy-{self._started}", ready_at=ready_at)
        self._copies.append(copy)
        return copy

    def _look(self, now: float) -> None:
        idle = self._config.idle_seconds
        if idle is None:
            return
        for copy in sorted(self._copies, key=lambda one: one.last_used):
            gone = copy.in_flight == 0 and now >= max(copy.last_used, copy.ready_at) + idle
            if gone and len(self._copies) > self._config.minimum:
                self._copies.remove(copy)
