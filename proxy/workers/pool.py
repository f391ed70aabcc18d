"""The workers of one supervisor: started, told, watched, started again, drained.

Each has a slot with a number, and one task that keeps it filled. All of them begin to accept together, once each could
serve and they may; one that is started again accepts when it is ready. A new policy is tried by one worker first:
refused there, it has gone nowhere; in force there, the others are told at once, and one that refuses what another could
use is replaced. Changed files of handlers likewise: workers ask for them, and are told the policy in force anew. One
that can't use what another could goes on with what it has, since nobody has kept what was on disk a moment ago.

A worker that says nothing for a minute is killed: its loop stands, and with it everything that it holds. One that
starts has `Pace.load` between two things that it loads, and says what they are. Either is asked a look before where its
threads stand.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from backends.tasks import start
from policies.errors import PolicyError, Problem

from .child import ENDED, Child, ChildGone
from .messages import Accept, Answered, Begin, Drain, Facts, Told
from .restarts import falls_in_a_row, wait_before_start

log = logging.getLogger("pointsman.workers")

LATER = 3
"""Looks beyond the limit of a load after which a worker is killed: as a rule it says by itself what took too long."""
State = Literal["starting", "ready", "serving", "resting", "draining", "gone"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long workers are waited for, in seconds."""

    look: float = 1.0
    """Between two looks at whether they still speak; they report once a second."""
    silent: int = 60
    """Looks without a word after which a worker is killed. Looks and not seconds: after a pause of the whole machine
    none of them is late."""
    load: int = 120 + LATER
    """The same while it loads something before it serves; it gives most of it up by itself a few looks earlier."""
    answer: float = 2.0
    """For an answer to an operator."""
    leave: float = 5.0
    """Beyond the drain time; one that has not ended then is killed."""


def pace_of(load_time: float) -> Pace:
    """The pace where one thing may take `load_time` seconds to load."""
    return Pace(load=math.ceil(load_time) + LATER)


class CannotServe(Exception):
    """The first workers could not start; the message is one line that says what to do."""


@dataclass(slots=True)
class Slot:
    """The place of one worker."""

    number: int
    state: State = "starting"
    child: Child | None = None
    restarts: int = 0
    falls: int = 0
    """How often in a row it ended without having served for a while."""
    serves_since: float = math.inf
    """Infinite: it has not come so far."""
    ended: str | None = None
    """Why it last ended."""
    hung: int = 0
    """How often it was killed since it said nothing."""


