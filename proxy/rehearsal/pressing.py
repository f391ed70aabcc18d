"""Clients that ask again as soon as they are answered, so many at a time: a closed loop, in real or virtual time.

After a call that failed a client waits for `PAUSE`: failures that come at once would make a storm of it, and would
leave a virtual clock no timer to jump to. Only answers with 200 have a latency and are requests a minute. What is
over before `settle` has passed is not counted. The load is bounded by its time, and by a number of calls where one is
given.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from backends.http.transport import Outgoing, Transport
from backends.tasks import start

from .candidate_table import NO_ANSWER, Row
from .clients import OK, answered
from .tally import quantile

PAUSE = 1.0
"""Seconds that a client waits after a call that failed."""


@dataclass(frozen=True, slots=True)
class Load:
    """How it is measured. Seconds are those of the loop."""

    concurrency: tuple[int, ...]
    seconds: float
    settle: float
    seed: int = 0
    calls: int | None = None
    """Calls of one row at most, those that are not counted as well; None: no limit."""


@dataclass(slots=True)
class Pressed:
    """What has been seen so far; complete when `press` has returned, and good for a row before."""

    concurrency: int
    begin: float = 0.0
    """On the loop's clock; what is over before is not counted."""
    end: float | None = None
    sent: int = 0
    seen: list[float] = field(default_factory=list)
    """Seconds of calls that were answered with 200."""
    failures: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    """By whom, where the proxy says so."""
    before: Counter[str] = field(default_factory=Counter)
    """What came of calls that were over too early to be counted."""

    def row(self, now: float, copies: int | None, *, whole: bool = True) -> Row:
        """What there is at `now`, on the loop's clock."""
        seconds = (self.end or now) - self.begin
        rate = len(self.seen) * 60 / seconds if seconds > 0 else 0.0
        p95 = quantile(sorted(self.seen), 0.95)
        counted = max(0.0, seconds)
        return Row(self.concurrency, p95, rate, +self.failures, copies, self.served, counted, whole, self.before)


async def press(transport: Transport, ask: Callable[[], Outgoing], load: Load, pressed: Pressed) -> None:
    """Press with `pressed.concurrency` clients for as long as `load` says; `ask` makes the next request."""
    loop = asyncio.get_running_loop()
    pressed.begin = loop.time() + load.settle

    async def client() -> None:
        while load.calls is None or pressed.sent < load.calls:
            pressed.sent += 1
            sent = loop.time()
            answer = await answered(transport, ask())
            counts = loop.time() >= pressed.begin
            if not counts:
                pressed.before[NO_ANSWER if answer is None else str(answer.status)] += 1
            if answer is None or answer.status != OK:
                pressed.failures[NO_ANSWER if answer is None else str(answer.status)] += counts
                await asyncio.sleep(PAUSE)
            elif counts:
                pressed.seen.append(loop.time() - sent)
                pressed.served[answer.header("x-pointsman-target") or ""] += 1

    clients = [start(client(), name="bench-client") for _ in range(pressed.concurrency)]
    try:
        await asyncio.wait(clients, timeout=load.settle + load.seconds)
    finally:
        pressed.end = loop.time()
        for one in clients:
            one.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
