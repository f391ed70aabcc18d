"""A migration in its shadow step, with scripted targets, for tests of copies."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from backends.base import Call, Invocation, Reply
from backends.book import Book
from backends.errors import BackendError, Said
from backends.gates import Gates
from backends.meters import Meters
from backends.outcome import Outcome
from backends.shadow_counts import ShadowCounts
from backends.tasks import start
from backends.temperatures import Temperatures
from policies.agreement import Agreement
from policies.facts import FailureFacts, Fault
from policies.migrating import Gate, Measure, Member, Migration, Shift, Step
from policies.redaction import Keeping
from policies.table import BedrockSpec, Boundary, ImportCost, Isolation, Route, RouteTable, Target, VllmSpec, Weighted
from tests.warmers.world import NoTrace
from warmers.prices import open_prices
from warmers.shadow import Parts, Purse, Shadows
from warmers.shadow.shadows import Difference

OLD = Target("old", "vllm", VllmSpec(("http://127.0.0.1:1",), "m"), speaks="openai-chat", region="us-east-1")
NEW = Target(
    "new",
    "bedrock",
    BedrockSpec("arn:aws:bedrock:us-east-1:123456789012:imported-model/abc"),
    speaks="openai-chat",
    region="us-east-1",
    isolation=Isolation.CONTAINER,
    cost=ImportCost(2),
)
DAY = 20_000 * 86_400.0
"""A midnight in 2024, in seconds since 1970."""
THROTTLED = FailureFacts(Fault.PLATFORM, True, throttled=True)
REFUSED = FailureFacts(Fault.MODEL, False)
COLD = FailureFacts(Fault.PLATFORM, True, cold=True)


def said(text: str = "Paris.", finish: str = "stop") -> bytes:
    """A chat's answer."""
    return json.dumps(
        {
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 3},
        }
    ).encode()


def answer(text: str = "Paris.", **more: Any) -> Reply:
    """A whole reply."""
    return replace(Reply(body=said(text), content_type="application/json"), **more)


class Pieces:
    """`ByteStream` of given pieces; an exception among them is raised. Remembers that it was closed."""

    def __init__(self, pieces: Iterable[bytes | Exception]) -> None:
        self._pieces = iter(pieces)
        self.closed = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            return piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


def stream(*pieces: bytes | Exception) -> Reply:
    """A streamed reply."""
    return Reply(stream=Pieces(pieces), content_type="text/event-stream")


Answer = Reply | FailureFacts | Exception


