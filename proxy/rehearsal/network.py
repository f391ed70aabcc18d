"""Connections within one loop: two transports that hand each other bytes, with the flow control of sockets.

Promises: bytes arrive in the loop's next turn, whole and in order; a side that does not read makes the other's writes
wait past `HIGH` bytes; `close` lets what was written arrive first, `abort` drops it and breaks the other side.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable
from typing import Any, cast

HIGH = 64 * 1024
"""Bytes that may wait unread before the writer is paused: asyncio's own mark."""
FIRST_FREE = 49_152
"""Where the ports start that are given to who asks for any (RFC 6335)."""


class _Socket:
    """What some ask of the socket below a transport. There is none: it has no descriptor, and takes every option."""

    family = socket.AF_UNIX

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    def fileno(self) -> int:
        return -1

    def setsockopt(self, *_: object) -> None:
        return

    def getsockname(self) -> tuple[str, int]:
        return self._address


class Server:
    """A listening port, as far as who listens asks of one."""

    def __init__(self, address: tuple[str, int], forget: Callable[[int], None]) -> None:
        self.sockets = (_Socket(address),)
        self._port = address[1]
        self._forget = forget

    def close(self) -> None:
        self._forget(self._port)

    async def wait_closed(self) -> None:
        return


class Network:
    """The ports of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._listening: dict[int, Callable[[], asyncio.Protocol]] = {}
        self._free = FIRST_FREE

    def listen(self, factory: Callable[[], asyncio.Protocol], host: str, port: int) -> Server:
        """Listen. Raises OSError when the port is taken."""
        if not port:
            port, self._free = self._free, self._free + 1
        if port in self._listening:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        self._listening[port] = factory
        return Server((host, port), self._forget)

    def _forget(self, port: int) -> None:
        self._listening.pop(port, None)

    def connect(self, factory: Callable[[], asyncio.Protocol], port: int) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """A connection, open on both sides. Raises ConnectionRefusedError."""
        served = self._listening.get(port)
        if served is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        near, far = factory(), served()
        here, there = _End(self._loop, near), _End(self._loop, far)
        here.peer, there.peer = there, here
        far.connection_made(there)
        near.connection_made(here)
        return here, near


class _End(asyncio.Transport):
    """One side of a connection."""

    peer: _End

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__({"socket": _Socket(("127.0.0.1", 0)), "peername": ("127.0.0.1", 0)})
        self._loop = loop
        self._protocol = protocol
        self._inbox: list[bytes] = []
        self._size = 0
        self._ended = False
        """The other side writes no more."""
        self._closing = False
        self._lost = False
        self._reading = True
        self._called = False
        self._holds = False
        """The other side's writes are paused."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._call()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def get_write_buffer_size(self) -> int:
        return self.peer._size

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if data and not self._closing:
            self.peer._take(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self.peer._ended = True
        self.peer._call()
        self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lose, None)
        if not self.peer._lost:
            self.peer._closing = True
            self._loop.call_soon(self.peer._lose, ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def _take(self, data: bytes) -> None:
        if self._lost:
            return
        self._inbox.append(data)
        self._size += len(data)
        if self._size > HIGH and not self._holds:
            self._holds = True
            self.peer._protocol.pause_writing()
        self._call()

    def _call(self) -> None:
        if not self._called and self._reading and (self._inbox or self._ended):
            self._called = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._called = False
        if self._closing or not self._reading:
            return
        if self._inbox:
            data = self._inbox[0] if len(self._inbox) == 1 else b"".join(self._inbox)
            self._inbox.clear()
            self._size = 0
            self._protocol.data_received(data)
            if self._holds and not self._size:
                self._holds = False
                if not self.peer._lost:
                    self.peer._protocol.resume_writing()
        if self._ended and not self._size and self.is_reading():  # it may have been closed by what it read
            self._protocol.eof_received()
            self.close()

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._inbox.clear()
        self._protocol.connection_lost(error)
