"""The supervisor of several workers: it owns ports, policy, admin port and workers, and serves no client itself.

The listening sockets stay open here from the first moment to the last, so that no queue of connections is lost with a
worker. SIGTERM and SIGINT drain every worker, SIGHUP reloads the policy in all of them, SIGUSR2 hands the ports to a
successor of the code that is installed then.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import quote

from backends.http.acceptor import Alone, seal
from backends.http.edge import ByteBudget, Listener
from backends.meters import Meters
from backends.state import StoreError, open_store
from backends.tasks import end, start
from policies.table import RouteTable

from ..faces.admin import State
from ..flags import MIB
from ..policy_source import InForce, Overheard, Policy
from ..server import Addresses
from ..settings import Settings, of_one_worker, unusual
from .child import Child, start_child
from .counts import Counts
from .handover import (
    END_TIME,
    NotWanted,
    Ports,
    Predecessor,
    Successor,
    alone,
    is_first_process,
    own_command,
    predecessor_of,
    start_successor,
)
from .memory import NOTHING, memory_of
from .messages import Begin, Told
from .operators import Operators
from .pool import Pool, pace_of
from .share import ABSENT, Board, new_page
from .sockets import inherited, listening

log = logging.getLogger("pointsman.supervisor")

HEARD = 3
"""Turns of the loop after which a signal that came while it was held is heard."""

MakePolicy = Callable[
    [
        Settings,
        Callable[[InForce], None],
        Callable[[bool], None],
        Callable[[RouteTable], Awaitable[None]],
        Callable[[int, bool], int],
    ],
    Policy,
]
"""(settings, swapped, reloaded, prepare, number) -> the policy, not yet read; see `Policy`."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What the supervisor is given: where the policy is, the environment, the clock and chance."""

    source: Overheard
    make_policy: MakePolicy
    variables: Mapping[str, str]
    version: str
    now: Callable[[], float]
    draw: Callable[[], float]


