"""A proxy's services with scripted backends, for tests of the pipeline and the faces."""

from __future__ import annotations

import asyncio
import io
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from backends.base import Call, Invocation, Reply
from backends.book import Book
from backends.errors import BackendError, Said
from backends.meters import Meters
from policies.facts import FailureFacts
from policies.table import Target
from proxy.access_log import AccessLog
from proxy.handlers.loads import Loader
from proxy.handlers.registry import Handlers
from proxy.policy_source import Policy
from proxy.services import Services
from proxy.telemetry import Telemetry

POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  first: {kind: vllm, url: "http://127.0.0.1:1", model: m, region: us-east-1}
  second: {kind: vllm, url: "http://127.0.0.1:2", model: m, region: us-east-1}
endpoints:
  chat: {serve_from: first, fallback: [second], owner: us}
  alone: {serve_from: first, retry: {attempts: 1}}
  again: {serve_from: first, idempotent: true}
  packed:
    components:
      one: {serve_from: first}
"""


class TextSource:
    """A policy's text in memory."""

    name = "policy.yaml"
    poll = 0.0

    def __init__(self, text: str) -> None:
        self.text = text
        self.broken: Exception | None = None

    async def version(self) -> str:
        if self.broken:
            raise self.broken
        return str(hash(self.text))

    async def read(self) -> str:
        if self.broken:
            raise self.broken
        return self.text


Answer = Reply | FailureFacts | Exception


@dataclass
class Scripted:
    """A backend that answers from a list, and remembers what it was asked."""

    answers: list[Answer] = field(default_factory=list)
    calls: list[tuple[str, Call, float]] = field(default_factory=list)
    said: Said | None = None

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        self.calls.append((target.name, call, deadline))
        answer = self.answers.pop(0)
        match answer:
            case FailureFacts():
                raise BackendError(answer, target, "scripted", self.said, "theirs")
            case Exception():
                raise answer
            case _:
                return answer


class Held(Scripted):
    """A backend that answers one thing, once it is told to."""

    def __init__(self, answer: Reply) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.answer = answer

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        self.calls.append((target.name, call, deadline))
        await self.go.wait()
        return self.answer


class Pieces:
    """A streamed body from a list; an exception in it is raised at its place."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self.closed += 1


async def services(
    backend: Scripted,
    *,
    text: str = POLICY,
    now: Callable[[], float] | None = None,
    log: io.BytesIO | None = None,
    folder: Path = Path(),
) -> Services:
    """Services around one scripted backend. The caller closes `log`, and stops the handlers where it has any.

    `folder` is where handlers' paths start; with handlers `now` has to be the loop's clock.
    """
    ids = itertools.count(1)
    ticks = itertools.count(100)
    meters, clock = Meters(), now or (lambda: float(next(ticks)))
    handlers = Handlers(folder, Loader(meters, clock, {}, folder / ".environments").load, meters, clock)
    policy = Policy(TextSource(text), {}, frozenset(), lambda _: None, lambda _: None, handlers.use)
    await policy.load()
    return Services(
        policy=policy,
        backends={"vllm": backend, "endpoint": backend, "bedrock": backend},
        handlers=handlers,
        book=Book(),
        meters=meters,
        telemetry=Telemetry("off", 0.0, lambda: 0.5, "test"),
        log=AccessLog(log or io.BytesIO()),
        now=clock,
        wall=lambda: 1_800_000_000.0,
        draw=lambda: 0.5,
        new_id=lambda: f"request-{next(ids)}",
        body_limit=1024,
    )


def invocation(endpoint: str = "chat", component: str | None = None, *, streaming: bool = False) -> Invocation:
    return Invocation(endpoint, component, streaming, b"{}", "request-0")


def targets(backend: Scripted) -> list[str]:
    return [name for name, _, _ in backend.calls]


def pieces(found: Iterable[bytes]) -> bytes:
    return b"".join(found)
