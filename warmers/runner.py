"""Keeps targets warm: looks at what is due, sends it, and says when an interval does not do what it is for.

One owner task runs `run`; every warm-up is a task of its own under it, so that minutes of waiting for one cold target
delay neither the others nor the lease's renewal. `once` is the same without the loop, for cron and event rules. What
fails is tried again after a minute at the earliest. The policy is read anew at every look, so a reload holds at once.

With a store, one process of the fleet is on duty (`lease.py`). Each warm-up is announced there before it is sent; an
announcement that is refused means the duty is lost, and nothing is sent. A warm-up itself can't be fenced: one that
was under way when its sender died is sent again by the successor, once, and counted.

What is known is of a place, not of a target's name: one that a reload has moved is another, and warmed at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import inf

from backends.book import named_place
from backends.state import Store, StoreError
from backends.tasks import start
from policies.quantities import show_seconds
from policies.table import BedrockSpec, ImportCost, Route, RouteTable, Target, Warmup

from .economics import dollars
from .idle import Advice, Seen, advise
from .interval_cost import month_usd, windows_of
from .lease import Duty
from .memory import Memory, document, read, write
from .ping import Answer, Parts, ask
from .prices import Prices
from .schedule import Entry, Ping, due
from .uses import Uses

log = logging.getLogger("pointsman.warm")

LOOK = 10.0
"""Seconds between two looks at most: each is a few comparisons a target, and sees a new policy."""
AGAIN = 60.0
"""Seconds before a warm-up that failed is tried again."""


@dataclass(frozen=True, slots=True)
class Warmed:
    """What became of one target's warm-up."""

    target: str
    met: str
    """`warm`, `cold` or `failed`."""
    gap: float | None
    """Seconds since the last use before it; None: not known."""
    seconds: float
    """Until the last of its requests was over."""
    sent: int
    """Requests that were under way at the same time."""
    answered: int
    """Of these. They reached at least one copy and at most so many: no service says which copy answered."""
    failure: str | None = None
    advice: str | None = None
    """Why the policy's interval does not keep it warm, and which would."""
    doubled: bool = False
    """It repeats one whose sender died or lost the duty."""
    usd_per_month: float | None = None
    """What warm-ups at the policy's interval cost, the model being otherwise idle; None: not known."""
    advised_usd_per_month: float | None = None
    """The same at the interval of `advice`."""


