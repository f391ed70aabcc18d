"""A running proxy: its listeners, its duties, its signals and its end.

One process, one event loop. SIGTERM and SIGINT drain: no new connections, requests in flight get the drain time.
SIGHUP reloads the policy. The first line on standard output says where it listens, as JSON, for scripts.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from backends.http.edge import ByteBudget, Listener
from backends.http.limits import Limits
from backends.http.polling import BusyPoll
from backends.tasks import end, start

from . import heap, slices
from .door import tls_context, watch_certificate
from .faces.admin import Admin, State
from .faces.container import Started
from .faces.front import front
from .flags import MIB
from .services import Services
from .settings import Settings, SettingsError

log = logging.getLogger("pointsman.server")

YOUNG = 5_000
"""Objects more than before at which the collector looks at the newest of them; 700 is Python's default, which a proxy
with 100 requests in flight passes all the time."""
LOCK_TIME = 0.0001
"""Seconds for which a thread that computes keeps Python's lock from one that waits for it. By default they are 0.005,
which the loop waits in each of its turns while a handler in a thread computes or spans are encoded. Measured beside
handlers in threads that compute all the time: the median of other requests 3 ms in place of 49
(`python -m benchmarks.handlers`); with every request traced a tenth less CPU, with one in a hundred no difference."""

LAG_PERIOD = 0.5
"""Seconds between two looks at how late the event loop is."""


class CannotListen(Exception):
    """A port can't be had; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running proxy listens."""

    host: str
    port: int
    admin_port: int | None
    """None where there is no admin port: in a SageMaker container, which has one port."""
    tls: bool
    """Clients are to speak TLS."""


@asynccontextmanager
async def running(settings: Settings, services: Services) -> AsyncIterator[Addresses]:
    """A proxy that serves until the block is left, and then drains.

    Raises CannotListen, or SettingsError where it is to be the container of an endpoint that the policy lacks.
    """
    state = State()
    contracts, tls = contracts_of(settings, services)
    admin = Admin(services, state, settings.admin_token, lambda: contracts.in_flight, settings.admin_names)
    operators = Listener(admin.handle, admin.malformed, ByteBudget(MIB), drain=1.0)
    duties: list[asyncio.Task[None]] = []
    following: list[asyncio.Task[None]] = []
    try:
        port = await _listen(contracts, settings.host, settings.port, "--port", tls)
        admin_port = None
        if settings.face != "container":
            admin_port = await _listen(operators, "127.0.0.1", settings.admin_port, "--admin-port")
        duties = [
            start(services.policy.watch(asyncio.sleep), name="policy-watch"),
            *duties_of(settings, services, state, tls, warms=True),
        ]
        following = follows(services)
        yield Addresses(settings.host, port, admin_port, tls is not None)
    finally:
        state.draining = True
        await end(duties)
        await contracts.stop()
        await operators.stop()
        await end(following)


