"""One end of the line between two of our processes: whole messages, in order, over a socket pair.

Telling never waits: what the other end does not read piles up here, and when that is too much the line is closed, as it
is for garbage. A closed line, also one whose process was killed, ends `hear` with None.
"""

from __future__ import annotations

import asyncio
import logging
import socket

from .messages import Message, MessageError, decoded, encoded

log = logging.getLogger("pointsman.workers")

LONGEST = 64 * 1024 * 1024
"""Bytes of one message; the longest are policies (4 MiB from S3) and snapshots of meters (about 1 MiB)."""
UNREAD = 64 * 1024 * 1024
"""Bytes that wait for the other end to read before the line counts as dead."""


class Channel:
    """Sends and receives messages. Made with `channel_of`, in the loop that uses it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def behind(self) -> bool:
        """Whether the other end has not read yet what it was told."""
        return self._writer.transport.get_write_buffer_size() > 0

    def tell(self, message: Message) -> None:
        """Send a message. Nothing happens when the line is closed."""
        if self._writer.is_closing():
            return
        data = encoded(message)
        self._writer.write(len(data).to_bytes(4, "big") + data)
        if self._writer.transport.get_write_buffer_size() > UNREAD:
            log.error("a process of ours does not read what it is told: its line is closed")
            self._writer.transport.abort()

    async def hear(self) -> Message | None:
        """The next message; None when the line is closed."""
        try:
            size = int.from_bytes(await self._reader.readexactly(4), "big")
            return decoded(await self._reader.readexactly(size) if size <= LONGEST else b"")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        except MessageError as error:
            log.error("a process of ours says what can't be understood (%s): its line is closed", error)  # noqa: TRY400
            self._writer.transport.abort()
            return None

    async def close(self) -> None:
        """Send what was told and close."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return


async def channel_of(connected: socket.socket) -> Channel:
    """The channel over one end of a socket pair, which it closes in the end."""
    connected.setblocking(False)
    return Channel(*await asyncio.open_unix_connection(sock=connected))