@dataclass
class Scripted:
    """A backend that answers by target, always the same, and remembers what it was asked."""

    answers: dict[str, Answer | Callable[[], Answer]] = field(default_factory=dict)
    calls: list[tuple[str, Call, float]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    """Answers wait for it."""

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        self.calls.append((target.name, call, deadline))
        if self.gate is not None:
            await self.gate.wait()
        found = self.answers.get(target.name, answer())
        found = found() if callable(found) else found
        if isinstance(found, FailureFacts):
            raise BackendError(found, target, "scripted", Said(400, "no") if found is REFUSED else None)
        if isinstance(found, Exception):
            raise found
        return found


class Counts(ShadowCounts):
    """The counts, and a way to wait for them."""

    def __init__(self) -> None:
        super().__init__(100)
        self.results: Counter[str] = Counter()
        self.scores: list[tuple[str, float]] = []
        self.dollars = 0.0
        self._changed = asyncio.Event()

    def result(self, model: str, result: str) -> None:
        super().result(model, result)
        self.results[result] += 1
        self._changed.set()

    def score(self, model: str, against: str, score: float) -> None:
        super().score(model, against, score)
        self.scores.append((against, score))

    def usd(self, model: str, usd: float) -> None:
        super().usd(model, usd)
        self.dollars += usd

    async def until(self, number: int) -> None:
        """Waits until so many requests are accounted for."""
        while self.results.total() < number:
            self._changed.clear()
            await self._changed.wait()


def route(shadow: float = 1.0, budget: float | None = None, share: float = 0.0, **more: Any) -> Route:
    """A route in a shadow step, `more` of its fields given."""
    serve = (Weighted(OLD, 1.0 - share), Weighted(NEW, share))
    shift = Shift("chat", "w1", "old", "new", share, shadow, budget)
    return replace(Route("chat", None, serve, clients_speak="openai-chat", shift=shift, owner="us"), **more)


def table_of(found: Route, keep: Keeping | None = None, bound: float | None = 0.97) -> RouteTable:
    """The policy that has such a migration."""
    gates = () if bound is None else (Gate(Measure.ERRORS, 0.002), Gate(Measure.AGREEMENT, bound))
    member = Member("chat", "old", "new", gates, differences=keep)
    migration = Migration("chat", (member,), (Step(shadow=0.05), Step(share=1.0)))
    return RouteTable(
        "123456789012", {("chat", None): found}, {"old": OLD, "new": NEW}, "d", migrations={"chat": migration}
    )


INSIDE_CONTAINERS = Boundary(isolation=Isolation.INSTANCE)
"""A boundary that `NEW` lies outside of."""


def call(body: bytes = b'{"messages": []}', streaming: bool = False, **more: Any) -> Call:
    """What a client's request has become after `before`."""
    invocation = Invocation("chat", None, streaming=streaming, body=body, request_id="r-1", **more)
    return Call(invocation, body, "application/json", None, None, speaks="openai-chat")


class Scene:
    """Copies of one process, with everything around them scripted."""

    def __init__(
        self,
        found: Route | None = None,
        keep: Keeping | None = None,
        now: Callable[[], float] | None = None,
        draws: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.table = table_of(found or route(), keep)
        self.backend, self.gates, self.counts = Scripted(), Gates(), Counts()
        self.meters, self.temperatures = Meters(), Temperatures()
        self.meters.shadow = self.counts
        self.told: list[Outcome] = []
        self.kept: list[Difference] = []
        self.traces: list[NoTrace] = []
        self.book = Book()
        self.wall, self.steady = DAY, 0.0
        ids = itertools.count(1)
        self.parts = Parts(
            table=lambda: (self.table, "d/1"),
            backends={"vllm": self.backend, "bedrock": self.backend},
            book=self.book,
            gates=self.gates,
            meters=self.meters,
            temperatures=self.temperatures,
            purse=Purse(open_prices),
            now=now or (lambda: self.steady),
            wall=lambda: self.wall,
            draw=draws,
            new_id=lambda: f"copy-{next(ids)}",
            trace=self._trace,
            tell=self.told.append,
            pause=asyncio.sleep,
            keep=self.kept.append,
        )
        self.shadows = Shadows(self.parts)

    @property
    def inside(self) -> int:
        """Clients and copies at both targets."""
        self.gates.keep(())  # forgets where nobody is
        return sum(max(active, 1) for _, _, active, _ in self.gates.states())

    @property
    def route(self) -> Route:
        return self.table.routes["chat", None]

    def agreement(self) -> Agreement:
        """What has been compared."""
        found = self.shadows.collect()["chat", "w1"]["chat"].agreement
        assert found is not None
        return found

    def _trace(self, _invocation: Invocation, _nanoseconds: int) -> NoTrace:
        self.traces.append(NoTrace())
        return self.traces[-1]

    def sampled(self, reply: Reply | None = None, asked: Call | None = None) -> bool:
        """A whole request of a client, answered by the old target; whether it was sampled."""
        taken, _ = self.shadows.answered(self.route, asked or call(), OLD, reply or answer(), 0.0)
        if taken is not None:
            taken.done()
        return taken is not None


@asynccontextmanager
async def running(scene: Scene) -> AsyncIterator[None]:
    """The scene's copies at work until the block ends."""
    task = start(scene.shadows.run(), name="shadow")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
