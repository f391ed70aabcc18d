"""Listening sockets that outlive whoever accepts from them."""

from __future__ import annotations

import socket

from ..server import cannot_listen

BACKLOG = 1024
"""Connections that may wait for a worker, as the single process has it."""


def listening(host: str, port: int, flag: str) -> socket.socket:
    """A socket that listens. Raises CannotListen with the name of the `flag` that chooses another port."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((str(address[0]), port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise cannot_listen(host, port, flag, error) from error


def inherited(descriptor: int) -> socket.socket:
    """A socket that another process left to this one, and that goes to no child by accident. Raises OSError."""
    found = socket.socket(fileno=descriptor)
    found.set_inheritable(False)
    return found
