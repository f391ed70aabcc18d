"""Brings cold targets back: one probe a target at a time, whoever finds it cold and however many.

A probe is the warmer's cheapest request in the target's dialect, through `Backend.invoke` and never through a
customer's handler, repeated until it is answered or the longest restore is over (`ping.ask`). Its task is owned here.
A warm-up that is under way at the target does the same, so none is started beside it. A target that speaks `opaque` has
no cheapest request: there a caller's own request has to be the probe.
"""

from __future__ import annotations

import asyncio
import logging

from backends.tasks import start
from policies.table import Route, Target

from .asking import BODIES
from .ping import Answer, Parts, ask

log = logging.getLogger("pointsman.warm")


class Restorer:
    """The restore probes of one process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._running: dict[str, asyncio.Task[None]] = {}

    @property
    def out(self) -> tuple[str, ...]:
        """Targets that a probe is out for."""
        return tuple(self._running)

    def restore(self, route: Route, target: Target) -> bool:
        """See to it that `target` is being restored, in the name of `route`. False: only a caller's request can."""
        if self._parts.temperatures.asked(target) or target.name in self._running:
            return True
        if target.speaks not in BODIES:
            return False
        self._running[target.name] = start(self._probe(route, target), name=f"restore-{target.name}")
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
            answer = await self._asked(route, target)
        finally:
            self._running.pop(target.name, None)
        result = "ready" if answer.failure is None else "given_up" if answer.cold else "failed"
        self._parts.meters.cold.restore(target.name, result)
        if result == "failed":
            log.warning("the restore probe of %s failed: %s", target.name, answer.failure)
            self._parts.temperatures.doubted(target, self._parts.now())
        elif result == "given_up":
            log.warning("%s was not back within %.3g s", target.name, answer.seconds)

    async def _asked(self, route: Route, target: Target) -> Answer:
        try:
            return await ask(self._parts, route, target, 0, f"restore of {target.name}, which was found cold")
        except Exception as error:
            # What breaks here must reach neither the callers, who wait for a state, nor the next probe.
            log.exception("the restore probe of %s broke", target.name)
            return Answer(cold=False, seconds=0.0, failure=type(error).__name__)
