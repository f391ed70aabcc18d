"""A worker as its supervisor sees it: a process, the line to it, and what it last said."""

from __future__ import annotations

import asyncio
import itertools
import mmap
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from .channel import Channel, channel_of
from .messages import (
    WHERE,
    Answered,
    Changed,
    Facts,
    Failed,
    Kept,
    Loading,
    Message,
    NewPolicy,
    Question,
    Ready,
    Told,
    Verdict,
)

T = TypeVar("T")

ENDED = "ended"
"""What a ChildGone says where nothing more is known."""
PAGE = mmap.PAGESIZE
NOTHING_YET = Facts(0, 0, 0, 0.0, 0, 0, None, None)


class ChildGone(Exception):
    """The worker ended, or its line is closed; the message says how, as far as it is known."""


class Process(Protocol):
    """What is needed of `asyncio.subprocess.Process`."""

    pid: int

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        ...

    async def wait(self) -> int:
        """The exit code, negative for a signal."""
        ...

    def kill(self) -> None:
        """End it at once. Raises ProcessLookupError when it is over."""
        ...

    def send_signal(self, signal: int) -> None:
        """Raises ProcessLookupError when it is over."""
        ...


class Child:
    """One worker, from its start to its end. `listen` runs as long as the line is open."""

    def __init__(self, process: Process, channel: Channel, kept: dict[str, str] | None = None) -> None:
        """`kept` is brought up to date with what the worker says that the door's files hold."""
        self.process = process
        self._kept = kept if kept is not None else {}
        self.facts = NOTHING_YET
        self.meters: str | None = None
        """The last snapshot of its meters."""
        self.label = ""
        """The policy that it has in force."""
        self.silent = 0
        """Looks since it last said anything; whoever looks counts."""
        self.loading: str | None = None
        """What it last said that it loads."""
        self.fault: str | None = None
        """Why it is about to be killed, unless it speaks."""
        self.changed: Callable[[list[str]], None] = lambda versions: None
        """Told which versions of handlers' files the worker would put in force."""
        self._channel = channel
        self._ids = itertools.count(1)
        self._over: str | None = None
        self._ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._verdict: asyncio.Future[Verdict] | None = None
        self._asked: dict[int, asyncio.Future[Facts | Answered]] = {}

    def tell(self, message: Message) -> None:
        """Send a message that has no answer."""
        self._channel.tell(message)

    async def ready(self) -> str:
        """The label of the policy with which the worker could serve. Raises ChildGone."""
        return (await self._ready).label

    async def adopt(self, policy: Told) -> Verdict:
        """What becomes of `policy` in the worker. One at a time. Raises ChildGone."""
        if self._over is not None:
            raise ChildGone(self._over)
        self._verdict = asyncio.get_running_loop().create_future()
        self._channel.tell(NewPolicy(policy))
        return await self._verdict

    async def refresh(self, seconds: float) -> None:
        """Have what it says of itself brought up to date; after `seconds` the last word has to do."""
        with suppress(TimeoutError, ChildGone):
            await self._ask(Question(next(self._ids)), seconds)

    async def answer(self, method: str, path: str, seconds: float) -> Answered | None:
        """Its answer to an operator; None when there is none within `seconds`."""
        try:
            found = await self._ask(Question(next(self._ids), method, path), seconds)
        except (TimeoutError, ChildGone):
            return None
        return found if isinstance(found, Answered) else None

    async def listen(self) -> None:
        """Hear what the worker says, until the line is closed."""
        try:
            while (message := await self._channel.hear()) is not None:
                self.silent, self.fault = 0, None
                self._heard(message)
        finally:
            self._give_up(ENDED)
            await self._channel.close()

    @property
    def over(self) -> bool:
        """Whether its line is closed: it has ended, or is about to."""
        return self._over is not None

    @property
    def adopting(self) -> bool:
        """Whether it is about to put a policy in force, or to refuse it."""
        return self._verdict is not None and not self._verdict.done()

    def show(self) -> None:
        """Have it write to its standard error where its threads stand, whatever holds them."""
        with suppress(ProcessLookupError):
            self.process.send_signal(WHERE)

    def kill(self) -> None:
        """End the process at once."""
        with suppress(ProcessLookupError):
            self.process.kill()

    def _heard(self, message: Message) -> None:
        match message:
            case Loading():
                self.loading = message.what
            case Changed():
                self.changed(message.versions)
            case Kept():
                self._kept.update(message.files)
            case Ready():
                self.label = message.label
                _resolve(self._ready, message)
            case Failed():
                self._give_up(message.why)
            case Verdict():
                self.label = message.label
                if self._verdict is not None:
                    _resolve(self._verdict, message)
            case Facts():
                self.facts = message
                self.meters = message.meters or self.meters
                self._settle(message.id, message)
            case Answered():
                self._settle(message.id, message)
            case _:
                self._give_up(f"said {type(message).__name__}, which is nothing to its supervisor")

    def _settle(self, identity: int, message: Facts | Answered) -> None:
        asked = self._asked.pop(identity, None)
        if asked is not None:
            _resolve(asked, message)

    def _give_up(self, why: str) -> None:
        self._over = self._over or why
        waiting: list[asyncio.Future[Ready] | asyncio.Future[Verdict] | asyncio.Future[Facts | Answered] | None]
        waiting = [self._ready, self._verdict, *self._asked.values()]
        for future in waiting:
            if future is not None and not future.done():
                future.set_exception(ChildGone(why))
                future.exception()  # nobody may be waiting for it
        self._asked.clear()

    async def _ask(self, question: Question, seconds: float) -> Facts | Answered:
        if self._over is not None:
            raise ChildGone(self._over)
        asked: asyncio.Future[Facts | Answered] = asyncio.get_running_loop().create_future()
        self._asked[question.id] = asked
        self._channel.tell(question)
        try:
            return await asyncio.wait_for(asked, seconds)
        finally:
            self._asked.pop(question.id, None)


async def start_child(
    number: int, descriptors: tuple[int, ...], variables: Mapping[str, str], kept: dict[str, str] | None = None
) -> Child:
    """A new worker process that has inherited `descriptors`, not yet told to begin; `kept` as of `Child`. Raises
    OSError."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "proxy.workers.process", str(number)),  # -P: not what lies in this folder
                stdin=theirs.fileno(),
                pass_fds=descriptors,
                env=dict(variables),
            )
        except BaseException:
            ours.close()
            raise
    return Child(process, await channel_of(ours), kept)


def vitals(pid: int) -> dict[str, float]:
    """Resident memory in bytes and open descriptors of a process; empty where that can't be seen."""
    process = Path("/proc", str(pid))
    try:
        resident = int((process / "statm").read_text().split()[1]) * PAGE
        return {"resident": float(resident), "descriptors": float(len(list((process / "fd").iterdir())))}
    except OSError:
        return {}


def _resolve(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
