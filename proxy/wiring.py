"""The composition root: the only place that constructs the parts of a process, with the real clock and randomness."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from backends.aws import AwsCredentials, CredentialSource, StaticCredentials
from backends.base import Backend
from backends.bedrock import BedrockBackend
from backends.book import Book
from backends.endpoint import EndpointBackend
from backends.gates import Gates
from backends.http.transport import HttpTransport
from backends.meters import Meters
from backends.objects import ObjectReader
from backends.owners import Owners
from backends.signed import WholeSeconds
from backends.state import Store, open_store
from backends.temperatures import Temperatures
from backends.translated import Translated
from backends.vllm import VllmBackend
from backends.wire.sigv4 import Credentials, Signer
from policies.table import RouteTable, VllmSpec
from warmers.ping import Parts
from warmers.runner import Warmer

from .access_log import AccessLog, RequestLog
from .afterwards import Afterwards
from .chat_templates import template_reader, template_stamp
from .door import Door
from .handlers.loads import Loader
from .handlers.registry import Handlers, Load
from .log_file import LogFile
from .papers import Papers
from .policy_source import FileSource, InForce, ObjectSource, Overheard, Policy, Source, ToldSource, UnreadableError
from .replays import Replays
from .request_ids import FIRST_BITS, PREFIX_BITS, request_ids
from .services import Services
from .settings import Settings, egress
from .telemetry import Telemetry
from .warmth import beside, warmth_of
from .world import Loads, World, untold

if TYPE_CHECKING:
    from warmers.migrations.controller import Controller
    from warmers.migrations.follower import Follower
    from warmers.shadow import Shadows

    from .alerts import Alerts
    from .workers.supervisor import Supervisor


@asynccontextmanager
async def serving(
    settings: Settings,
    variables: Mapping[str, str],
    credentials: CredentialSource | None = None,
    told: ToldSource | None = None,
    near: str | None = None,
    world: World | None = None,
) -> AsyncIterator[Services]:
    """The parts of a proxy, with its policy loaded. `credentials`: instead of boto3's chain. `world`: of the real one.

    `told`: where a worker has its policy from. `near`: address of a store that workers share where the fleet has none.
    Raises PolicyError or UnreadableError where the policy can't be used, OSError the log, StoreError the shared state.
    """
    async with AsyncExitStack() as parts:
        ground = _ground(settings, variables, parts, world := world or real())
        chain = AwsCredentials()
        parts.push_async_callback(chain.aclose)
        handlers = _handlers(settings, variables, ground)
        parts.push_async_callback(handlers.stop)
        store = _store(settings.state, parts, world)
        follower = _follower(store, settings, ground, lambda: policy.redress())
        heard = Hearers(ground.swapped, ground.meters.reload, handlers.use, follower.dress if follower else None)
        policy = policy_of(settings, variables, heard, told or named(settings), told.number if told else int.__add__)
        await policy.load()
        await world.loads("the shared state, AWS's library, keys and certificates")
        await _where_they_stand(policy, follower)
        if credentials is None and any(target.kind != "vllm" for target in policy.current.table.targets.values()):
            await chain.prepare()
        backends = _backends(ground.transport, credentials := credentials or chain, world)
        pings = _pings(lambda: (policy.current.table, policy.current.label), backends, ground)
        warmth = warmth_of(pings, store or beside(partial(_store, near, parts, world)), pings.new_id, settings.prices)
        parts.push_async_callback(warmth.restorer.stop)
        moves = _moves(store, follower, settings, ground, credentials, pings, parts)
        yield Services(
            afterwards=ground.afterwards,
            policy=policy,
            backends=backends,
            warmer=warmth.warmer,
            temperatures=ground.temperatures,
            restorer=warmth.restorer,
            uses=warmth.uses,
            follower=follower,
            shadows=moves.shadows,
            controller=moves.controller,
            alerts=moves.alerts,
            handlers=handlers,
            book=ground.book,
            gates=ground.gates,
            meters=ground.meters,
            telemetry=ground.telemetry,
            log=ground.log,
            now=world.now,
            wall=world.wall,
            draw=world.draw,
            new_id=request_ids(world.bits(PREFIX_BITS), world.bits(FIRST_BITS)),
            body_limit=settings.body_limit,
            body_time=settings.body_time,
            door=_door(settings, world),
            papers=world.papers,
        )


@dataclass(frozen=True, slots=True)
class _Ground:
    """What the other parts stand on."""

    world: World
    log: RequestLog
    afterwards: Afterwards
    transport: HttpTransport
    book: Book
    gates: Gates
    meters: Meters
    temperatures: Temperatures
    telemetry: Telemetry

    def swapped(self, policy: InForce) -> None:
        """A policy has come into force: what it does not have is forgotten."""
        targets = policy.table.targets.values()
        self.gates.keep(targets)
        self.temperatures.keep(targets)
        self.book.keep(targets, (route.key for route in policy.table.routes.values()))
        self.meters.policy(policy.table.digest, policy.generation)


@dataclass(frozen=True, slots=True)
class _Moves:
    """What migrations need beside a follower: all of it, but for alerts, where there is shared state."""

    shadows: Shadows | None = None
    controller: Controller | None = None
    alerts: Alerts | None = None


# What follows is imported where there is shared state: 1.4 MB that others need not hold.


def _follower(store: Store | None, settings: Settings, ground: _Ground, changed: Callable[[], None]) -> Follower | None:
    if store is None:
        return None
    from .migrating import follower_of

    world = ground.world
    return follower_of(store, settings, _new_id(world), world.wall, ground.meters.migrations, changed)


async def _where_they_stand(policy: Policy, follower: Follower | None) -> None:
    """Hear of it before the first request is served, which would go to the old target else."""
    table = policy.current.table
    if follower is not None:
        await follower.look(table)
    elif table.migrations:
        names = ", ".join(sorted(table.migrations))
        logging.getLogger("pointsman.migrate").warning(
            "the policy has migrations (%s) and no --state: nothing moves", names
        )


def _moves(
    store: Store | None,
    follower: Follower | None,
    settings: Settings,
    ground: _Ground,
    credentials: CredentialSource,
    pings: Parts,
    parts: AsyncExitStack,
) -> _Moves:
    if store is None or follower is None:
        return _Moves()
    from .migrating import deciding
    from .shadowing import shadows_of

    controller, alerts = deciding(store, settings, ground.transport, credentials, pings, ground.gates, parts)
    return _Moves(shadows_of(store, follower, pings, ground.gates, ground.meters, parts), controller, alerts)


def _handlers(settings: Settings, variables: Mapping[str, str], ground: _Ground) -> Handlers:
    load = _load(settings, variables, ground)
    return Handlers(_folder(settings), load, ground.meters, ground.world.now, settings.drain, settings.policy)


def _load(settings: Settings, variables: Mapping[str, str], ground: _Ground) -> Load:
    """Loads a handler."""
    world, cache = ground.world, Path(settings.handler_cache).expanduser()
    return Loader(ground.meters, world.now, variables, cache, settings.load_time, world.loads).load


def _door(settings: Settings, world: World) -> Door | None:
    files = world.replays, world.papers
    return Door(settings, world.wall, *files) if settings.keys or settings.tls_client_ca else None


def real(
    replays: Replays | None = None, owners: Owners | None = None, loads: Loads = untold, papers: Papers | None = None
) -> World:
    """The world as it is. `replays` and `owners`: memory that this process shares with others."""
    clocks, bits, kept = (time.monotonic, time.time, random.random), random.getrandbits, papers or Papers()
    return World(*clocks, bits, open_store, replays=replays, owners=owners, loads=loads, papers=kept)


def _ground(settings: Settings, variables: Mapping[str, str], parts: AsyncExitStack, world: World) -> _Ground:
    log = world.log or _log(settings.log, parts)
    afterwards = Afterwards()
    parts.callback(afterwards.now)  # before the log closes
    out = egress(variables)
    if out.words:
        logging.getLogger("pointsman.proxy").info("the way out: %s", out.words)
    transport = HttpTransport(out)
    parts.push_async_callback(transport.aclose)
    telemetry = Telemetry(settings.otel, settings.sample, world.draw, version("pointsman"))
    parts.callback(telemetry.shutdown)
    parts.callback(afterwards.now)  # and before no more traces are taken
    workers = settings.workers
    gates = Gates(workers, world.wall() - world.now(), world.owners)
    book, meters = Book(world.draw, workers), Meters(version("pointsman"))
    return _Ground(world, log, afterwards, transport, book, gates, meters, Temperatures(), telemetry)


@dataclass(frozen=True, slots=True)
class Hearers:
    """Who is told what of the policy: see `Policy`."""

    swapped: Callable[[InForce], None]
    reloaded: Callable[[bool], None]
    prepare: Callable[[RouteTable], Awaitable[None]]
    dress: Callable[[RouteTable], RouteTable] | None = None


def policy_of(
    settings: Settings,
    variables: Mapping[str, str],
    heard: Hearers,
    source: ToldSource | Overheard,
    number: Callable[[int, bool], int],
) -> Policy:
    """The policy of `source`, numbered by `number` as `Policy` says; nothing is read yet."""
    own = frozenset({(settings.host, settings.port), ("127.0.0.1", settings.admin_port)})
    return Policy(
        source, variables, own, heard.swapped, heard.reloaded, heard.prepare, source.read_file, number, heard.dress
    )


def supervisor(settings: Settings, variables: Mapping[str, str]) -> Supervisor:
    """The supervisor of several workers; made inside its loop."""
    source = named(settings)

    def policy(
        settings: Settings,
        swapped: Callable[[InForce], None],
        reloaded: Callable[[bool], None],
        prepare: Callable[[RouteTable], Awaitable[None]],
        number: Callable[[int, bool], int],
    ) -> Policy:
        return policy_of(settings, variables, Hearers(swapped, reloaded, prepare), source, number)

    from .workers.supervisor import Outside, Supervisor  # no worker has to hold it

    outside = Outside(source, policy, variables, version("pointsman"), time.monotonic, random.random)
    return Supervisor(settings, outside)


async def look_for_credentials(table: RouteTable, variables: Mapping[str, str]) -> None:
    """Say so at the start where nothing can be signed: else each request would fail, and the first one say why."""
    specs = {name: target.spec for name, target in table.targets.items()}
    signed = [name for name, spec in specs.items() if not isinstance(spec, VllmSpec) and getattr(spec, "sign", True)]
    if signed:
        chain = AwsCredentials()
        if (why := await chain.unfound(variables)) is not None:
            logging.getLogger("pointsman.proxy").warning("%s (targets: %s)", why, ", ".join(sorted(signed)[:8]))
        await chain.aclose()


@asynccontextmanager
async def warming(
    settings: Settings, variables: Mapping[str, str], table: RouteTable, credentials: CredentialSource | None = None
) -> AsyncIterator[Warmer]:
    """A warmer of its own, without a proxy, for one policy. Raises OSError or StoreError."""
    async with AsyncExitStack() as parts:
        world = real()
        ground = _ground(settings, variables, parts, world)
        if credentials is None:
            credentials = chain = AwsCredentials()
            parts.push_async_callback(chain.aclose)
        store = _store(settings.state, parts, world)
        label = f"{table.digest}/1"
        pings = _pings(lambda: (table, label), _backends(ground.transport, credentials, world), ground)
        warmth = warmth_of(pings, store, pings.new_id, settings.prices)
        if warmth.uses is not None:
            await warmth.uses.exchange()
        yield warmth.warmer


def _backends(transport: HttpTransport, credentials: CredentialSource, world: World) -> dict[str, Backend]:
    signer, utc = Signer(), WholeSeconds(world.wall)
    return {
        "endpoint": Translated(EndpointBackend(transport, credentials, signer, utc), world.wall),
        "bedrock": Translated(BedrockBackend(transport, credentials, signer, utc), world.wall, looks=False),
        "vllm": Translated(VllmBackend(transport), world.wall),
    }


def _store(address: str | None, parts: AsyncExitStack, world: World) -> Store | None:
    if address is None:
        return None
    store = world.open_store(address)
    parts.push_async_callback(store.aclose)
    return store


def _pings(table: Callable[[], tuple[RouteTable, str]], backends: Mapping[str, Backend], ground: _Ground) -> Parts:
    world = ground.world
    return Parts(
        table=table,
        backends=backends,
        book=ground.book,
        meters=ground.meters,
        now=world.now,
        wall=world.wall,
        draw=world.draw,
        new_id=partial(_new_id, world),
        pause=asyncio.sleep,
        trace=ground.telemetry.start,
        tell=ground.log.write,
        temperatures=ground.temperatures,
    )


def static_credentials(access_key: str, secret_key: str) -> CredentialSource:
    """Fixed credentials, for targets that are stand-ins."""
    return StaticCredentials(Credentials(access_key, secret_key, None, None))


def _folder(settings: Settings) -> Path:
    """Where relative paths of handlers start: beside the policy, or here when it is in S3."""
    return Path() if settings.policy.startswith("s3://") else Path(settings.policy).absolute().parent


def named(settings: Settings) -> Overheard:
    """Where the policy is that the settings name, and the files beside it."""
    folder = _folder(settings)
    return Overheard(_source(settings), template_reader(folder), template_stamp(folder))


def _source(settings: Settings) -> Source:
    if not settings.policy.startswith("s3://"):
        return FileSource(settings.policy)

    reader = ObjectReader()

    async def read(url: str, whole: bool) -> tuple[str, str]:
        try:
            return await reader.read(url, whole=whole)
        except OSError as error:
            msg = f"{url}: {error}"
            raise UnreadableError(msg) from error

    return ObjectSource(settings.policy, settings.poll, read)


def _log(path: str, parts: AsyncExitStack) -> AccessLog:
    if path == "-":
        log = AccessLog(open(sys.stdout.fileno(), "wb", buffering=0, closefd=False))  # noqa: SIM115 - it stays open
    else:
        file = LogFile(Path(path))
        parts.callback(file.close)
        log = AccessLog(file.stream(), file.stream)
    parts.callback(log.close)
    return log


def _new_id(world: World) -> str:
    """A random request id in UUID form, as AWS's are; without the objects and the system call of `uuid4`."""
    digits = f"{world.bits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
