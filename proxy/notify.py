"""A word to systemd: that we are ready, and which process is the main one after an upgrade (sd_notify(3)).

Where nobody listens, nothing happens: this is never a reason not to serve.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping

log = logging.getLogger("pointsman.server")


def notify(variables: Mapping[str, str], *words: str) -> None:
    """Send `words`, e.g. `READY=1`, to the socket that `NOTIFY_SOCKET` names: a path, or an abstract one after `@`."""
    where = variables.get("NOTIFY_SOCKET")
    if not where:
        return
    address = "\0" + where[1:] if where.startswith("@") else where
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.sendto("\n".join(words).encode(), address)
    except OSError as error:
        log.warning("the service manager can't be told %s: %s", words[0], error.strerror)
