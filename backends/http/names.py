"""Where a name leads: each is looked up once at a time, however many ask.

A look-up holds one of a loop's few threads (uvloop has four) until the system's resolver gives up, and cannot be called
off. So a name whose server is silent would hold all of them for as long as it is asked for, and no other name would
be found meanwhile. Who comes while it is looked up waits for that answer; nothing is remembered beyond it.
"""

from __future__ import annotations

import asyncio
import socket

from ..tasks import start

Where = tuple[str, int]


class Names:
    """The names that are being looked up in one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked: dict[Where, asyncio.Task[list[str]]] = {}

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of `host`, the one to try first at the beginning. Raises socket.gaierror where it has none."""
        where = host, port
        asked = self._asked.get(where)
        if asked is None:
            asked = self._asked[where] = start(self._looked_up(host, port), name="look-up")
            asked.add_done_callback(lambda over: self._over(where, over))
        await asyncio.wait({asked})
        return asked.result()

    def close(self) -> None:
        """Wait for no answer any more."""
        for asked in self._asked.values():
            asked.cancel()

    async def _looked_up(self, host: str, port: int) -> list[str]:
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(place[0]) for *_, place in found]

    def _over(self, where: Where, asked: asyncio.Task[list[str]]) -> None:
        del self._asked[where]
        if not asked.cancelled():
            asked.exception()  # who asked may have left
