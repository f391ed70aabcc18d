"""Listening sockets that outlive whoever accepts from them."""

from __future__ import annotations

import socket

from backends.http.acceptor import listening_at

from ..server import cannot_listen


def listening(host: str, port: int, flag: str) -> list[socket.socket]:
    """Sockets that listen at each address of `host`, all with one port.

    Raises CannotListen with the name of the `flag` that chooses another port.
    """
    try:
        return listening_at(host, port)
    except OSError as error:
        raise cannot_listen(host, port, flag, error) from error


def inherited(descriptor: int) -> socket.socket:
    """A socket that another process left to this one, and that goes to no child by accident. Raises OSError."""
    found = socket.socket(fileno=descriptor)
    found.set_inheritable(False)
    return found
