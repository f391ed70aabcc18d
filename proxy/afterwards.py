"""What can wait until the answers of this turn of the loop are on their way.

No client waits for it then, and it is done for all requests of the turn in a row: the second finds code and data near
that the first had to fetch, where between two requests' other work each would fetch them anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger("pointsman.proxy")


class Afterwards:
    """Calls what it is given in the loop's next turn, in order. It is one loop's, that of who asks first."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[Callable[[], None]] = []

    def do(self, what: Callable[[], None]) -> None:
        """Have `what` called. Whoever waits for the task that says so finds it done."""
        self._waiting.append(what)
        if len(self._waiting) == 1:
            try:
                if self._loop is None:
                    self._loop = asyncio.get_running_loop()  # not each time: it is a system call (getpid) to ask
                self._loop.call_soon(self.now)
            except RuntimeError:  # it has had its last turn
                self.now()

    def now(self) -> None:
        """Call what waits, as before an end: there may be no further turn."""
        waiting, self._waiting = self._waiting, []
        for what in waiting:
            try:
                what()
            except Exception:  # a bug of ours, which must cost no other request its line
                log.exception("what follows a request failed")
