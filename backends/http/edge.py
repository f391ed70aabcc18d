"""The serving half of HTTP: listeners, limits, drain. One handler is called per request with an `Exchange`.

Strategy: aiohttp's connections and hardened parser, without its objects for requests and answers. What the parser
refuses is answered by `malformed`, so that even garbage gets the contract's typed error. A client that goes away
cancels the handler. Bodies are counted against the limit of one request and against one budget for all of them, before
memory is taken. An HTTP/2 preface is answered with GOAWAY and a clean close, since some SDKs open that way over plain
HTTP.

A connection has to earn its place: a head that is not there within `Limits.head_time` is answered 408 and the
connection closed, an idle one is closed, one beyond `Limits.connections` is told 503, and one whose client takes
nothing of what was sent for `Limits.send_time` is dropped by the kernel. All that costs a request nothing: timers are
armed for connections and for heads that come in pieces.

This file, inbound.py and exchange.py are the only importers of aiohttp.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress

from aiohttp import web

from .acceptor import Acceptor, Alone, Crowd, listening_at, seal
from .answer import Answer as Answer
from .answer import lines as lines
from .exchange import BodyTooSlow as BodyTooSlow
from .exchange import Certificate as Certificate
from .exchange import ClientGone as ClientGone
from .exchange import Exchange as Exchange
from .inbound import Handler, Malformed, Server
from .limits import LIMITS, Limits
from .limits import BodyTooLarge as BodyTooLarge
from .limits import BudgetSpent as BudgetSpent
from .limits import ByteBudget as ByteBudget
from .polling import BusyPoll

LINGER = 1.0
"""Seconds for which idle connections stay open when the listener stops; less where the drain time is under 30 s."""


class Listener:
    """One port, at one address or more, with its handler; made, started and stopped inside one loop."""

    def __init__(
        self,
        handler: Handler,
        malformed: Malformed,
        budget: ByteBudget,
        *,
        drain: float = 30.0,
        limits: Limits = LIMITS,
        polling: BusyPoll | None = None,
    ) -> None:
        """`drain`: seconds that requests in flight are given when the listener stops. `polling`: told whenever clients
        send something."""
        server = Server(
            handler,
            malformed,
            budget,
            limits,
            polling,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=limits.idle_time,
            max_line_size=16 * 1024,
            max_field_size=16 * 1024,
            max_headers=128,
        )
        self._server = server
        self._linger = min(LINGER, drain / 30)
        self._acceptor: Acceptor | None = None
        self._own: Sequence[socket.socket] = ()
        self._made: asyncio.Server | None = None
        self._runner = web.ServerRunner(server, shutdown_timeout=drain)

    @property
    def in_flight(self) -> int:
        return self._server.in_flight

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return self._server.open

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen at each address of `host`, and return the bound port (useful with port 0). Raises OSError as
        `listening_at` does."""
        self._own = listening_at(host, port)
        bound = int(self._own[0].getsockname()[1])
        await self.adopt(self._own, Alone(), tls)
        return bound

    async def start_in_loop(self, host: str, port: int) -> int:
        """As `start`, but the loop itself makes the connections: for one whose network is not the system's."""
        await self._runner.setup()
        server = self._made = await asyncio.get_running_loop().create_server(self._server, host, port)
        return int(server.sockets[0].getsockname()[1])

    async def adopt(self, listening: Sequence[socket.socket], crowd: Crowd, tls: ssl.SSLContext | None = None) -> None:
        """Accept from sockets that listen already and that other processes accept from as well.

        They are closed by `stop`; what waits in a queue stays there as long as another process holds it open.
        """
        await self._runner.setup()
        self._acceptor = Acceptor(listening, self._server, lambda: self._server.open, crowd, tls, self._server.limits)
        self._acceptor.start()

    async def stop(self) -> None:
        """Stop accepting, let requests in flight end within the drain time, then cancel them.

        A connection that is kept open between requests is closed after its next answer, which says so, or when there
        was none for a moment: closed at once, it could meet a request that is already on its way.
        """
        if self._made is not None:
            self._made.close()
        for each in self._own:
            seal(each)
        if self._acceptor is not None:
            await self._acceptor.stop()
        self._server.leave(self._linger)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._linger):
                await self._server.empty.wait()
        await self._runner.cleanup()
