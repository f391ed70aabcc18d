"""Time limits that are not held against others when it was this process that stood still.

Strategy: a loop whose process was stopped, had no processor, or ran code that took its time, finds its timers due in
the turn in which it reads what came meanwhile, and they end who waits for that before it is told. A limit that passes
while the loop is on time is over at once. One that passes later than it was due is given as much once more, in which
what has come is passed on; then it is over, whatever happened meanwhile. So a limit is exceeded by at most twice what
the loop was late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")

ON_TIME = 0.005
"""Seconds that a timer may be late by itself: those of uvloop count in milliseconds, and a turn takes a few."""


class Alarm:
    """Calls `ring` at `when`, on the loop's clock, unless it is cancelled before."""

    __slots__ = ("_due", "_handle", "_loop", "_ring")

    def __init__(self, loop: asyncio.AbstractEventLoop, when: float, ring: Callable[[], object]) -> None:
        self._loop = loop
        self._ring = ring
        self._due = max(when, loop.time())
        self._handle: asyncio.Handle = loop.call_at(self._due, self._passed)

    def cancel(self) -> None:
        """Ring no more."""
        self._handle.cancel()

    def _passed(self) -> None:
        late = self._loop.time() - self._due
        if late < ON_TIME:
            self._ring()
        else:
            self._handle = self._loop.call_later(late, self._once_more)

    def _once_more(self) -> None:
        # What was read may have to wake somebody before it counts, and that takes a turn.
        self._handle = self._loop.call_soon(self._ring)


class Limit:
    """Such a limit for a block, in place of `asyncio.timeout_at`. Raises TimeoutError at its end when it passed."""

    __slots__ = ("_alarm", "_timeout", "_when")

    def __init__(self, when: float) -> None:
        self._when = when
        self._timeout = asyncio.timeout(None)
        self._alarm: Alarm | None = None

    def when(self) -> float:
        """On the loop's clock."""
        return self._when

    def expired(self) -> bool:
        """It has passed, and the block is being left."""
        return self._timeout.expired()

    def reschedule(self, when: float) -> None:
        """Another limit from now on."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._timeout.reschedule(None)  # it may have rung in this very turn
        self._when = when
        self._alarm = Alarm(asyncio.get_running_loop(), when, self._over)

    def _over(self) -> None:
        self._timeout.reschedule(asyncio.get_running_loop().time())

    async def __aenter__(self) -> Limit:
        await self._timeout.__aenter__()
        self.reschedule(self._when)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        await self._timeout.__aexit__(kind, error, at)


def limit_at(when: float) -> Limit:
    """A limit at `when`, on the loop's clock, for `async with`."""
    return Limit(when)


def limit(seconds: float) -> Limit:
    """A limit of so many seconds from now, for `async with`."""
    return Limit(asyncio.get_running_loop().time() + seconds)


async def waited(task: asyncio.Future[T], seconds: float) -> bool:
    """Whether `task` is over within such a limit. It is not cancelled."""
    over = asyncio.get_running_loop().create_future()
    loop = over.get_loop()
    alarm = Alarm(loop, loop.time() + seconds, over.cancel)
    try:
        await asyncio.wait({task, over}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        alarm.cancel()
        over.cancel()
    return task.done()