def settle() -> None:
    """The process is set up, and serves from here on: what is there now stays, and this thread is not kept waiting.

    What a request makes is freed by counts of references. What the collector looks for is rare, and a look at the
    80,000 objects of a process that has started takes 40 ms, in which no request moves. For processes that only serve.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
    if heap.by_glibc():
        heap.give_back()
    heap.lay_in_large_pages()
    slices.shorten()
    sys.setswitchinterval(LOCK_TIME)


def contracts_of(settings: Settings, services: Services) -> tuple[Listener, ssl.SSLContext | None]:
    """What serves clients, not yet listening, and its TLS. Raises SettingsError as `running` does."""
    door = front(services, _started(settings, services), services.handlers.unready)
    tls = tls_context(settings, services.papers)
    limits = Limits(head_time=settings.head_time, connections=settings.connections)
    budget = ByteBudget(settings.body_budget)
    polling = BusyPoll(settings.busy_poll) if settings.busy_poll else None
    contracts = Listener(door.handle, door.malformed, budget, drain=settings.drain, limits=limits, polling=polling)
    return contracts, tls


def duties_of(
    settings: Settings,
    services: Services,
    state: State,
    tls: ssl.SSLContext | None,
    *,
    warms: bool,
    ask: Callable[[list[str]], None] | None = None,
) -> list[asyncio.Task[None]]:
    """What every process that serves does beside it; the caller cancels the tasks. `warms`: it is who warms. `ask`: who
    is to say when changed handlers are put in force."""
    duties = [
        start(services.handlers.watch(asyncio.sleep, ask), name="handlers-watch"),
        start(_watch_lag(state), name="loop-lag"),
    ]
    if heap.by_glibc():
        duties.append(start(heap.watch(asyncio.sleep), name="heap-watch"))
    if tls is not None:
        renews = watch_certificate(tls, settings, asyncio.sleep, services.papers)
        duties.append(start(renews, name="certificate-watch"))
    if services.door is not None:
        duties.append(start(services.door.watch(asyncio.sleep), name="keys-watch"))
    return [*duties, *fleet_duties(services, warms=warms)]


def follows(services: Services) -> list[asyncio.Task[None]]:
    """What follows migrations. It is to be ended when no request is left: what became of the last ones counts as well,
    and they are the slow ones."""
    if services.follower is None:
        return []
    following = services.follower.run(lambda: services.policy.current.table, asyncio.sleep)
    return [start(following, name="migrations-follow")]


def fleet_duties(services: Services, *, warms: bool) -> list[asyncio.Task[None]]:
    """Of these, what warms targets and decides about migrations."""
    duties = []
    if services.controller is not None:  # of several, also of several workers, a lease lets one decide
        duties.append(
            start(services.controller.run(lambda: services.policy.current.table, asyncio.sleep), name="migrations")
        )
    if services.alerts is not None:
        duties.append(start(services.alerts.run(), name="alerts"))
    if services.shadows is not None:
        duties.append(start(services.shadows.run(), name="shadow"))
    if services.uses is not None:
        duties.append(start(services.uses.run(), name="uses"))
    if services.warmer is not None and warms:
        duties.append(start(services.warmer.run(), name="warmer"))
    return duties


@asynccontextmanager
async def signals(services: Services) -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set; SIGHUP reloads the policy, SIGUSR2 means nothing to a single process.

    All hold from before the block to its end.
    """
    loop = asyncio.get_running_loop()
    ended, hung_up = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    loop.add_signal_handler(signal.SIGUSR2, lambda: log.warning("an upgrade needs --workers 2 or more: going on as is"))
    reloads = start(_reload_at(hung_up, services), name="policy-reload")
    try:
        yield ended
    finally:
        reloads.cancel()
        await asyncio.gather(reloads, return_exceptions=True)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
            loop.remove_signal_handler(number)


def _started(settings: Settings, services: Services) -> Started | None:
    """What the process is the container of, held against the policy; None where it is none."""
    inside = settings.face == "container"
    if not inside and settings.endpoint is None and settings.endpoint_attribute is None:
        return None
    named = settings.endpoint, settings.endpoint_attribute
    started = Started(*named, inside=inside, cut=settings.platform_time)
    why = started.unready(services.policy.current.table, lambda _: None)
    if why is not None:
        msg = f"can't be a container: {why}"
        raise SettingsError(msg)
    return started


async def _reload_at(hung_up: asyncio.Event, services: Services) -> None:
    while True:
        await hung_up.wait()
        hung_up.clear()
        await services.policy.reload()


async def _listen(listener: Listener, host: str, port: int, flag: str, tls: ssl.SSLContext | None = None) -> int:
    try:
        return await listener.start(host, port, tls)
    except OSError as error:
        raise cannot_listen(host, port, flag, error) from error


def cannot_listen(host: str, port: int, flag: str, error: OSError) -> CannotListen:
    """What to raise when `error` kept us from an address that `flag` chooses."""
    reason = (error.strerror or str(error)).partition(" (")[0].lower()
    remedy = f"stop what holds it, or choose another with {flag}"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        remedy = "name an address of this machine with --host"
    elif error.errno == errno.EACCES:
        remedy = f"this user may not have that port: choose one from 1024 on with {flag}"
    at = str(error.filename or host)  # of a name's addresses the one where it was
    return CannotListen(f"can't listen on {f'[{at}]' if ':' in at else at}:{port} ({reason}); {remedy}")


async def _watch_lag(state: State) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_PERIOD
        await asyncio.sleep(LAG_PERIOD)
        state.loop_lag = max(0.0, loop.time() - due)
