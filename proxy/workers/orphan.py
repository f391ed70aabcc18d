"""The end of a worker whose supervisor is gone, also of one whose event loop stands.

A worker that serves finds the line closed and drains by itself. One that stands in a handler, or in its loading, finds
nothing, and holds the listening socket for ever: whoever is started next could not have the port. So a thread waits at
the line as well, and ends the process when the drain time is over. It costs nothing while it waits. A worker that never
lets go of Python's lock keeps this thread waiting, too: that one has to be killed by hand.
"""

from __future__ import annotations

import os
import select
import threading

LEAVE = 10.0
"""Seconds beyond the drain time: TLS handshakes and what is closed after the last request take a few."""
CODE = 3
"""Exit code of a process that had to be ended so."""


def leave_after(line: int, seconds: float) -> None:
    """End this process `seconds` after the other end of `line`, a descriptor, was closed, whatever it does then."""
    threading.Thread(target=_wait, args=(line, seconds), name="supervisor-gone", daemon=True).start()


def _wait(line: int, seconds: float) -> None:
    poll = select.poll()
    poll.register(line, 0)  # nothing to be read: a line that is closed is told of unasked
    poll.poll()
    threading.Event().wait(seconds)
    os.write(2, b"ERROR pointsman.worker: the supervisor is gone, and this worker does not end by itself: ended\n")
    os._exit(CODE)  # not `sys.exit`: the main thread is what stands
