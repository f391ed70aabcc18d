"""What the three ways to run a handler have in common: one interface, and a clock that stands still while one waits.

A hook's time limit is about the customer's code. A wait for a place to run in has as much for itself: of a hook that
came late to its turn nobody may say that it hangs. While `call.invoke` waits for another endpoint the limit does not
run; that wait has the request's own deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

from backends import patience

from .errors import too_slow
from .guest import values

Steps = frozenset[str]

AT_ONCE = (values.Call, values.Reply)
"""What a hook gives that has waited for nothing."""


class Asked(Protocol):
    """One request, as a way to run its handler sees it."""

    @property
    def call(self) -> values.Call:
        """What the client asked; once `before` has made another call of it, that one."""
        ...

    @property
    def limit(self) -> Limit:
        """That of its hooks; made for the first that waits."""
        ...


class Session(Protocol):
    """One request's way through a handler; one that keeps nothing of a request may be that of all. Every method raises
    HandlerError and nothing else.

    `before` and `after` give a value where nothing is waited for: then the hook held the loop until it was there. Else
    something to await. `began` is when they are called, on the clock of the handlers.
    """

    def before(self, asked: Asked, began: float) -> values.Call | values.Reply | Awaitable[values.Call | values.Reply]:
        """What goes to the model, or an answer without it."""
        ...

    async def during(self, asked: Asked, events: list[bytes], first: int) -> list[bytes]:
        """What the client gets for these events of a stream, the first of which has the number `first`."""
        ...

    def after(self, asked: Asked, reply: values.Reply, began: float) -> values.Reply | Awaitable[values.Reply]:
        """What the client gets for the model's whole answer."""
        ...

    def close(self) -> None:
        """The request is over."""
        ...


class Run(Protocol):
    """A handler that is loaded."""

    steps: Steps
    """Those of `before`, `during` and `after` that it has."""

    def open(self, asked: Asked) -> Session:
        """Begin one request. Raises HandlerError when the handler takes none now."""
        ...

    async def stop(self) -> None:
        """Give everything back. Requests on their way fail."""
        ...


class Limit:
    """The time limit of the hooks of one request, which has a deadline as well."""

    __slots__ = ("_left", "_running", "_waits", "deadline", "seconds")

    def __init__(self, seconds: float, deadline: float) -> None:
        self.seconds = seconds
        self.deadline = deadline
        self._running: patience.Limit | None = None
        self._waits = 0
        self._left = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """One hook. Raises HandlerError (`timed_out`) when it takes too long, or the request's deadline passes."""
        end = self.deadline if self._waits else self._end(self.seconds)
        try:
            async with patience.limit_at(end) as self._running:
                yield
        except TimeoutError as error:
            raise too_slow(self.seconds) from error
        finally:
            self._running = None

    def begins(self) -> None:
        """The hook begins. What it has waited for a place to run in is not its own time: it has all of that now."""
        running = self._running
        if running is not None and self._waits == 0 and not running.expired():
            running.reschedule(self._end(self.seconds))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Waiting for another endpoint: the limit stands still until the last such wait is over."""
        timeout, loop = self._running, asyncio.get_running_loop()
        if timeout is not None and timeout.expired():
            yield
            return
        if self._waits == 0:
            self._left = self.seconds
            if timeout is not None:
                self._left = timeout.when() - loop.time()
                timeout.reschedule(self.deadline)
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1
            running = self._running
            mine = timeout is None or timeout is running  # None: the hook had not been seen to wait yet
            if self._waits == 0 and running is not None and mine and not running.expired():
                running.reschedule(self._end(max(0.0, self._left)))

    def past_deadline(self) -> bool:
        """The whole request is late, whatever its hooks took."""
        return asyncio.get_running_loop().time() >= self.deadline

    def _end(self, seconds: float) -> float:
        return min(self.deadline, asyncio.get_running_loop().time() + seconds)
