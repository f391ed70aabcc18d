"""Sockets that listen, and those that were left to us."""

from __future__ import annotations

import os
import socket

import pytest

from proxy.server import CannotListen
from proxy.workers.sockets import inherited, listening


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_free_port_is_had(host: str) -> None:
    """And takes connections from then on, before anybody accepts one."""
    for server in listening(host, 0, "--port"):
        with server, socket.create_connection(server.getsockname()[:2], 60):
            assert server.getsockname()[1] > 0


def test_a_port_in_use_names_its_flag() -> None:
    """One line says what to do."""
    with listening("127.0.0.1", 0, "--port")[0] as server:
        port = server.getsockname()[1]
        with pytest.raises(CannotListen, match=f"127.0.0.1:{port} .*in use.* with --admin-port"):
            listening("127.0.0.1", port, "--admin-port")


def test_an_inherited_socket_goes_to_no_further_child() -> None:
    """A customer's handler, for one, would hold the port open for ever."""
    with listening("127.0.0.1", 0, "--port")[0] as server:
        descriptor = os.dup(server.fileno())
        os.set_inheritable(descriptor, True)
        with inherited(descriptor) as found:
            assert found.getsockname() == server.getsockname()
            assert not found.get_inheritable()
    with pytest.raises(OSError, match="Bad file"):
        inherited(descriptor)
