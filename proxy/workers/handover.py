"""Handing the ports over to a successor: a supervisor of the code that is installed now, without closing a socket.

The old supervisor starts the command that it was started with itself, and leaves it the listening sockets. Then, with
`->` for what the old one says:

    <- Ready      all workers of the new one could serve; none accepts
    -> Yours      the old one hands over: it answers operators no more, and leaves what it has counted
    <- Serving    the new workers accept, and the new supervisor answers operators: now the old ones drain
    -> Counted    the last old worker is gone: what was counted in all

So both accept for a moment, and there is none in which nobody does. A successor that ends or says nothing before
`Serving` has changed nothing, and one that is told `Unwanted` in place of `Yours` has served nobody. A line that ends
without either is one whose supervisor was killed: its successor serves, since nobody else does.

One end may be of a release without `Serving` and `Unwanted`. A successor of that kind serves from its `Ready` on,
so for a moment also when it is given up then. A supervisor of that kind closes the line when it gives up: its successor
serves until SIGTERM comes, a moment later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from .channel import Channel, channel_of
from .memory import NOTHING, Memory
from .messages import Counted, Legacy, Ready, Serving, Unwanted, Yours

log = logging.getLogger("pointsman.workers")

Ports = tuple[Sequence[socket.socket], socket.socket | None]
"""Listening sockets: of clients, one for each address, and of operators where there is an admin port."""

TAKE_OVER = "POINTSMAN_TAKE_OVER"
"""Variable by which a supervisor tells its successor the descriptor of the line between them."""
READY_TIME = 300.0
"""Seconds in which a successor has to be ready: it may have to build environments for handlers."""
SERVE_TIME = 60.0
"""Seconds in which a successor has to serve once it may: it has only to say so to its workers."""
END_TIME = 20.0
"""Seconds that a successor gets to end when it is not wanted, and to hear the last word."""


class CannotSucceed(Exception):
    """There is nothing to take over where this process was told there was; the message says why."""


class NotWanted(Exception):
    """The supervisor that started this one goes on without it."""


class Successor:
    """A supervisor that was started to take over, as the old one sees it."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel, addresses: int = 1) -> None:
        """It was left that many listening sockets for clients."""
        self._addresses = addresses
        self._process = process
        self._channel = channel
        self._waits = True
        self._ends = False
        """It has closed the line in place of saying that it serves."""

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
            if message.addresses == self._addresses:
                self._waits = message.waits
                return True
            log.error(
                "the release that is installed would serve at %d of the %d addresses of --host: name one address there,"
                " or end this process and start that release anew",
                message.addresses,
                self._addresses,
            )
        await self.end()
        return False

    async def take(self, meters: str, seconds: float = SERVE_TIME) -> bool:
        """It may serve now, and the admin port is its own: whether it does. Of one that does not, `gone` is the end."""
        self._channel.tell(Yours(meters))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if not self._waits or isinstance(await self._channel.hear(), Serving):
                    return True
                self._ends = True
        return False

    async def gone(self, seconds: float = SERVE_TIME) -> None:
        """The end of one that does not serve though it might.

        One that has closed the line has `seconds` to end and to say why. One that says nothing is killed: told to end,
        it could seal a port on which the old workers go on. Its workers, which may have been let in, finish what they
        have.
        """
        if self._ends:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._process.wait()
        await self._stop(self._process.kill)
        await self._channel.close()

    async def leave(self, meters: str) -> None:
        """The last word of the old supervisor. One that does not listen keeps nobody from his end."""
        self._channel.tell(Counted(meters))
        with suppress(TimeoutError):
            async with asyncio.timeout(END_TIME):
                await self._channel.close()

    async def end(self) -> None:
        """End it, before it has taken over."""
        self._channel.tell(Unwanted())
        if not await self._stop(self._process.terminate):
            await self._stop(self._process.kill)
        await self._channel.close()  # not before: it waits for one that does not listen

    async def _stop(self, stop: Callable[[], None]) -> bool:
        """Whether it ended in time."""
        with suppress(ProcessLookupError, TimeoutError):
            stop()
            async with asyncio.timeout(END_TIME):
                await self._process.wait()
        return self._process.returncode is not None


async def start_successor(
    command: Sequence[str],
    variables: Mapping[str, str],
    ports: Ports,
    generation: int,
    memory: Memory = NOTHING,
) -> Successor:
    """Start `command` and leave it the listening sockets `ports`, of clients and operators, and the memory that workers
    share. Raises OSError."""
    ours, theirs = socket.socketpair()
    clients, operators = [port.fileno() for port in ports[0]], ports[1].fileno() if ports[1] is not None else -1
    admin = [operators] if operators >= 0 else []
    with theirs:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *clients, *admin, *memory.descriptors],
                env={**variables, TAKE_OVER: str(theirs.fileno())},
            )
        except BaseException:
            ours.close()
            raise
    channel = await channel_of(ours)
    channel.tell(Legacy(clients[0], operators, generation, memory.replays, tuple(clients[1:]), memory.quotas))
    return Successor(process, channel, len(clients))


def own_command() -> list[str]:
    """The command line of this process, with the same interpreter: what is installed there now is what runs."""
    return [sys.executable, *sys.orig_argv[1:]]


class Predecessor:
    """The supervisor that this one was started to succeed."""

    def __init__(self, legacy: Legacy, channel: Channel) -> None:
        self.legacy = legacy
        self._channel = channel

    async def turn(self, label: str) -> str | None:
        """Say that we could serve, and wait for our turn; returns what was counted until then, None if it was killed.

        Raises NotWanted.
        """
        self._channel.tell(Ready(label, waits=True, addresses=1 + len(self.legacy.also)))
        message = await self._channel.hear()
        if isinstance(message, Unwanted):
            raise NotWanted
        return message.meters if isinstance(message, Yours) else None

    def serves(self) -> None:
        """Say that we serve, so that it may go."""
        self._channel.tell(Serving())

    async def fail(self) -> None:
        """Say that we do not serve: it goes on."""
        await self._channel.close()

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
