"""Upstreams that follow a script to the byte: they answer in pieces, stop where told to, and hang, close or reset.

Blocking sockets and a thread a connection, because nothing else gives the same hold on what goes over the wire when.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

LONGEST_WAIT = 120.0
"""Bound for every wait on a socket: a script never outlives its test for long."""


class Wire:
    """One connection that came in."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = bytearray()

    def head(self) -> bytes:
        """Read the request's head, up to and with the blank line."""
        while b"\r\n\r\n" not in self._received:
            self._more()
        end = self._received.index(b"\r\n\r\n") + 4
        head = bytes(self._received[:end])
        del self._received[:end]
        return head

    def body(self, size: int) -> bytes:
        """Read `size` bytes of the request's body."""
        while len(self._received) < size:
            self._more()
        body = bytes(self._received[:size])
        del self._received[:size]
        return body

    def request(self) -> tuple[bytes, bytes]:
        """Read the whole request: head and body."""
        head = self.head()
        return head, self.body(content_length(head))

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._connection.sendall(data)

    def close(self) -> None:
        """End the connection as a process that exits does."""
        # With unread bytes a plain close would reset, and the other side could lose what was sent before.
        self._connection.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with RST, as a machine that forgot it does."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()

    def hang(self) -> None:
        """Say nothing until the other side has gone."""
        with contextlib.suppress(OSError):
            while self._connection.recv(65536):
                pass

    def _more(self) -> None:
        data = self._connection.recv(65536)
        if not data:
            raise ConnectionError("the other side closed before it had sent what the script waits for")
        self._received += data


Script = Callable[[Wire], None]


def content_length(head: bytes) -> int:
    """The Content-Length that a head declares; 0 without one."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _close_at_once(wire: Wire) -> None:
    wire.close()


@dataclass(slots=True)
class Upstream:
    """A listener on loopback whose every connection runs `script` once."""

    port: int
    script: Script = _close_at_once
    connections: int = 0
    """How many came since the script was set."""
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def play(self, script: Script) -> None:
        """Run `script` for every connection from now on."""
        self.script, self.connections = script, 0


@contextlib.contextmanager
def running_upstream() -> Iterator[Upstream]:
    """An upstream on a free port until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    upstream = Upstream(listener.getsockname()[1])
    accepting = threading.Thread(target=_accept, args=(listener, upstream), name="upstream-accept")
    accepting.start()
    try:
        yield upstream
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join(LONGEST_WAIT)
        listener.close()
        for thread in upstream._threads:
            thread.join(LONGEST_WAIT)


def _accept(listener: socket.socket, upstream: Upstream) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        upstream.connections += 1
        thread = threading.Thread(target=_play, args=(connection, upstream.script), name="upstream-connection")
        upstream._threads.append(thread)
        thread.start()


def _play(connection: socket.socket, script: Script) -> None:
    connection.settimeout(LONGEST_WAIT)
    wire = Wire(connection)
    # What breaks here is seen by the proxy, which is what the test looks at.
    with contextlib.suppress(OSError):
        script(wire)
        wire.hang()
    connection.close()