class Supervisor:
    """One supervisor; `supervise` is its whole life."""

    def __init__(self, settings: Settings, outside: Outside) -> None:
        """Made inside the loop."""
        self._settings = settings
        self._outside = outside
        self._meters = Meters(outside.version)
        self._counts = Counts(self._meters, outside.version)
        self._state = State()
        self._ended = asyncio.Event()
        self._hung_up = asyncio.Event()
        self._upgrade = asyncio.Event()
        self._successor: Successor | None = None
        """Who serves now."""
        self._dismissed: asyncio.Task[None] | None = None
        """The end of one that was under way when we were told to end."""
        self._pool: Pool | None = None
        self._admin: Listener | None = None
        self._sole = True
        """Nobody goes on with the ports when this one ends."""
        self._handed = False
        """It was told that it is its turn."""
        self._memory = NOTHING

    async def supervise(self, announce: Callable[[Addresses, str], None]) -> None:
        """Serve until told to end; `announce` is called once clients are served.

        Raises CannotListen, CannotServe, CannotSucceed, PolicyError, UnreadableError, or OSError for a lack of
        descriptors or processes.
        """
        with ExitStack() as parts:
            parts.enter_context(self._signals())
            before = await predecessor_of(self._outside.variables)
            clients, operators = self._ports(before, parts)
            settings = dataclasses.replace(
                self._settings,
                port=clients[0].getsockname()[1],
                admin_port=operators.getsockname()[1] if operators is not None else self._settings.admin_port,
            )
            policy = await self._load(settings, before)
            legacy, signs = before.legacy if before is not None else None, self._settings.keys_secret is not None
            self._memory = memory_of(legacy, parts, signs=signs)
            page = new_page(settings.workers)
            parts.callback(os.close, page)
            board = Board(page, settings.workers)
            parts.callback(board.close)
            pool = self._pool = self._workers(settings, clients, (page, board), await self._near(parts))
            self._sole = before is None
            try:
                if not await self._begin(pool, policy, before):
                    return
                await self._answer_operators(policy, pool, operators)
                announce(self._addresses(settings, operators), policy.current.label)
            except BaseException:
                await self._fail(pool, before)
                raise
            if before is not None:
                await self._tell(before)
            await self._until_ended(policy, pool, before, (clients, operators))

    def _ports(self, before: Predecessor | None, parts: ExitStack) -> Ports:
        """The listening sockets of the contracts and of operators."""
        settings = self._settings
        if before is not None:
            descriptors = before.legacy.listening, *before.legacy.also
            clients = [parts.enter_context(inherited(each)) for each in descriptors]
            left = before.legacy.admin
            return clients, parts.enter_context(inherited(left)) if left >= 0 else None
        clients = [parts.enter_context(each) for each in listening(settings.host, settings.port, "--port")]
        if settings.face == "container":
            return clients, None
        return clients, parts.enter_context(listening("127.0.0.1", settings.admin_port, "--admin-port")[0])

    async def _load(self, settings: Settings, before: Predecessor | None) -> Policy:
        """The policy, read and checked; a successor numbers on from where the one before was."""
        first = before.legacy.generation if before is not None else 0

        def swapped(policy: InForce) -> None:
            self._meters.policy(policy.table.digest, policy.generation)

        def number(generation: int, changed: bool) -> int:
            return (generation or first) + changed

        async def prepare(table: RouteTable) -> None:
            if self._pool is not None and table.digest != policy.current.table.digest:
                await self._pool.adopt(self._told(table.digest, policy.current.generation + 1))
            elif self._pool is not None:
                self._pool.try_again()

        policy = self._outside.make_policy(settings, swapped, self._meters.reload, prepare, number)
        await policy.load()
        return policy

    def _told(self, digest: str, generation: int) -> Told:
        source = self._outside.source
        return Told(source.name, source.text, dict(source.files), generation, f"{digest}/{generation}")

    async def _near(self, parts: ExitStack) -> str | None:
        """A store for the workers alone: what one of them uses or restores, the others have to know."""
        if self._settings.state is not None:
            return None
        try:
            folder = parts.enter_context(tempfile.TemporaryDirectory(prefix="pointsman-", ignore_cleanup_errors=True))
            address = f"sqlite:///{quote(folder)}/near.db"
            await open_store(address).aclose()  # made once, before several want to make it
        except (OSError, StoreError) as error:
            log.warning("each worker keeps targets warm by what it sees itself: %s", error)
            return None
        return address

    def _workers(
        self, settings: Settings, clients: Sequence[socket.socket], shared: tuple[int, Board], near: str | None
    ) -> Pool:
        page, board = shared
        variables = alone(self._outside.variables)
        each = unusual(of_one_worker(settings)) | {"drain": settings.drain}  # workers of older releases look for it
        memory = self._memory
        kept: dict[str, str] = {}
        first, also = clients[0].fileno(), tuple(port.fileno() for port in clients[1:])

        async def one(number: int) -> Child:
            return await start_child(number, (first, *also, page, *memory.descriptors), variables, kept)

        def begin(number: int, told: Told) -> Begin:
            more = memory.replays, also, True, memory.quotas, kept, True
            return Begin(number, each, told, first, page, near, *more)

        def ended(number: int, child: Child) -> None:
            board.put(number, ABSENT)
            self._counts.settle(child)

        outside, pace = self._outside, pace_of(settings.load_time)
        return Pool(settings.workers, one, begin, ended, outside.now, outside.draw, settings.drain, pace)

    async def _answer_operators(self, policy: Policy, pool: Pool, port: socket.socket | None) -> None:
        if port is None:
            return
        names = self._settings.admin_names
        operators = Operators(policy, pool, self._counts, self._state, self._settings.admin_token, names)
        self._admin = Listener(operators.handle, operators.malformed, ByteBudget(MIB), drain=1.0)
        await self._admin.adopt([port.dup()], Alone())

    async def _leave_operators(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.stop()

    async def _fail(self, pool: Pool, before: Predecessor | None) -> None:
        """Leave everything to the supervisor before this one, if there is one."""
        await self._leave_operators()
        if before is not None:
            await before.fail()
        await pool.stop()

    async def _begin(self, pool: Pool, policy: Policy, before: Predecessor | None) -> bool:
        """Start the workers and let them in; False when we were told to end meanwhile. Raises CannotServe."""
        told = self._told(policy.current.table.digest, policy.current.generation)
        ended = start(self._ended.wait(), name="ended-early")
        begins = start(self._let_in(pool, told, before), name="workers-start")
        await asyncio.wait({ended, begins}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if begins.done() and await begins and (before is None or not self._ended.is_set()):
            return True
        begins.cancel()
        await asyncio.gather(begins, return_exceptions=True)
        await self._fail(pool, before)
        return False

    async def _let_in(self, pool: Pool, told: Told, before: Predecessor | None) -> bool:
        """Whether they are let in: a successor's when it is its turn, if it comes."""
        await pool.start(told)
        if before is not None:
            try:
                left = await before.turn(told.label)
            except NotWanted:
                log.warning("the supervisor that started this one goes on without it: ending")
                return False
            if left is None:
                log.warning("the supervisor that started this one is gone: serving in its place")
            self._handed = left is not None
            self._inherit(left)
        await pool.let_in()
        return True

    async def _tell(self, before: Predecessor) -> None:
        """Say that this one serves; or at once that it does not, where it was told to end before it came to that."""
        for _ in range(HEARD):
            await asyncio.sleep(0)
        if self._ended.is_set():
            await self._leave_operators()
            await before.fail()
        else:
            before.serves()
            self._sole = self._handed  # one that ended without a word may have given us up, and go on

    def _addresses(self, settings: Settings, operators: socket.socket | None) -> Addresses:
        admin_port = settings.admin_port if operators is not None else None
        return Addresses(settings.host, settings.port, admin_port, settings.tls_cert is not None)

    async def _until_ended(
        self,
        policy: Policy,
        pool: Pool,
        before: Predecessor | None,
        ports: Ports,
    ) -> None:
        duties = [
            start(policy.watch(asyncio.sleep), name="policy-watch"),
            start(self._reloads(policy), name="policy-reload"),
            start(self._upgrades(policy, pool, ports), name="upgrade"),
        ]
        last_word = [start(self._last_word(before), name="predecessor-speaks")] if before is not None else []
        try:
            await self._ended.wait()
        finally:
            log.info("draining %d workers", pool.serving)
            self._state.draining = True
            await end(duties)
            if self._successor is None and self._sole:
                for each in ports[0]:
                    seal(each)
            for each in ports[0]:
                each.close()  # before the workers do: whoever closes last takes what is left in the queue
            await pool.stop()
            if self._successor is not None:
                if last_word:  # it may drain still: what it has counted goes through here to those who come after
                    await asyncio.wait(last_word, timeout=self._settings.drain + END_TIME)
                await self._successor.leave(await self._counted(pool))
            await end(last_word)
            await self._leave_operators()
            if self._dismissed is not None:
                await self._dismissed

    async def _counted(self, pool: Pool) -> str:
        await pool.refresh()
        return self._counts.left(pool.slots)

    def _inherit(self, meters: str | None) -> None:
        if meters is not None:
            self._counts.inherit(meters)

    async def _last_word(self, before: Predecessor) -> None:
        self._inherit(await before.counted())

    async def _reloads(self, policy: Policy) -> None:
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            await policy.reload()

    async def _upgrades(self, policy: Policy, pool: Pool, ports: Ports) -> None:
        while True:
            await self._upgrade.wait()
            self._upgrade.clear()
            if is_first_process():
                log.error("no upgrade: all processes here end with this one; start another container instead")
            elif await self._hand_over(policy, pool, ports):
                self._ended.set()
                return

    async def _hand_over(self, policy: Policy, pool: Pool, ports: Ports) -> bool:
        """Whether a successor serves. One that does not has ended, and operators are answered here again."""
        log.info("upgrade: starting a successor")
        command, variables = own_command(), alone(self._outside.variables)
        succeeds = start_successor(command, variables, ports, policy.current.generation, self._memory)
        starts = start(succeeds, name="successor-starts")
        try:
            await asyncio.wait((starts,))
            successor = starts.result()
            serves = await successor.ready()
            if serves:
                await self._leave_operators()
                serves = await successor.take(await self._counted(pool))
                if not serves:
                    await self._answer_operators(policy, pool, ports[1])
                    await successor.gone()
        except OSError as error:
            log.error("the upgrade failed, nothing has changed: %s", error.strerror)  # noqa: TRY400
            return False
        except asyncio.CancelledError:  # the end came first: nobody may stay behind with the ports
            self._dismissed = start(_dismiss(starts), name="successor-ends")
            raise
        if not serves:
            log.error("the upgrade failed, nothing has changed: process %d could not serve", successor.pid)
            return False
        log.info("upgrade: process %d has taken over", successor.pid)
        self._successor = successor
        return True

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        heard = {
            signal.SIGTERM: self._ended,
            signal.SIGINT: self._ended,
            signal.SIGHUP: self._hung_up,
            signal.SIGUSR2: self._upgrade,
        }
        for number, event in heard.items():
            loop.add_signal_handler(number, event.set)
        try:
            yield
        finally:
            for number in heard:
                loop.remove_signal_handler(number)


async def _dismiss(starts: asyncio.Task[Successor]) -> None:
    with suppress(OSError):
        await (await starts).end()
