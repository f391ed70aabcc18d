"""One of several processes that serve: it does what its supervisor tells it, from the first message to the last.

It loads what it needs, says so, and takes connections from the shared sockets once it may. It ends when it is told to
drain, at SIGTERM, and when the line to the supervisor is closed: nobody could reload, count or stop a worker without
one. In each case requests in flight get the drain time, and the last thing it says is what it has counted.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal
import ssl
from collections.abc import Callable, Mapping

import orjson

from backends.http.edge import Listener
from backends.owners import Owners
from backends.state import StoreError
from backends.tasks import end, start
from policies.errors import PolicyError

from ..faces.admin import Admin, State, up_to_date
from ..papers import Papers
from ..policy_source import ToldSource, UnreadableError
from ..replays import Replays
from ..server import contracts_of, duties_of, follows, settle
from ..services import Services
from ..settings import Settings, SettingsError
from ..wiring import look_for_credentials, real, serving
from .channel import Channel
from .messages import (
    Accept,
    Answered,
    Begin,
    Changed,
    Drain,
    Facts,
    Failed,
    Kept,
    Loading,
    NewPolicy,
    Question,
    Ready,
    Verdict,
)
from .orphan import LEAVE
from .share import ABSENT, Board, Part
from .sockets import inherited

log = logging.getLogger("pointsman.worker")

REPORT = 1.0
"""Seconds between two reports: counts that are younger are lost when the process is killed."""

_FOR_THE_SUPERVISOR = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)


async def work(
    channel: Channel, variables: Mapping[str, str], orphaned: Callable[[float], None], report: float = REPORT
) -> int:
    """Serve as the other end of `channel` says; returns the exit code of the process.

    `orphaned` is told how many seconds after the end of its supervisor the process is to be over, whatever it does;
    `report` is the time between two reports.
    """
    try:
        begin = await channel.hear()
        if not isinstance(begin, Begin):
            return 2
        orphaned(float(begin.settings["drain"]) + LEAVE)
        await _serve(channel, begin, variables, report)
    except (SettingsError, PolicyError, UnreadableError, StoreError) as error:
        channel.tell(Failed(str(error)))
        return 2
    except OSError as error:
        channel.tell(Failed(f"{error.filename or 'a file'}: {error.strerror}; choose another place with --log"))
        return 2
    finally:
        await channel.close()
    return 0


async def _serve(channel: Channel, begin: Begin, variables: Mapping[str, str], report: float) -> None:
    known = {field.name for field in dataclasses.fields(Settings)}  # its supervisor may be of another release
    settings = Settings(**{name: value for name, value in begin.settings.items() if name in known})
    told = begin.policy
    replays = None
    if begin.replays >= 0:
        replays = Replays(begin.replays)
        os.close(begin.replays)
    owners = Owners(begin.quotas) if begin.quotas >= 0 else None
    source = ToldSource(told.name, told.text, told.files, told.generation)

    async def loads(what: str) -> None:
        if begin.listens:
            channel.tell(Loading(what))
            await asyncio.sleep(0)  # the loop sends it now: what is loaded next may hold the loop

    papers = Papers(begin.kept, lambda files: channel.tell(Kept(files))) if begin.kept is not None else None
    await loads("its log and policy")
    async with serving(
        settings, variables, told=source, near=begin.near, world=real(replays, owners, loads, papers)
    ) as services:
        if begin.number == 0:  # one line is enough
            await look_for_credentials(services.policy.current.table, variables)
        contracts, tls = contracts_of(settings, services)
        await Worker(begin, settings, services, source, contracts, channel, report).serve(tls)


class Worker:
    """A worker whose parts are there."""

    def __init__(
        self,
        begin: Begin,
        settings: Settings,
        services: Services,
        source: ToldSource,
        contracts: Listener,
        channel: Channel,
        report: float,
    ) -> None:
        self._begin = begin
        self._report = report
        self._settings = settings
        self._services = services
        self._source = source
        self._contracts = contracts
        self._channel = channel
        self._state = State()
        self._admin = Admin(services, self._state, None, lambda: contracts.in_flight)
        self._board = Board(begin.board, settings.workers)
        os.close(begin.board)
        self._accept = asyncio.Event()
        self._ended = asyncio.Event()
        self._policies: asyncio.Queue[NewPolicy] = asyncio.Queue()
        self._counted: bytes | None = None

    async def serve(self, tls: ssl.SSLContext | None) -> None:
        """Until the end."""
        listening = [inherited(each) for each in (self._begin.listening, *self._begin.also)]
        talks = [
            start(self._hear(), name="supervisor-speaks"),
            start(self._reports(), name="worker-reports"),
            start(self._adopts(), name="policy-told"),
        ]
        duties: list[asyncio.Task[None]] = []
        following: list[asyncio.Task[None]] = []
        restore = self._signals()
        try:
            self._channel.tell(Ready(self._services.policy.current.label))
            await self._may_accept()
            if not self._ended.is_set():
                settle()
                await self._contracts.adopt(listening, Part(self._board, self._begin.number), tls)
                warms, ask = self._begin.number == 0, self._ask if self._begin.tries else None
                duties = duties_of(self._settings, self._services, self._state, tls, warms=warms, ask=ask)
                following = follows(self._services)
            await self._ended.wait()
        finally:
            self._state.draining = True
            self._board.put(self._begin.number, ABSENT)
            await end(duties)
            await self._contracts.stop()
            await end(following)
            for each in listening:
                each.close()
            await end(talks)  # not before: who drains for an hour must not seem to stand, nor hold up a reload
            self._channel.tell(self._facts(0))
            self._board.close()
            restore()

    def _ask(self, versions: list[str]) -> None:
        if not self._channel.behind:  # as with reports
            self._channel.tell(Changed(versions))

    async def _may_accept(self) -> None:
        told = [start(event.wait(), name="worker-waits") for event in (self._accept, self._ended)]
        await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
        for each in told:
            each.cancel()

    def _signals(self) -> Callable[[], None]:
        """SIGTERM drains this worker; the rest of what a terminal sends to all processes is the supervisor's."""
        loop = asyncio.get_running_loop()
        heard = {signal.SIGTERM: self._ended.set, **dict.fromkeys(_FOR_THE_SUPERVISOR, lambda: None)}
        for number, does in heard.items():
            loop.add_signal_handler(number, does)

        def restore() -> None:
            for number in heard:
                loop.remove_signal_handler(number)

        return restore

    async def _hear(self) -> None:
        while (message := await self._channel.hear()) is not None:
            match message:
                case Accept():
                    self._accept.set()
                case NewPolicy():
                    self._policies.put_nowait(message)
                case Question(path=""):
                    self._channel.tell(self._facts(message.id))
                case Question():
                    self._channel.tell(await self._answer(message))
                case Drain():
                    self._ended.set()
                case _:
                    log.warning("the supervisor says %s, which is nothing to a worker", type(message).__name__)
        if not self._ended.is_set():
            log.error("the supervisor is gone: draining")
            self._ended.set()

    async def _adopts(self) -> None:
        """Put policies in force, in the order in which they are told; the loading of handlers may take a while."""
        while True:
            told = (await self._policies.get()).policy
            before = (self._source.text, self._source.files, self._source.generation)
            self._source.text, self._source.files, self._source.generation = told.text, told.files, told.generation
            problems: list[tuple[str, int, str]] = []
            try:
                await self._services.policy.load()
            except PolicyError as error:
                self._source.text, self._source.files, self._source.generation = before
                problems = [(problem.path, problem.line, problem.message) for problem in error.problems]
            self._channel.tell(Verdict(told.generation, self._services.policy.current.label, problems))

    async def _answer(self, question: Question) -> Answered:
        reads = question.method == "GET"
        answer = await (self._admin.read(question.path) if reads else self._admin.write(question.path))
        return Answered(question.id, answer.status, orjson.loads(answer.body))

    async def _reports(self) -> None:
        while True:
            if not self._state.draining:
                self._board.put(self._begin.number, self._contracts.connections if self._accept.is_set() else ABSENT)
            if not self._channel.behind:  # a supervisor that stands for long must not have its lines closed for it
                self._channel.tell(self._facts(0))
            await asyncio.sleep(self._report)

    def _facts(self, identity: int) -> Facts:
        services, contracts = self._services, self._contracts
        counted = up_to_date(services).snapshot()
        changed = counted != self._counted
        self._counted = counted
        return Facts(
            identity,
            connections=contracts.connections,
            in_flight=contracts.in_flight,
            loop_lag=self._state.loop_lag,
            log_lost=services.log.lost,
            spans_lost=services.telemetry.spans_lost,
            problem=services.handlers.problem,
            meters=counted.decode() if changed else None,
        )
