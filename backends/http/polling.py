"""A loop that looks for what comes in place of sleeping, for a while after each request: busy polling.

A thread that sleeps leaves its core to others, and what it had in the caches with it; woken, it first waits for the
core and then for memory. Of what a hop adds to a request that comes alone after 5 ms that is more than a half
(docs/performance.md). A loop that looks at its sockets again and again finds the next request at once, and everything
where it was.

The price is the core, which it takes whole for as long. In each turn it offers it to whoever else is ready to run
(sched_yield(2)), so what shares the core is slowed down, but not kept out.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

_offer: Callable[[], None] = getattr(os, "sched_yield", lambda: None)  # not every system has it


class BusyPoll:
    """Keeps a loop awake."""

    __slots__ = ("_until", "looking", "seconds")

    def __init__(self, seconds: float) -> None:
        """`seconds`: for how long it looks after what it was told last; uvloop's clock counts milliseconds."""
        self._until = 0.0
        self.seconds = seconds
        self.looking = False
        """The loop does not sleep."""

    def heard(self, loop: asyncio.AbstractEventLoop) -> None:
        """A client has sent something: look for what follows from now on. It is one loop's, whose this is."""
        self._until = loop.time() + self.seconds
        if not self.looking:
            self.looking = True
            loop.call_soon(self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop.time() >= self._until:
            self.looking = False
            return
        _offer()
        loop.call_soon(self._look, loop)  # a loop with something to do soon asks its sockets, and does not wait