class Pool:
    """All workers."""

    def __init__(
        self,
        workers: int,
        start_child: Callable[[int], Awaitable[Child]],
        begin: Callable[[int, Told], Begin],
        ended: Callable[[int, Child], None],
        now: Callable[[], float],
        draw: Callable[[], float],
        drain: float,
        pace: Pace = Pace(),
    ) -> None:
        """`begin` makes a worker's first message; `ended` is told of each that has ended."""
        self.slots = tuple(Slot(number) for number in range(workers))
        self._start_child = start_child
        self._begin = begin
        self._ended = ended
        self._now = now
        self._draw = draw
        self._drain = drain
        self._pace = pace
        self._policy: Told | None = None
        self._all_ready = asyncio.Event()
        """Also set when the first start failed."""
        self._open = False
        """Whether workers may accept."""
        self._stopping = asyncio.Event()
        self._failure: str | None = None
        """Why a worker ended before it was let in for the first time."""
        self._tasks: list[asyncio.Task[None]] = []
        self._adopting = asyncio.Lock()
        """Held by who tells serving workers a policy: one at a time."""
        self._changed = asyncio.Event()
        """Workers ask for versions of handlers' files."""
        self._asked: frozenset[str] = frozenset()
        """Which: those of the last who asked."""
        self._refused: frozenset[str] = frozenset()
        """Which were asked for when a worker that was told to could not use them."""

    async def start(self, policy: Told) -> None:
        """Start every worker; returns when all of them could serve. Raises CannotServe, and then none is left."""
        self._policy = policy
        keeps = [start(self._keep(slot), name=f"worker-{slot.number}") for slot in self.slots]
        watch = start(self._watch(), name="workers-watch")
        self._tasks = [*keeps, watch, start(self._renews(), name="workers-handlers")]
        await self._all_ready.wait()
        await self._raise_failure()

    async def let_in(self) -> None:
        """All accept from now on. Raises CannotServe where one has ended since `start`, and then none is left."""
        await self._raise_failure()
        self._open = True
        for slot in self.slots:
            self._let_in(slot)

    async def adopt(self, policy: Told) -> None:
        """Put `policy` in force in every worker, or in none. Raises PolicyError when it is refused."""
        async with self._adopting:
            first = await self._tried(policy)
            self._policy = policy
            await asyncio.gather(*(self._bring_up_to_date(slot) for slot in self._serving() if slot is not first))

    async def _tried(self, policy: Told) -> Slot | None:
        """Who has put `policy` in force before all others. Raises PolicyError."""
        first = min(self._serving(), key=_silence, default=None)  # one that stands would say nothing of it for a minute
        if first is not None and first.child is not None:
            problems = await self._tell(first.child, policy)
            if problems:
                raise PolicyError(problems, policy.name)
        return first

    def try_again(self) -> None:
        """Try changed handlers once more, if there are any that were refused."""
        self._refused = frozenset()

    def _ask(self, versions: list[str]) -> None:
        self._asked = frozenset(versions)
        self._changed.set()

    async def _renews(self) -> None:
        """Put changed handlers in force whenever workers ask for them, but for what was tried in vain."""
        while True:
            await self._changed.wait()
            if not self._refused or not self._refused <= self._asked:
                async with self._adopting:
                    await self._renew(self._asked)
            self._changed.clear()  # who still has something to ask for asks again

    async def _renew(self, versions: frozenset[str]) -> None:
        policy = self._newest()
        try:
            first = await self._tried(policy)
        except PolicyError as error:
            self._refused = versions
            log.error("a changed handler is not used, the one before it goes on: %s", error)  # noqa: TRY400
            return
        others = [(slot.number, slot.child) for slot in self._serving() if slot is not first and slot.child is not None]
        found = await asyncio.gather(*(self._tell(child, policy) for _, child in others))
        self._refused = versions if any(found) else frozenset()
        for (number, _), problems in zip(others, found, strict=True):
            if problems:
                log.error("worker %d can't use the changed handler that another could: %s", number, problems[0].message)
        log.info("a changed handler is in force")

    async def stop(self) -> None:
        """Drain every worker, and kill those that do not end in time."""
        self._stopping.set()
        for slot in self.slots:
            self._send_away(slot)
        if self._tasks:
            *keeps, watch, renews = self._tasks
            watch.cancel()
            renews.cancel()
            _, late = await asyncio.wait(keeps, timeout=self._drain + self._pace.leave)
            for slot in self.slots if late else ():
                if slot.child is not None:
                    log.error("worker %d does not end: killed", slot.number)
                    slot.child.kill()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def refresh(self) -> None:
        """Bring up to date what the workers say of themselves."""
        await asyncio.gather(*(slot.child.refresh(self._pace.answer) for slot in self.slots if slot.child is not None))

    async def ask(self, method: str, path: str) -> dict[int, Answered]:
        """What each serving worker answers to an operator, by its number."""
        asked = [(slot.number, slot.child) for slot in self._serving() if slot.child is not None]
        answers = await asyncio.gather(*(child.answer(method, path, self._pace.answer) for _, child in asked))
        return {number: answer for (number, _), answer in zip(asked, answers, strict=True) if answer is not None}

    def facts(self) -> list[Facts]:
        """What every worker last said of itself."""
        return [slot.child.facts for slot in self.slots if slot.child is not None]

    def troubles(self) -> list[str]:
        """Why workers that do not serve have ended."""
        out = [slot for slot in self.slots if slot.state in {"starting", "resting"} and slot.ended is not None]
        return [f"worker {slot.number} is gone: {slot.ended}" for slot in out]

    @property
    def serving(self) -> int:
        """How many accept connections."""
        return len(self._serving())

    def _serving(self) -> list[Slot]:
        return [slot for slot in self.slots if slot.state == "serving"]

    async def _raise_failure(self) -> None:
        if self._failure is not None:
            await self.stop()
            raise CannotServe(self._failure)

    def _send_away(self, slot: Slot) -> None:
        if slot.child is None:
            return
        if slot.state == "starting":  # it serves nobody, and hears nothing before it has loaded all that it needs
            slot.child.kill()
        slot.state = "draining"
        slot.child.tell(Drain())

    async def _bring_up_to_date(self, slot: Slot) -> None:
        """One that refuses what another could use is replaced: two policies must not stay in force."""
        if slot.child is not None and await self._tell(slot.child, self._newest()):
            log.error("worker %d can't use the policy that another could: it is replaced", slot.number)
            self._send_away(slot)

    async def _tell(self, child: Child, policy: Told) -> tuple[Problem, ...]:
        """Why the worker can't put the policy in force; empty when it did."""
        try:
            verdict = await child.adopt(policy)
        except ChildGone as error:
            why = f"the worker that was to use it {error}" + (f": {child.fault}" if child.fault else "")
            return (Problem("", 1, why),)
        problems = tuple(Problem(path, line, message) for path, line, message in verdict.problems)
        if not problems and verdict.label != policy.label:
            return (Problem("", 1, f"a worker came to {verdict.label} instead of {policy.label}"),)
        return problems

    async def _keep(self, slot: Slot) -> None:
        """Keep the slot filled until the end."""
        while not self._stopping.is_set():
            slot.state, slot.serves_since = "starting", math.inf
            try:
                why = await self._live(slot)
            except Exception:  # what goes wrong around one worker must not leave its place empty for ever
                log.exception("the end of worker %d could not be dealt with", slot.number)
                why = "an error of the supervisor"
            slot.child, slot.ended = None, why
            if self._stopping.is_set():
                break
            if not self._open:
                self._failure = f"a worker did not start: {why}" if slot.hung else why
                self._stopping.set()
                self._all_ready.set()
                break
            # However long it took to start: what ends it before it serves would end it again.
            slot.falls = falls_in_a_row(slot.falls, self._now() - slot.serves_since)
            wait = wait_before_start(slot.falls, self._draw)
            log.warning("worker %d is gone (%s); another starts in %.1f s", slot.number, why, wait)
            slot.state = "resting"
            await self._stopping_within(wait)
            slot.restarts += 1
        slot.state = "gone"

    async def _live(self, slot: Slot) -> str:
        """One worker's life; returns why it ended."""
        try:
            child = slot.child = await self._start_child(slot.number)
            child.changed = self._ask
        except OSError as error:
            return f"it could not be started: {error.strerror}"
        if self._stopping.is_set():  # it was on its way when the others were sent away
            child.kill()
        hears = start(child.listen(), name=f"worker-{slot.number}-speaks")
        rises = start(self._bring_up(slot, child), name=f"worker-{slot.number}-rises")
        try:
            code = await child.process.wait()
        finally:
            rises.cancel()
            why, *_ = await asyncio.gather(rises, return_exceptions=True)
            await hears
            self._ended(slot.number, child)
        if child.fault is not None:
            slot.hung += 1
            return child.fault
        return why if isinstance(why, str) else f"signal {-code}" if code < 0 else f"exit code {code}"

    async def _bring_up(self, slot: Slot, child: Child) -> str | None:
        """Until it accepts, with the newest policy; else ends it, and says why."""
        try:
            await self._rise(slot, child)
        except ChildGone as error:
            child.kill()
            return None if str(error) == ENDED else str(error)
        return None

    def _newest(self) -> Told:
        assert self._policy is not None  # noqa: S101 - `start` has set it
        return self._policy

    async def _rise(self, slot: Slot, child: Child) -> None:
        """Raises ChildGone."""
        policy, refused = self._newest(), self._refused
        child.tell(self._begin(slot.number, policy))
        await child.ready()
        slot.state = "ready"
        if refused is self._refused:  # it has loaded what is there, so that others may try it as well
            self.try_again()
        if not self._open:
            if all(other.state == "ready" for other in self.slots):
                self._all_ready.set()
            return
        while policy is not self._policy:
            policy = self._newest()
            problems = await self._tell(child, policy)
            if problems:
                why = f"it can't use the policy: {problems[0].message}"
                raise ChildGone(why)
        self._let_in(slot)

    def _let_in(self, slot: Slot) -> None:
        if slot.child is not None and not self._stopping.is_set():
            slot.child.tell(Accept())
            slot.state, slot.serves_since = "serving", self._now()

    async def _stopping_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _watch(self) -> None:
        """Kill workers that have stopped to speak."""
        while True:
            await asyncio.sleep(self._pace.look)
            for slot in self.slots:
                if slot.child is not None:
                    self._look(slot, slot.child)

    def _look(self, slot: Slot, child: Child) -> None:
        child.silent += 1
        limit, doing = self._patience(slot, child)
        if child.silent <= limit:
            return
        if child.fault is not None:
            child.kill()
            return
        child.fault = f"it has said nothing for {limit} looks while it {doing}"
        log.error("worker %d has said nothing for %d looks while it %s: killed", slot.number, limit, doing)
        log.error("where each thread of worker %d stands follows, the innermost call first", slot.number)
        child.show()

    def _patience(self, slot: Slot, child: Child) -> tuple[int, str]:
        """For how many looks it may say nothing, and what it does."""
        pace = self._pace
        if slot.state != "starting":
            if child.adopting:
                return min(pace.silent, pace.load), f"put a policy in force (last it loaded {child.loading})"
            return pace.silent, "served"
        if child.loading is None:
            return max(pace.silent, pace.load), "started its interpreter"
        return pace.load, f"loaded {child.loading}; if that only takes long, give it more with --load-time"


def _silence(slot: Slot) -> float:
    return slot.child.silent if slot.child is not None and not slot.child.over else math.inf
