"""One warmer per fleet, and one controller: a duty that one process holds at a time, by a lease in the shared state.

`hold` is called often; it asks the store only when a third of the period has passed, so that a holder has two more
tries before it loses the duty. A holder that is killed is followed after one period and a third at most. A holder that
can't reach the store keeps the duty until its lease has run out by its own clock, and not a moment longer: another may
have it then. Without a store every process warms for itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from backends.state import Lease, Store, StoreError

log = logging.getLogger("pointsman.warm")

PERIOD = 15.0
"""Seconds that a lease holds."""
NAME = "warmer"


class Duty:
    """This process's part in the fleet's one warmer."""

    def __init__(
        self, store: Store, holder: str, wall: Callable[[], float], period: float = PERIOD, name: str = NAME
    ) -> None:
        """`holder` is a name that no other process has; `wall` gives seconds since 1970."""
        self._store = store
        self._holder = holder
        self._wall = wall
        self._lease: Lease | None = None
        self._asked = float("-inf")
        self._lost = False
        self._name = name
        self.period = period

    @property
    def look(self) -> float:
        """Seconds between two calls of `hold` that keep the promises above."""
        return self.period / 3

    @property
    def lost(self) -> bool:
        """Whether the store could not be reached when it was last asked."""
        return self._lost

    async def hold(self) -> int | None:
        """The token of the duty, renewed when that is due; None while another has it, or nobody can be asked."""
        asked = self._wall()
        if asked - self._asked >= self.look or asked < self._asked:
            self._asked = asked
            try:
                self._lease = await self._store.take(self._name, self._holder, asked, self.period)
                self._lost = False
            except StoreError as error:
                if not self._lost:
                    log.warning("the lease of the duty %s can't be renewed: %s", self._name, error)
                self._lost = True
        if self._lease is None or self._wall() >= self._lease.expires:
            return None
        return self._lease.token

    async def release(self) -> None:
        """Let another take the duty at once. A store that can't be reached is left to the lease's end."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            await self._store.release(lease)
        except StoreError as error:
            log.warning("the lease of the duty %s can't be released: %s", self._name, error)
