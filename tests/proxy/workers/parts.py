"""Both ends of the line between a supervisor and a worker, and workers that a test plays."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.workers.channel import Channel, channel_of
from proxy.workers.child import Child
from proxy.workers.messages import Accept, Begin, Drain, Facts, Message, NewPolicy, Question, Ready, Told, Verdict


async def line() -> tuple[Channel, Channel]:
    """Two ends of one line."""
    ours, theirs = socket.socketpair()
    return await channel_of(ours), await channel_of(theirs)


def told(generation: int = 1, text: str = "text") -> Told:
    return Told("policy.yaml", text, {}, generation, f"digest/{generation}")


def facts(identity: int = 0, meters: str | None = None, *, connections: int = 0, in_flight: int = 0) -> Facts:
    return Facts(identity, connections, in_flight, 0.0, 0, 0, None, meters)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in the loop's own time."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)


@dataclass
class Played:
    """A worker without a process: it says what the test wants, and remembers what it was told."""

    number: int
    channel: Channel
    pid: int = 1
    heard: list[Message] = field(default_factory=list)
    refuses: tuple[tuple[str, int, str], ...] = ()
    ready: bool = True
    obeys: bool = True
    deaf: bool = False
    """Hears policies and says nothing of them."""
    comes_to: str | None = None
    """The label it comes to, whatever it was told."""
    falls: bool = False
    """Ends with the next policy that it is told."""
    asked: Callable[[Played, Question], None] = lambda worker, question: None
    """What it does with a question."""
    shown: bool = False
    killed: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    code: int = 0

    @property
    def returncode(self) -> int | None:
        return self.code if self.over.is_set() else None

    def kill(self) -> None:
        self.killed = True
        self.end(-9)

    def send_signal(self, signal: int) -> None:
        self.shown = True

    def end(self, code: int) -> None:
        self.code = code if not self.over.is_set() else self.code
        self.over.set()

    async def wait(self) -> int:
        await self.over.wait()
        await self.channel.close()
        return self.code

    async def play(self) -> None:
        """Answer as a worker does, until the line is closed."""
        while (message := await self.channel.hear()) is not None:
            self.heard.append(message)
            match message:
                case Begin() if self.ready:
                    self.channel.tell(Ready(message.policy.label))
                case NewPolicy() if self.falls:
                    self.end(-9)
                case NewPolicy() if not self.deaf:
                    label = self.comes_to or message.policy.label if not self.refuses else "digest/1"
                    self.channel.tell(Verdict(message.policy.generation, label, list(self.refuses)))
                case Question():
                    self.asked(self, message)
                case Drain() if self.obeys:
                    self.end(0)

    def get_ready(self, label: str) -> None:
        self.channel.tell(Ready(label))

    @property
    def accepts(self) -> bool:
        return Accept() in self.heard


async def played(number: int) -> tuple[Child, Played]:
    """A child and the worker behind it."""
    ours, theirs = await line()
    worker = Played(number, theirs)
    return Child(worker, ours), worker
