"""A trace against the real proxy and the stand-ins, in one virtual loop: every byte of both hops is made and parsed.

What is real: the listener, faces, pipeline, book, gates, breakers, temperatures, warmer, restore probes, migrations,
their controller, gates and copies; customers' handlers, where they are wanted, in the proxy's loop. What is not:
targets (stand-ins), the network (pipes without delay), the fleet's shared state (memory). One process is rehearsed.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import Random  # noqa: TID251 - seeded: the same seed gives the same rehearsal
from typing import Any, Protocol

from backends.aws import CredentialSource
from backends.emulator.clock import Clock
from backends.emulator.config import EmulatorConfig
from backends.emulator.server import Emulator
from backends.http.transport import HttpTransport, Outgoing
from backends.outcome import Note, Outcome, outcome_of
from backends.tasks import end, start
from policies.migrating import START
from policies.migration_state import Command, Phase, Verb
from policies.table import RouteTable
from warmers.arrivals import GRAIN, Arrivals
from warmers.migrations.ledger import Ledger
from warmers.migrations.orders import order

from ..policy_source import ToldSource
from ..server import contracts_of, fleet_duties, follows
from ..services import Services
from ..settings import Settings
from ..wiring import serving, static_credentials
from ..world import World
from .clients import MODES, Calls, Retries, call
from .memory import MemoryStore
from .questions import Questions
from .standins import PORT, Pointed

APPROVALS = 60.0
"""Seconds between two looks for an approval that a migration waits for."""
WHO = "rehearsal"


class Audience(Protocol):
    """Who watches a rehearsal."""

    def told(self, outcome: Outcome, now: float) -> None:
        """A request, warm-up or copy is over, `now` seconds after the start."""
        ...

    def looked(self, states: Mapping[str, str], now: float) -> None:
        """What the stand-ins are: `cold`, `warming` or `ready`, by name."""
        ...


@dataclass(frozen=True, slots=True)
class Play:
    """What is rehearsed."""

    pointed: Pointed
    stand_ins: EmulatorConfig
    arrivals: Mapping[str, Arrivals]
    """By the route's key."""
    start: float
    """Seconds since 1970 at which it begins."""
    span: float
    """Seconds that it lasts."""
    seed: int = 0
    streams: float = 0.0
    """Share of the requests that ask for a stream."""
    prices: str | None = None
    look: float = 60.0
    """Seconds between two looks at the stand-ins."""
    retries: Retries = MODES["none"]
    body: bytes | None = None
    """What every request holds; None: it is made up."""
    folder: str = "."
    """Where relative paths of handlers start."""


@dataclass(frozen=True, slots=True)
class Played:
    """What is left when it is over."""

    ledgers: Mapping[str, Mapping[str, object]]
    """What the stand-ins counted, by name."""
    histories: Mapping[str, list[dict[str, Any]]]
    """The records of each migration, oldest first."""
    ends: Mapping[str, tuple[str, ...]]
    """Where each migration stood at the end, and what it waited for."""
    calls: Calls
    """What clients saw."""

    @property
    def unanswered(self) -> int:
        """Requests whose connection broke: what a client would not have had any answer to."""
        return self.calls.unanswered


class _Log:
    """The request log of a rehearsal: whoever watches is told, in the request's own moment."""

    lost = 0

    def __init__(self, tell: Callable[[Outcome], None]) -> None:
        self._tell = tell

    def write(self, outcome: Outcome | Note) -> None:
        """A request is over."""
        self._tell(outcome_of(outcome) if isinstance(outcome, tuple) else outcome)

    def close(self, timeout: float = 2.0) -> None:
        """Nothing is kept open."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A proxy and its stand-ins, running."""

    table: RouteTable
    port: int
    """Where the proxy listens, on the loop's own network."""
    emulator: Emulator
    ledger: Ledger
    wall: Callable[[], float]
    """Seconds since 1970, in virtual time."""


async def play(play: Play, audience: Audience) -> Played:
    """Replay; made to run in a `VirtualLoop`. Raises PolicyError, and OSError where prices can't be read."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with staged(play, lambda outcome: audience.told(outcome, loop.time() - began)) as stage:
        beside = [
            start(_watch(stage.emulator, audience, began, play.look), name="rehearsal-look"),
            start(_steer(stage.table, stage.ledger, stage.wall), name="rehearsal-approve"),
        ]
        try:
            calls = await _send(play, stage.table, stage.port, began)
        finally:
            await end(beside)
        histories = {name: await stage.ledger.history(name) for name in stage.table.migrations}
        ends = {name: await _end(stage.ledger, name) for name in stage.table.migrations}
        ledgers = {name: hosted.ledger.report() for name, hosted in stage.emulator.models.items()}
    return Played(ledgers, histories, ends, calls)


async def _end(ledger: Ledger, name: str) -> tuple[str, ...]:
    """What the controller said of a migration at its last look."""
    last = await ledger.report(name)
    if last is None:
        return ()
    waits = (f"{what}: {text}" for what, text in last.waits)
    more = (f"{one.gate} of {one.route} takes about {one.more:,} more requests" for one in last.gates if one.more)
    return (last.standing, *waits, *more)


@asynccontextmanager
async def staged(play: Play, tell: Callable[[Outcome], None]) -> AsyncIterator[Stage]:
    """Proxy and stand-ins of a rehearsal; `tell` hears of every request, warm-up and copy. Raises PolicyError."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    chance = Random(play.seed)  # noqa: S311 - dice of a rehearsal

    def wall() -> float:
        return play.start + loop.time() - began

    store = MemoryStore()
    world = World(loop.time, wall, chance.random, chance.getrandbits, lambda _: store, _Log(tell))
    emulator = Emulator(play.stand_ins, clock=Clock(wall, loop.time), wall=lambda: datetime.fromtimestamp(wall(), UTC))
    await emulator.start("127.0.0.1", PORT)
    try:
        async with _proxy(play, world) as (services, port):
            yield Stage(services.policy.current.table, port, emulator, Ledger(store), wall)
    finally:
        await emulator.stop()


