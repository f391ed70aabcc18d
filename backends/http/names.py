"""Where a name leads: each is looked up once at a time, however many ask.

A look-up holds one of a loop's threads (uvloop has four, unless it is told otherwise before it needs the first) until
the system's resolver gives up, and cannot be called off. So a name whose server is silent would hold all of them for
as long as it is asked for, and no other name would be found meanwhile. Who comes while it is looked up waits for that
answer; nothing is remembered beyond it.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from ..tasks import start

Where = tuple[str, int]
Place = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]]
"""As `getaddrinfo` has it: the last is the address."""


THREADS: Final = ("UV_THREADPOOL_SIZE", "32")
"""By this variable uvloop is told how many names may be looked up at once (libuv's guide, "Thread pool work
scheduling"); a thread without work takes a few pages of memory."""


class Names:
    """The names that are being looked up in one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked: dict[Where, asyncio.Task[list[Place]]] = {}

    async def places(self, host: str, port: int) -> list[Place]:
        """Where `host` is, the one to try first at the beginning. Raises socket.gaierror where it has none."""
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

    async def _looked_up(self, host: str, port: int) -> list[Place]:
        return await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)  # type: ignore[return-value] # of TCP

    def _over(self, where: Where, asked: asyncio.Task[list[Place]]) -> None:
        del self._asked[where]
        if not asked.cancelled():
            asked.exception()  # who asked may have left
