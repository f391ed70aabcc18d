"""The process of one worker. Its supervisor starts it; the line to it is standard input."""

from __future__ import annotations

import faulthandler
import functools
import logging
import os
import socket
import sys
from contextlib import suppress

import uvloop

from ..settings import environment
from .channel import channel_of
from .messages import WHERE
from .orphan import leave_after
from .worker import work

_STANDARD = 2
"""The last of the descriptors that every process has."""


def main() -> int:
    """Serve until told otherwise; returns the exit code."""
    number = sys.argv[1] if len(sys.argv) > 1 else "?"
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format=f"%(levelname)s %(name)s: worker {number}: %(message)s"
    )
    logging.getLogger("botocore").setLevel(logging.WARNING)  # it tells where it found credentials, whenever it does
    faulthandler.register(WHERE)  # names of files and functions, no values; also where Python's lock is never let go of
    _keep()
    try:
        line = _line()
    except OSError:
        print("a worker is started by its supervisor: run `pointsman serve --workers N`", file=sys.stderr)  # noqa: T201 - it has no log
        return 2
    return uvloop.run(_work(line))


async def _work(line: socket.socket) -> int:
    orphaned = functools.partial(leave_after, line.fileno())
    return await work(await channel_of(line), environment(), orphaned)


def _keep() -> None:
    """What the supervisor has left to this process goes to none of its children: a handler's process, or what a
    customer's code starts there, would hold the port beyond the end of all of us. uvloop leaves a copy of the line to
    the supervisor as well, whose number nobody knows."""
    with suppress(OSError):  # where there is no /proc
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the one by which they were listed
                os.set_inheritable(int(name), int(name) <= _STANDARD)


def _line() -> socket.socket:
    """The line to the supervisor, moved away from standard input, which is nobody's then."""
    line = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return line


if __name__ == "__main__":
    sys.exit(main())
