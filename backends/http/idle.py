"""What the task of a client's connection waits on between two requests.

Strategy: it is a future to asyncio, which asks of one no more than what stands here, and there is one for all the
pauses of a connection. A future that is set wakes its task in the next turn of the loop, which asks the system for
events in between; from this one the task goes on at once, inside the call that brought the request. All else is as
with any task: it is the current one, runs in its own context, and can be cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context


class Idle:
    """A pause that is over once there is a request. One task waits on it at a time, as often as it likes."""

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_context", "_loop", "_wake", "due")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asyncio_future_blocking = False
        self._cancelled = False
        self._context: Context | None = None
        self._wake: Callable[[Idle], object] | None = None
        self.due: Callable[[Idle], object] | None = None
        """Set while the pause is over and the task was not yet told: then `go` has to follow."""

    def __await__(self) -> Generator[Idle, None, None]:
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(self, wake: Callable[[Idle], object], *, context: Context | None = None) -> None:
        """For the task, which waits from now on."""
        self._wake, self._context = wake, context

    def done(self) -> bool:
        """Nobody waits."""
        return self._wake is None

    def set_result(self, _: None) -> None:
        """The pause is over."""
        self.due, self._wake = self._wake, None

    def cancel(self, msg: object = None) -> bool:
        """End the pause with CancelledError, in the loop's next turn. False when nobody waits."""
        wake, self._wake = self._wake, None
        if wake is None:
            return False
        self._cancelled = True
        self._loop.call_soon(wake, self, context=self._context)
        return True

    def result(self) -> None:
        """For the task, as it goes on."""
        if self._cancelled:
            self._cancelled = False
            raise asyncio.CancelledError

    def go(self, at_once: bool) -> None:
        """Let the task go on; `at_once` where that can be, as a task that runs (it may be closing TLS) goes first."""
        wake, self.due = self.due, None
        if wake is None:
            return
        if at_once and self._context is not None and asyncio.current_task(self._loop) is None:
            self._context.run(wake, self)
        else:
            self._loop.call_soon(wake, self, context=self._context)