class Warmer:
    """The warmer of one process."""

    def __init__(
        self,
        parts: Parts,
        store: Store | None = None,
        duty: Duty | None = None,
        uses: Uses | None = None,
        prices: Callable[[], Prices] | None = None,
    ) -> None:
        """`duty` and `store` come together, or not at all: then this process warms for itself.

        `uses` is what others in the fleet use. `prices` reads a file of them, in a thread, once they are needed; it
        raises OSError or ValueError.
        """
        self._parts = parts
        self._uses = uses
        self._open_prices = prices
        self._prices: Prices | None = None
        self._store = store
        self._duty = duty
        self._token: int | None = None if duty else 0
        self._memories: dict[str, Memory] = {}
        """By place, as all below."""
        self._drawn: dict[str, float] = {}
        self._done: dict[str, float] = {}
        self._not_before: dict[str, float] = {}
        self._said: dict[str, Advice] = {}
        self._running: dict[str, asyncio.Task[Warmed | None]] = {}

    @property
    def on_duty(self) -> bool:
        """Whether this process is the one that warms."""
        return self._token is not None

    @property
    def cut_off(self) -> bool:
        """Whether nobody knows who warms: the shared state can't be reached."""
        return self._duty is not None and self._duty.lost

    async def run(self) -> None:
        """Warm until cancelled; what is under way is given up then, and the duty released."""
        try:
            while True:
                try:
                    wake = await self._look()
                except Exception:
                    # Whatever goes wrong with one look must not be the end of warming.
                    log.exception("a look at what is to be warmed broke")
                    wake = inf
                longest = min(LOOK, self._duty.look) if self._duty else LOOK
                await self._parts.pause(min(max(wake - self._parts.now(), 0.0) + 0.01, longest))
        finally:
            await self._stop()

    async def once(self) -> tuple[Warmed, ...]:
        """Send what is due now and wait for it; nothing when another process is on duty."""
        try:
            await self._look()
            found = await asyncio.gather(*self._running.values())
            return tuple(one for one in found if one is not None)
        finally:
            await self._stop()

    async def round(self) -> tuple[tuple[Warmed, ...], float]:
        """Send what is due now and wait for it; also the moment of `now` at which something else is."""
        await self._look()
        found = await asyncio.gather(*self._running.values())
        self._running.clear()
        table, _ = self._parts.table()
        _, wake = due(self._entries(table), self._parts.now(), self._parts.wall(), lambda: 0.0)
        return tuple(one for one in found if one is not None), wake

    async def _stop(self) -> None:
        tasks, self._running = list(self._running.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._duty is not None:
            await self._duty.release()

    async def _look(self) -> float:
        """Start the warm-ups that are due; when to look again, on the steady clock."""
        table, _ = self._parts.table()
        self._running = {name: task for name, task in self._running.items() if not task.done()}
        if self._duty is not None:
            token = await self._duty.hold()
            if token is not None and token != self._token:
                await self._inherit(table)
            self._token = token
        token = self._token
        if token is None:
            return inf
        await self._price(table)
        routes = {named_place(one.target): route for route in table.routes.values() for one in route.warm}
        entries = [entry for entry in self._entries(table) if not self._asked(entry.warmup.target)]
        pings, wake = due(entries, self._parts.now(), self._parts.wall(), self._parts.draw)
        for ping in pings:
            place = named_place(ping.warmup.target)
            self._drawn[place] = ping.drawn
            self._running[place] = start(self._warm(routes[place], ping, token), name=f"warm-{ping.warmup.target.name}")
        return wake

    def _asked(self, target: Target) -> bool:
        """Whether a warm-up is out, or a restore probe, which does what a warm-up would."""
        return named_place(target) in self._running or self._parts.temperatures.asked(target)

    async def _price(self, table: RouteTable) -> None:
        """Have prices at hand where the policy says what a warmed import is billed by."""
        read, wanted = self._open_prices, (one for route in table.routes.values() for one in route.warm)
        if read is None or not any(isinstance(one.target.cost, ImportCost) for one in wanted):
            return
        self._open_prices = None
        try:
            self._prices = await asyncio.to_thread(read)
        except (OSError, ValueError) as error:
            log.warning("what warm-ups cost can't be told: %s", error)

    def _entries(self, table: RouteTable) -> Iterable[Entry]:
        for route in table.routes.values():
            for one in route.warm:
                place = named_place(one.target)
                uses = [self._parts.book.last_used(one.target, one.copies), self._done.get(place)]
                if self._uses is not None and one.copies == 1:  # one use elsewhere says nothing of further copies
                    uses.append(self._uses.last(one.target))
                used = max((moment for moment in uses if moment is not None), default=None)
                yield Entry(one, used, self._drawn.get(place, 0.0), self._not_before.get(place, -inf))

    async def _inherit(self, table: RouteTable) -> None:
        """Go on where the one on duty before has left off."""
        if self._store is None:
            return
        for route in table.routes.values():
            for one in route.warm:
                name, place = one.target.name, named_place(one.target)
                try:
                    memory = read(await self._store.read(document(name)))
                except StoreError as error:
                    log.warning("what was known of %s's warm-ups can't be read: %s", name, error)
                    continue
                if memory.at not in {"", place}:
                    continue
                self._memories[place] = memory
                if memory.ended is not None:
                    ago = max(0.0, self._parts.wall() - memory.ended)
                    self._done[place] = max(self._done.get(place, -inf), self._parts.now() - ago)

    async def _warm(self, route: Route, ping: Ping, token: int) -> Warmed | None:
        """One target's warm-up; None when the duty was lost before it was sent."""
        warmup, name, place = ping.warmup, ping.warmup.target.name, named_place(ping.warmup.target)
        before = self._memories.get(place, Memory())
        doubled = before.open
        memory = replace(before, begun=self._parts.wall(), open=True, doubled=before.doubled + doubled, at=place)
        if not await self._announced(name, memory, token):
            return None
        why = f"warm-up of {name}{_after(ping.gap)}{', repeats one that was cut off' if doubled else ''}"
        sends = [(replica, why) for replica in range(warmup.target.replicas) for _ in range(warmup.copies)]
        answers = await asyncio.gather(*(self._ask(route, warmup, *one) for one in sends))
        warmed = _judged(name, ping.gap, answers, doubled)
        if warmed.answered:
            self._parts.temperatures.reached(warmup.target, (1, warmed.answered))
        now = self._parts.now()
        if warmed.answered == warmed.sent:
            self._done[place] = now
            memory = replace(memory, ended=self._parts.wall())
        else:
            self._not_before[place] = now + AGAIN
        if ping.gap is not None and (warmed.met != "failed" or any(one.cold for one in answers)):
            cold = any(one.cold for one in answers)
            memory = replace(memory, limit=memory.limit.and_(Seen(ping.gap, cold, alone=self._store is None)))
        await self._announced(name, replace(memory, open=False), token)
        return self._told(warmup, warmed)

    async def _ask(self, route: Route, warmup: Warmup, replica: int, why: str) -> Answer:
        try:
            return await ask(self._parts, route, warmup.target, replica, why)
        except Exception as error:
            # Whatever goes wrong with one target must not end the warming of the others.
            log.exception("the warm-up of %s broke", warmup.target.name)
            return Answer(cold=False, seconds=0.0, failure=type(error).__name__)

    async def _announced(self, name: str, memory: Memory, token: int) -> bool:
        """Write it down for a successor. False: there is one already, so this process is not on duty."""
        if self._store is not None:
            try:
                if not await self._store.write(document(name), write(memory), token):
                    log.warning("another process has taken over the warmer; %s is left to it", name)
                    return False
            except StoreError as error:  # the lease still holds: only the record of it is lost
                log.warning("the warm-up of %s can't be recorded: %s", name, error)
        self._memories[memory.at] = memory
        return True

    def _told(self, warmup: Warmup, warmed: Warmed) -> Warmed:
        """The outcome in metrics, and in the log when the interval does not do what it is for."""
        name, place, meters = warmed.target, named_place(warmup.target), self._parts.meters
        meters.warm_ping(name, warmed.met)
        limit = self._memories[place].limit
        for bound, seconds in (("at_least", limit.at_least), ("at_most", limit.at_most)):
            if seconds is not None:
                meters.warm_limit(name, bound, seconds)
        if warmed.failure is not None:
            log.warning("the warm-up of %s failed: %s", name, warmed.failure)
        advice = advise(limit, warmup.every)
        now, then = self._cost(warmup, warmup.every), self._cost(warmup, advice.instead) if advice else None
        for interval, usd in (("policy", now), ("advised", then if then is not None else now)):
            if usd is not None:
                meters.cold.cost(name, interval, usd)
        warmed = replace(warmed, usd_per_month=now, advised_usd_per_month=then)
        if advice is None:
            self._said.pop(place, None)
            return warmed
        words = _words(warmup, advice, now, then)
        if self._said.get(place) != advice:
            log.warning("%s", words)
        self._said[place] = advice
        return replace(warmed, advice=words)

    def _cost(self, warmup: Warmup, every: float) -> float | None:
        return month_usd(warmup, every, self._prices, self._parts.wall()) if self._prices is not None else None


def _judged(name: str, gap: float | None, answers: list[Answer], doubled: bool) -> Warmed:
    failure = next((one.failure for one in answers if one.failure is not None), None)
    met = "failed" if failure is not None else "cold" if any(one.cold for one in answers) else "warm"
    answered = sum(one.failure is None for one in answers)
    seconds = max((one.seconds for one in answers), default=0.0)
    return Warmed(name, met, gap, seconds, len(answers), answered, failure, doubled=doubled)


def _after(gap: float | None) -> str:
    return "" if gap is None else f", {show_seconds(round(gap))} after its last use"


def _words(warmup: Warmup, advice: Advice, now: float | None, then: float | None) -> str:
    name = warmup.target.name
    instead = float(int(advice.instead)) or advice.instead
    most = round(advice.at_most, 3 if advice.at_most < 60.0 else 0)
    ground = "gaps as long have ended warm" if advice.proven else "below an idle limit that others report"
    text = (
        f"warm-ups every {show_seconds(advice.every)} do not keep {name} warm: it was cold after "
        f"{show_seconds(most)} without use ({advice.cold} of {advice.of} warm-ups after that or "
        f"longer); `every: {show_seconds(instead)}` would ({ground})"
    )
    if not isinstance(warmup.target.spec, BedrockSpec):
        return text
    few, many = (windows_of(warmup, every) * warmup.copies for every in (advice.every, instead))
    text = f"{text}; that is {many:.0f} instead of {few:.0f} billing windows a day"
    if now is None or then is None:
        return f"{text}, see `pointsman warm plan`"
    return f"{text} and {dollars(then)} instead of {dollars(now)} a month, see `pointsman warm plan`"
