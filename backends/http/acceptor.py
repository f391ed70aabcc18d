"""Accepting from listening sockets that several processes share, so that each gets its part of the connections.

The kernel wakes every process that waits for a shared socket, and the quickest takes what is there: measured with
uvloop 0.22 and two processes, 60 of 64 connections went to one. As connections live long (SDKs pool them), that stays.
So one connection is taken at a time, and a process that has more than its part stands back for a moment first. A
process that is busy or gone keeps nobody waiting: whoever stood back once takes the next connection anyway.

Who closes a socket last resets what is still in its queue, and a connection may arrive between the last look and the
close. So that process seals the socket first (`seal`).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import struct
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Protocol

from ..tasks import start
from .limits import LIMITS, Limits

log = logging.getLogger("pointsman.edge")

BACKLOG = 1024
"""Connections that may wait in a queue."""
STAND_BACK = 0.001
"""Seconds for which another process may take the next connection."""
EXHAUSTED = 0.5
"""Seconds without accepting when descriptors or memory have run out, as asyncio's own server does."""
HANDSHAKES = 2.0
"""Seconds that a handshake has from its beginning, once accepting stops: at half a second from client to server, and
with a packet lost, one that goes on is over by then. Who hangs in one holds no request."""
AT_LEAST = 0.25
"""Seconds that it has from then on all the same: what came while this process stood still is to be read."""
SEARCHES = 8
"""Ports that are looked at when any will do, and it has to be free at several addresses."""

_NOT_OURS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""An address that this machine has not: names have ::1 also where IPv6 is off."""

_ATTACH_FILTER = 26
"""SO_ATTACH_FILTER, which Python does not name: Linux, socket(7)."""
_KEEP_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)
"""The program `ret #0` of Linux's packet filter: no packet passes. networking/filter.rst"""


Place = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]
"""A family and an address of it, as the system's calls take them."""


def places_of(host: str) -> list[Place]:
    """The addresses of `host`, without one at all. Raises OSError where there is none."""
    found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]  # TCP has no other addresses


def listening_at(host: str, port: int, places: Callable[[str], Sequence[Place]] = places_of) -> list[socket.socket]:
    """Sockets that listen at every address of `host`, all with one port; at least one.

    Addresses that this machine has not are left out as long as there is another. Raises OSError when a port can't be
    had; its `filename` is the address where that was.
    """
    found = list(dict.fromkeys(places(host)))
    left = 1 if port else SEARCHES
    while True:
        left -= 1
        try:
            return _at_one_port(found, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not left:
                raise


def _at_one_port(places: Sequence[Place], port: int) -> list[socket.socket]:
    absent: list[OSError] = []
    with ExitStack() as opened:
        held = []
        for family, (address, _, *scope) in places:
            try:
                one = socket.create_server((address, port, *scope), family=family, backlog=BACKLOG)
            except OSError as error:
                error.filename = address
                if error.errno not in _NOT_OURS:
                    raise
                absent.append(error)
            else:
                held.append(opened.enter_context(one))
                port = one.getsockname()[1]
        if not held:
            raise absent[0]
        opened.pop_all()
    for each in absent:
        log.warning("not listening at %s, which this machine has not", each.filename)
    return held


def seal(listening: socket.socket) -> None:
    """Let nobody join the queue of a socket that is about to be closed for good, in no process that holds it.

    Whoever waits in it can then be served to the last one. A client that comes now hears nothing and knocks again in
    about a second (TCP's first wait): it is refused then, or finds who has the port next. Where the system has no such
    filter nothing changes.
    """
    program = array("B", _KEEP_NOTHING)
    with suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", 1, program.buffer_info()[0]))


class Crowd(Protocol):
    """How the processes that share a listening socket divide its connections."""

    def mine(self, connections: int) -> bool:
        """Whether the next connection is for this process, which has so many."""
        ...


class Alone:
    """For a socket that one process accepts from: every connection is its own."""

    def mine(self, connections: int) -> bool:
        """Always."""
        return True


class Acceptor:
    """Takes connections of some sockets, from `start` to `stop`, in one event loop."""

    def __init__(
        self,
        listening: Sequence[socket.socket],
        protocol: Callable[[], asyncio.Protocol],
        connections: Callable[[], int],
        crowd: Crowd,
        tls: ssl.SSLContext | None,
        limits: Limits = LIMITS,
        stand_back: float = STAND_BACK,
    ) -> None:
        """`connections` says how many are open; `listening` are closed by `stop`; `stand_back`: see STAND_BACK.

        A TLS handshake has the time of a head, and one that would be one connection too many is not begun.
        """
        for each in listening:
            each.setblocking(False)
        self._listening = tuple(listening)
        self._protocol = protocol
        self._connections = connections
        self._crowd = crowd
        self._tls = tls
        self._limits = limits
        self._stand_back = stand_back
        self._loop = asyncio.get_running_loop()
        self._arriving: dict[asyncio.Task[None], float] = {}  # with when it began
        self._pause: asyncio.TimerHandle | None = None
        self._stood_back = False

    def start(self) -> None:
        """Begin to accept."""
        self._wait()

    async def stop(self, handshakes: float = HANDSHAKES) -> None:
        """Take what waits in the queues at this moment, and nothing after it.

        TLS handshakes under way are given so many seconds from their beginning, and a moment from now: one that a
        client lets hang must not hold up the end.
        """
        self._rest()
        for each in self._listening:
            while self._take(each):
                pass
        if self._pause is not None:
            self._pause.cancel()
        for each in self._listening:
            each.close()
        soon, arriving = self._loop.time() + AT_LEAST, self._arriving
        await _ended([task for task, began in arriving.items() if began + handshakes <= soon], soon)
        await _ended(list(arriving), max(arriving.values(), default=0.0) + handshakes)

    def _wait(self) -> None:
        self._pause = None
        for each in self._listening:
            self._loop.add_reader(each.fileno(), self._come, each)

    def _rest(self) -> None:
        for each in self._listening:
            self._loop.remove_reader(each.fileno())

    def _later(self, seconds: float) -> None:
        self._rest()
        self._pause = self._loop.call_later(seconds, self._wait)

    def _come(self, listening: socket.socket) -> None:
        if not self._stood_back and not self._crowd.mine(self._connections() + len(self._arriving)):
            self._stood_back = True
            self._later(self._stand_back)
            return
        self._stood_back = False
        self._take(listening)

    def _take(self, listening: socket.socket) -> bool:
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # another was quicker, or the client left
            return False
        except OSError as error:
            log.warning("no connection can be accepted: %s", error.strerror)
            if self._pause is None:
                self._later(EXHAUSTED)
            return False
        if self._tls is not None and self._connections() + len(self._arriving) >= self._limits.connections:
            connection.close()  # it could not be told why but by a handshake
            return True
        task = start(self._hand_over(connection), name="connection-arrives")
        self._arriving[task] = self._loop.time()
        task.add_done_callback(self._arriving.pop)
        return True

    async def _hand_over(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        patience = self._limits.head_time if self._tls is not None else None
        try:
            await self._loop.connect_accepted_socket(
                self._protocol, connection, ssl=self._tls, ssl_handshake_timeout=patience
            )
        except OSError as error:  # TLS that did not come about, or a client that left
            log.debug("a connection did not come about: %s", error)
            connection.close()


async def _ended(tasks: Sequence[asyncio.Task[None]], until: float) -> None:
    """Returns when they are over, or at `until` on the loop's clock: what is under way then is cancelled."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=max(until - asyncio.get_running_loop().time(), 0.0))
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
