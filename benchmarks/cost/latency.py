"""What a hop adds to the wait of a client that sends at a fixed rate.

Requests leave on time over kept connections whether or not earlier ones have come back, and their wait is counted from
when they were due, so that a server that stalls cannot hide it (coordinated omission). Sides are interleaved in rounds;
`direct` is the target without a hop, and what is added compares medians of the same round.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from time import monotonic, perf_counter_ns
from typing import cast

from .. import machine
from ..load import Shot
from .running import Running
from .systems import Cell

IDLE = 32
"""Connections that are kept ready; a server that falls behind gets more."""
DIRECT = "direct"
"""Side without a hop; of streams `direct, stream`."""

Waits = dict[str, dict[str, list[float]]]
"""By side: medians of the first byte and of the whole answer, and its 99th percentile, microseconds, by round."""


class _Line(asyncio.Protocol):
    """One kept connection: an answer ends with its length, or with the last chunk."""

    def __init__(self, idle: deque[_Line]) -> None:
        self._idle = idle
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[tuple[int, int]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(exc or ConnectionResetError("closed before its answer was complete"))

    def ask(self, data: bytes) -> asyncio.Future[tuple[int, int]]:
        """Nanoseconds on the clock at the first byte of the body and at its end."""
        assert self._transport is not None
        self._done = asyncio.get_running_loop().create_future()
        self._got, self._first, self._length = b"", 0, -1
        self._transport.write(data)
        return self._done

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._first:
            end = self._got.find(b"\r\n\r\n")
            if end < 0 or len(self._got) == end + 4:
                return
            self._first = perf_counter_ns()
            at = self._got.lower().find(b"\r\ncontent-length:", 0, end)
            self._length = end + 4 + int(self._got[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else -1
        if (len(self._got) >= self._length) if self._length >= 0 else self._got.endswith(b"\r\n0\r\n\r\n"):
            assert self._done is not None
            self._done.set_result((self._first, perf_counter_ns()))
            self._idle.append(self)


async def paced(one: Shot, rate: float, seconds: float) -> tuple[list[float], list[float]]:
    """Microseconds from when a request was due to the first byte of its answer's body, and to its end."""
    loop = asyncio.get_running_loop()
    idle: deque[_Line] = deque()

    async def connect() -> _Line:
        return (await loop.create_connection(lambda: _Line(idle), one.host, one.port))[1]

    lines = [await connect() for _ in range(IDLE)]
    await asyncio.gather(*(line.ask(one.data) for line in lines))  # every connection is warm
    began = perf_counter_ns() + 10_000_000
    first: list[float] = []
    whole: list[float] = []

    async def fire(due: int) -> None:
        line = idle.pop() if idle else await connect()
        answered, ended = await line.ask(one.data)
        first.append((answered - due) / 1e3)
        whole.append((ended - due) / 1e3)

    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            due = began + int(number / rate * 1e9)
            await asyncio.sleep(max(0, due - perf_counter_ns()) / 1e9)
            tasks.create_task(fire(due))
    while idle:
        idle.pop().close()
    return first, whole


def precise() -> asyncio.AbstractEventLoop:
    """A loop that wakes up within 0.1 ms; uvloop and epoll round to a millisecond, more than the hop adds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def measure(run: Running, cells: Sequence[Cell], rounds: int, rate: float, seconds: float) -> Waits:
    """All cells but the slow ones, and the target itself once for whole answers and once for streams."""
    shots: dict[str, Shot] = {}
    for cell in cells:
        shots.setdefault(DIRECT + (", stream" if cell.stream else ""), run.direct(cell))
        shots[cell.name] = run.shot(cell)
    waits: Waits = {name: {"first": [], "whole": [], "p99": []} for name in shots}
    began = monotonic()
    for number in range(-1, rounds):  # the first one warms up and is not kept
        for name in shots if number % 2 else reversed(shots):
            with asyncio.Runner(loop_factory=precise) as runner:
                first, whole = runner.run(paced(shots[name], rate, seconds))
            if number < 0:
                continue
            waits[name]["first"].append(median(first))
            waits[name]["whole"].append(median(whole))
            waits[name]["p99"].append(quantiles(whole, n=100)[98])
        machine.progress("latency", number + 1, rounds, began, monotonic())
    return waits


def added(waits: Mapping[str, Mapping[str, list[float]]], name: str, which: str) -> list[float]:
    """What the hop adds to the median, microseconds, round by round."""
    base = waits[DIRECT + (", stream" if name.endswith(", stream") else "")]
    return [one - other for one, other in zip(waits[name][which], base[which], strict=True)]
