"""A warmer for tests: the stand-ins in virtual time, the real backends, and everything it tells kept in lists."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from backends.aws import StaticCredentials
from backends.base import Backend, Invocation, Trace
from backends.bedrock import BedrockBackend
from backends.book import Book
from backends.emulator.clock import Clock
from backends.emulator.hosting import Hosted
from backends.http.transport import HttpTransport
from backends.meters import Meters
from backends.outcome import Outcome
from backends.wire.sigv4 import Credentials, Signer
from policies.calendar import read_calendar
from policies.table import BedrockSpec, Route, RouteTable, Target, Warmup, Weighted
from tests.standins import ACCESS_KEY_ID, IMPORT_ARN, SECRET_ACCESS_KEY, config_of, running_emulator
from warmers.ping import Parts, PingTrace

START = datetime(2026, 11, 20, 15, tzinfo=UTC).timestamp()
"""A Friday, ten in the morning in New York."""


@dataclass
class NoTrace:
    """A trace that only remembers how often it was told something."""

    trace_id: str | None = None
    attempts: list[tuple[str, int, int]] = field(default_factory=list)
    finished: list[Outcome] = field(default_factory=list)

    def attempt(self, target: Target, number: int, replica: int = 0) -> AbstractContextManager[Trace | None]:
        self.attempts.append((target.name, number, replica))
        return _nothing()

    def finish(self, outcome: Outcome) -> None:
        self.finished.append(outcome)


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


class World:
    """What a warmer sees, and what it did."""

    def __init__(self, route: Route, backends: Mapping[str, Backend], clock: Clock) -> None:
        self.route = route
        self.clock = clock
        self.book, self.meters = Book(), Meters()
        self.told: list[Outcome] = []
        self.trace = NoTrace()
        ids = itertools.count(1)
        table = RouteTable(
            "1", {(route.endpoint, None): route}, {one.target.name: one.target for one in route.warm}, "d"
        )
        self.parts = Parts(
            table=lambda: (table, "d/1"),
            backends=backends,
            book=self.book,
            meters=self.meters,
            now=clock.now,
            wall=clock.now,
            draw=lambda: 0.0,
            new_id=lambda: f"id-{next(ids)}",
            pause=self.pause,
            trace=self._trace,
            tell=self.told.append,
        )

    async def pause(self, seconds: float) -> None:
        """Virtual: nothing waits, the clock moves."""
        self.clock.advance(seconds)

    def _trace(self, _invocation: Invocation, _nanoseconds: int) -> PingTrace:
        return self.trace

    @property
    def rendered(self) -> str:
        return self.meters.render({})


def frozen(wall: float = START) -> Clock:
    """A clock that only tests move."""
    clock = Clock(wall=lambda: wall, steady=lambda: 0.0)
    clock.freeze()
    return clock


def route_to(target: Target, *, every: float = 840.0, copies: int = 1, hours: str | None = None) -> Route:
    """A route that is served from its target and keeps it warm."""
    warmup = Warmup(target, every, 0.0, copies, read_calendar(hours) if hours else None)
    return Route("chat", None, (Weighted(target, 1.0),), warm=(warmup,), owner="us")


@asynccontextmanager
async def imported(
    route: Callable[[Target], Route], *, restore: tuple[float, float] | None = (60.0, 300.0), **model: Any
) -> AsyncIterator[tuple[World, Hosted]]:
    """A world with one imported model on the stand-in of Bedrock; only the warmer's pauses move its clock."""
    clock = frozen()
    standin_model = {"kind": "import", "arn": IMPORT_ARN, "dialect": "openai-chat", "idle": 900, **model}
    async with running_emulator(config_of({"imported": standin_model}), clock=clock) as standin:
        spec = BedrockSpec(IMPORT_ARN, url=standin.url)
        target = Target("imported", "bedrock", spec, speaks="openai-chat", region="us-east-1", restore=restore)
        transport = HttpTransport()
        keys = StaticCredentials(Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None))
        backend = BedrockBackend(transport, keys, Signer(), lambda: datetime.now(UTC))
        try:
            yield World(route(target), {"bedrock": backend}, clock), standin.emulator.models["imported"]
        finally:
            await transport.aclose()
