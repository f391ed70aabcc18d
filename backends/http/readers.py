"""Clients that read slowly, told from those that do not read.

The kernel drops a connection once what was sent has waited for so long (TCP_USER_TIMEOUT), and counts from the moment
in which it could not send all that it has. A client whose window is tiny never takes all, so it would be dropped though
it reads. So while an answer waits for its client it is looked at a few times in that span whether the client has taken
enough in between, and if so the kernel is given as much time again. Where nothing can be asked of it nothing is done.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

LEAST = 256
"""Bytes a second that count as reading: one that takes less keeps an answer in our memory and is not waited for."""
LOOKS = 4
"""In the time for which nothing may be taken."""
_ACKED = struct.Struct("Q")
_ACKED_AT = 120
"""Where Linux has `tcpi_bytes_acked` in its tcp_info, since 4.1."""


class Reader:
    """One client's reading, while it is waited for."""

    __slots__ = ("_acked", "_handle", "_loop", "_raw", "_send_time", "_since")

    def __init__(self, loop: asyncio.AbstractEventLoop, raw: socket.socket, send_time: float) -> None:
        self._loop = loop
        self._raw = raw
        self._send_time = send_time
        self._since = loop.time()
        self._acked = self._taken()
        self._handle = loop.call_later(send_time / LOOKS, self._look)

    def caught_up(self) -> None:
        """It is not waited for any more: from now on it has the usual time again."""
        self._handle.cancel()
        self._allow(self._send_time)

    def gone(self) -> None:
        """Its connection is closed."""
        self._handle.cancel()

    def _look(self) -> None:
        before, self._acked = self._acked, self._taken()
        if self._acked - before >= LEAST * self._send_time / LOOKS:
            self._allow(self._loop.time() - self._since + self._send_time)
        self._handle = self._loop.call_later(self._send_time / LOOKS, self._look)

    def _taken(self) -> int:
        with suppress(OSError, struct.error):
            told = self._raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED_AT + _ACKED.size)
            return int(_ACKED.unpack_from(told, _ACKED_AT)[0])
        return 0

    def _allow(self, seconds: float) -> None:
        with suppress(OSError):
            self._raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
