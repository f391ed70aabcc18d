"""TCP's own probes, on connections that are silent for as long as a model thinks.

Balancers and address translators forget a connection on which nothing moves (AWS's after 350 s) and drop what comes
later, and a machine that is gone says nothing: without probes who waits for an answer waits to its deadline, and the
request keeps its place at the target for as long. Linux sends the first after two hours by itself.
"""

from __future__ import annotations

import socket
from contextlib import suppress

IDLE = 15
"""Seconds of silence before the first probe."""
INTERVAL = 5
"""Seconds to the next, while none is answered."""
LOST = 3
"""Probes in a row that nobody answers, after which the connection is lost: 30 s after the peer's last word."""


def probe(raw: socket.socket) -> None:
    """Let the kernel look after a connection: one whose peer is gone ends with an error, one that waits stays known."""
    with suppress(OSError):  # not a TCP socket
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, LOST)