@asynccontextmanager
async def _proxy(play: Play, world: World) -> AsyncIterator[tuple[Services, int]]:
    """The proxy on the loop's own network, with all that it does beside serving."""
    pointed = play.pointed
    settings = Settings(
        policy=f"{play.folder}/policy.yaml",
        port=0,
        admin_port=0,
        drain=1.0,
        state="memory:" if pointed.table.migrations else None,
        state_copy="",
        prices=play.prices,
    )
    told = ToldSource("policy.yaml", pointed.text, pointed.files, 1)
    async with serving(settings, {}, _credentials(play.stand_ins), told, world=world) as services:
        contracts, _ = contracts_of(settings, services)
        port = await contracts.start_in_loop(settings.host, 0)
        duties, following = fleet_duties(services, warms=True), follows(services)
        try:
            yield services, port
        finally:
            await end(duties)
            await contracts.stop()
            await end(following)


def _credentials(config: EmulatorConfig) -> CredentialSource:
    pair = config.credentials[0]
    return static_credentials(pair.access_key_id, pair.secret_access_key)


async def _send(play: Play, table: RouteTable, port: int, began: float) -> Calls:
    """Send every request in its moment and wait for the answers."""
    loop = asyncio.get_running_loop()
    routes = {route.key: route for route in table.routes.values()}
    questions = Questions(play.seed, play.streams, play.body)
    chance = Random(f"{play.seed}/clients")  # noqa: S311 - dice of a rehearsal
    transport, calls = HttpTransport(), Calls()
    out: set[asyncio.Task[None]] = set()
    try:
        for moment, key in _moments(play):
            wait = began + moment - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            asked = questions.next(routes[key])
            request = Outgoing("POST", f"http://127.0.0.1:{port}{asked.path}", asked.headers, asked.body)
            one = call(transport, request, play.retries, chance.random, calls)
            task = start(one, name="rehearsal-client")
            out.add(task)
            task.add_done_callback(out.discard)
        await asyncio.sleep(max(0.0, began + play.span - loop.time()))
        while out:
            await asyncio.wait(tuple(out))
    finally:
        for task in out:
            task.cancel()
        await transport.aclose()
    return calls


def _moments(play: Play) -> Iterator[tuple[float, str]]:
    """When each request comes, and whose it is, in order. Those of one entry are spread over the trace's grain."""
    return heapq.merge(*(_of(key, arrivals, play) for key, arrivals in sorted(play.arrivals.items())))


def _of(key: str, arrivals: Arrivals, play: Play) -> Iterator[tuple[float, str]]:
    chance = Random(f"{play.seed}/{key}")  # noqa: S311 - dice of a rehearsal
    for moment, count in arrivals:
        room = min(GRAIN, play.span - moment)
        if count == 1:
            yield moment, key
        else:
            yield from ((moment + at, key) for at in sorted(room * chance.random() for _ in range(count)))


async def _watch(emulator: Emulator, audience: Audience, began: float, every: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        states = {name: hosted.roster.state() for name, hosted in emulator.models.items()}
        audience.looked(states, loop.time() - began)
        await asyncio.sleep(every)


async def _steer(table: RouteTable, ledger: Ledger, wall: Callable[[], float]) -> None:
    """What people do to a migration: start it, and say yes where it asks them."""
    numbers = iter(range(10**9))
    give = partial(_command, ledger, wall, numbers)
    for name in table.migrations:
        await give(table, name, Verb.START, "the rehearsal begins")
    while table.migrations:
        await asyncio.sleep(APPROVALS)
        for name, kept in (await ledger.states()).items():
            plan, state = table.migrations[name], kept.state
            running = state.phase is Phase.RUNNING and state.step > START
            if running and state.approved is None and plan.steps[state.step].approve is not None:
                await give(table, name, Verb.APPROVE, "a rehearsal agrees to everything")


async def _command(
    ledger: Ledger,
    wall: Callable[[], float],
    numbers: Iterator[int],
    table: RouteTable,
    name: str,
    verb: Verb,
    why: str,
) -> None:
    now = wall()
    await order(ledger, table.migrations[name], Command(f"{WHO}-{next(numbers)}", verb, why, WHO, now), now)
