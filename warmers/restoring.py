"""Brings cold targets back: one probe a target at a time, whoever finds it cold and however many.

A probe is the warmer's cheapest request in the target's dialect, through `Backend.invoke` and never through a
customer's handler, repeated until it is answered or the longest restore is over (`ping.ask`). Its task is owned here.
A warm-up that is under way at the target does the same, so none is started beside it. A target that speaks `opaque` has
no cheapest request: there a caller's own request has to be the probe.

With a shared state one process of the fleet sends it, the one with the target's lease; the others wait for its word,
which is that it has used the target (`uses.py`). Who is killed is followed when its lease has run out. While the store
is out of reach each process sends its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf

from backends.state import Lease, Store, StoreError
from backends.tasks import start
from policies.table import Route, Target
from policies.temperature import Warmth, pace

from .asking import BODIES
from .ping import Answer, Parts, ask
from .uses import Uses

log = logging.getLogger("pointsman.warm")

PERIOD = 15.0
"""Seconds that a target's lease holds; it is renewed three times in each."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The other processes that may restore the same targets."""

    store: Store
    name: str
    """One that no other process has."""
    uses: Uses


class Restorer:
    """The restore probes of one process."""

    def __init__(self, parts: Parts, fleet: Fleet | None = None) -> None:
        self._parts = parts
        self._fleet = fleet
        self._running: dict[str, asyncio.Task[None]] = {}
        self._back: dict[str, float] = {}
        """By target: when its last probe was answered."""
        self._again: dict[str, Route] = {}
        """By target: who found it cold while its last probe, which was over, was still being told to the others."""

    @property
    def out(self) -> tuple[str, ...]:
        """Targets that a probe is out for."""
        return tuple(self._running)

    def restore(self, route: Route, target: Target) -> bool:
        """See to it that `target` is being restored, in the name of `route`. False: only a caller's request can."""
        if self._parts.temperatures.asked(target):
            return True
        if target.name in self._running:
            self._again[target.name] = route
            return True
        if target.speaks not in BODIES:
            return False
        self._running[target.name] = start(self._probe(route, target), name=f"restore {target.name}")
        return True

    async def stop(self) -> None:
        """Give up what is under way."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()  # a task that was cancelled before it began has not left by itself

    async def _probe(self, route: Route, target: Target) -> None:
        try:
            async with self._turn(target) as ours:
                if ours:
                    await self._paced(target)
                    self._count(target, await self._asked(route, target))
                self._again.pop(target.name, None)
        finally:
            self._running.pop(target.name, None)
            again = self._again.pop(target.name, None)
        if again is not None and self._parts.temperatures.warmth(target, self._parts.now()) is Warmth.COLD:
            self.restore(again, target)

    async def _paced(self, target: Target) -> None:
        """A target that answers probes and refuses those who were held is asked no quicker than one that is cold."""
        early = self._back.get(target.name, -inf) + pace(target.restore) - self._parts.now()
        if early > 0.0:
            await self._parts.pause(early)

    def _count(self, target: Target, answer: Answer) -> None:
        """What came of a probe; before the others hear of it: who sees the target back sees this, too."""
        result = "ready" if answer.failure is None else "given_up" if answer.cold else "failed"
        self._parts.meters.cold.restore(target.name, result)
        if result == "ready":
            self._back[target.name] = self._parts.now()
        if result == "failed":
            log.warning("the restore probe of %s failed: %s", target.name, answer.failure)
            self._parts.temperatures.doubted(target, self._parts.now())
        elif result == "given_up":
            log.warning("the restore probe of %s was given up: not back within %.3g s", target.name, answer.seconds)

    async def _asked(self, route: Route, target: Target) -> Answer:
        """Every address of it, so that all are restored; it is back with the first answer, and callers go by that."""
        if target.replicas == 1:
            return await self._one(route, target, 0)
        answers = await asyncio.gather(*(self._one(route, target, number) for number in range(target.replicas)))
        return min(answers, key=lambda answer: (answer.failure is not None, not answer.cold, answer.seconds))

    async def _one(self, route: Route, target: Target, replica: int) -> Answer:
        try:
            return await ask(self._parts, route, target, replica, f"restore of {target.name}, which was found cold")
        except Exception as error:
            # What breaks here must reach neither the callers, who wait for a state, nor the next probe.
            log.exception("the restore probe of %s broke", target.name)
            return Answer(cold=False, seconds=0.0, failure=type(error).__name__)

    @asynccontextmanager
    async def _turn(self, target: Target) -> AsyncIterator[bool]:
        """Hold the target's lease while the probe is out. False: another process has brought the target back."""
        fleet = self._fleet
        if fleet is None:
            yield True
            return
        if await self._brought_back(fleet, target):
            yield False
            return
        renewing = start(self._renew(fleet, target), name=f"restore-lease {target.name}")
        try:
            yield True
        finally:
            renewing.cancel()
            await fleet.uses.exchange()  # the others wait to hear of it
            await self._release(fleet, target)

    async def _brought_back(self, fleet: Fleet, target: Target) -> bool:
        """Wait until the lease is ours, which is False, or the target is back by another process's doing."""
        temperatures, now = self._parts.temperatures, self._parts.now
        if await self._taken(fleet, target):
            return False
        temperatures.asking(target, now(), 1)
        try:
            while True:
                await self._parts.pause(pace(target.restore))
                await fleet.uses.exchange()
                if temperatures.warmth(target, now()) not in {Warmth.COLD, Warmth.WARMING}:
                    return True
                if await self._taken(fleet, target):
                    return False
        finally:
            temperatures.asking(target, now(), -1)

    async def _renew(self, fleet: Fleet, target: Target) -> None:
        while True:
            await self._parts.pause(PERIOD / 3)
            await self._taken(fleet, target)

    async def _taken(self, fleet: Fleet, target: Target) -> bool:
        try:
            return await self._take(fleet, target) is not None
        except StoreError as error:
            log.warning("who restores %s can't be agreed on: %s", target.name, error)
            return True

    async def _take(self, fleet: Fleet, target: Target) -> Lease | None:
        return await fleet.store.take(f"restore/{target.name}", fleet.name, self._parts.wall(), PERIOD)

    async def _release(self, fleet: Fleet, target: Target) -> None:
        try:
            lease = await self._take(fleet, target)
            if lease is not None:
                await fleet.store.release(lease)
        except StoreError as error:
            log.warning("the lease of %s's restore is left to run out: %s", target.name, error)
