"""Handing the ports over to a successor: a supervisor of the code that is installed now, without closing a socket.

The old supervisor starts the command that it was started with itself, and leaves it the listening sockets. The new one
starts its workers; once all of them could serve it says so, and they accept beside the old ones, which drain then. A
successor that ends or says nothing before that has changed nothing. What was counted goes over with the admin port, and
once more when the last old worker is gone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from .channel import Channel, channel_of
from .messages import Counted, Legacy, Ready, Yours

log = logging.getLogger("pointsman.workers")

TAKE_OVER = "POINTSMAN_TAKE_OVER"
"""Variable by which a supervisor tells its successor the descriptor of the line between them."""
READY_TIME = 300.0
"""Seconds in which a successor has to be ready: it may have to build environments for handlers."""
END_TIME = 20.0
"""Seconds that a successor gets to end when it is not wanted."""


class CannotSucceed(Exception):
    """There is nothing to take over where this process was told there was; the message says why."""


class Successor:
    """A supervisor that was started to take over, as the old one sees it."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self._process = process
        self._channel = channel

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self, seconds: float = READY_TIME) -> bool:
        """Whether it could serve; one that could not has ended."""
        message = None
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                message = await self._channel.hear()
        if isinstance(message, Ready):
            return True
        await self.end()
        return False

    def take(self, meters: str) -> None:
        """The admin port is its own now."""
        self._channel.tell(Yours(meters))

    async def leave(self, meters: str) -> None:
        """The last word of the old supervisor."""
        self._channel.tell(Counted(meters))
        await self._channel.close()

    async def end(self) -> None:
        """End it, before it has taken over."""
        await self._channel.close()
        for stop in (self._process.terminate, self._process.kill):
            with suppress(ProcessLookupError, TimeoutError):
                stop()
                async with asyncio.timeout(END_TIME):
                    await self._process.wait()
                    return


async def start_successor(
    command: Sequence[str],
    variables: Mapping[str, str],
    ports: tuple[socket.socket, socket.socket | None],
    generation: int,
    replays: int = -1,
) -> Successor:
    """Start `command` and leave it the listening sockets `ports`, of clients and operators, and the memory of
    signatures. Raises OSError."""
    ours, theirs = socket.socketpair()
    left = [port.fileno() for port in ports if port is not None]
    memory = [replays] if replays >= 0 else []
    with theirs:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *left, *memory],
                env={**variables, TAKE_OVER: str(theirs.fileno())},
            )
        except BaseException:
            ours.close()
            raise
    channel = await channel_of(ours)
    channel.tell(Legacy(left[0], left[1] if len(left) > 1 else -1, generation, replays))
    return Successor(process, channel)


def own_command() -> list[str]:
    """The command line of this process, with the same interpreter: what is installed there now is what runs."""
    return [sys.executable, *sys.orig_argv[1:]]


class Predecessor:
    """The supervisor that this one was started to succeed."""

    def __init__(self, legacy: Legacy, channel: Channel) -> None:
        self.legacy = legacy
        self._channel = channel

    async def took(self, label: str) -> str | None:
        """Say that we serve, and wait for our turn; returns what was counted until then, None if it just ended."""
        self._channel.tell(Ready(label))
        message = await self._channel.hear()
        return message.meters if isinstance(message, Yours) else None

    async def counted(self) -> str | None:
        """What it has counted in all, once it has ended; None when it does not say."""
        message = await self._channel.hear()
        await self._channel.close()
        return message.meters if isinstance(message, Counted) else None


async def predecessor_of(variables: Mapping[str, str]) -> Predecessor | None:
    """Whom this process succeeds; None where it was started by nobody of our kind. Raises CannotSucceed."""
    told = variables.get(TAKE_OVER)
    if told is None:
        return None
    try:
        line = socket.socket(fileno=int(told))
        line.set_inheritable(False)
    except (ValueError, OSError) as error:
        msg = f"{TAKE_OVER}={told} is no line to another supervisor; it is not for you to set: unset {TAKE_OVER}"
        raise CannotSucceed(msg) from error
    channel = await channel_of(line)
    legacy = await channel.hear()
    if not isinstance(legacy, Legacy):
        await channel.close()
        msg = "the supervisor that started this one ended before it could leave anything"
        raise CannotSucceed(msg)
    return Predecessor(legacy, channel)


def alone(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of children: what was for this process alone is not in it."""
    return {name: value for name, value in variables.items() if name != TAKE_OVER}


def is_first_process() -> bool:
    """Whether everything ends with this process, as in a container: then nobody can succeed it."""
    return os.getpid() == 1
