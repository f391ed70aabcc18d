"""What a hop adds to the wait of a client that sends at a fixed rate: `python -m benchmarks.cost.latency --help`.

Requests leave on time over kept connections whether or not earlier ones have come back, and their wait is counted from
when they were due, so that a server that stalls cannot hide it (coordinated omission). Sides are interleaved in rounds;
`direct` is the target without a hop, and `added` compares medians of the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import deque
from statistics import median, quantiles
from time import perf_counter_ns
from typing import cast

import uvloop

from ..load import Shot, shot
from .__main__ import running
from .sums import interval
from .systems import CELLS, SERVERS, Cell

SIDES = ("bare", "ours", "ours, no handler", "ours, endpoint", "bare, stream", "ours, stream")
IDLE = 32
"""Connections that are ready when it begins."""


class _Line(asyncio.Protocol):
    """One kept connection: an answer ends with its length, or with the last chunk."""

    def __init__(self, idle: deque[_Line]) -> None:
        self._idle = idle
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[tuple[int, int]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, data: bytes) -> asyncio.Future[tuple[int, int]]:
        """Nanoseconds on the clock at the first byte of the body and at its end."""
        assert self._transport is not None
        self._done = asyncio.get_running_loop().create_future()
        self._got, self._first, self._length = b"", 0, -1
        self._transport.write(data)
        return self._done

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

    async def connected() -> _Line:
        return (await loop.create_connection(lambda: _Line(idle), one.host, one.port))[1]

    idle.extend([await connected() for _ in range(IDLE)])
    await asyncio.gather(*(idle.popleft().ask(one.data) for _ in range(IDLE)))  # every connection is warm
    began = perf_counter_ns() + 10_000_000
    first: list[float] = []
    whole: list[float] = []

    async def fire(due: int) -> None:
        line = idle.pop() if idle else await connected()  # a machine that stalls has more under way than usual
        answered, ended = await line.ask(one.data)
        first.append((answered - due) / 1e3)
        whole.append((ended - due) / 1e3)

    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            due = began + int(number / rate * 1e9)
            await asyncio.sleep(max(0, due - perf_counter_ns()) / 1e9)
            tasks.create_task(fire(due))
    return first, whole


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost.latency", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=200.0)
    arguments = parser.parse_args()
    cells = [cell for cell in CELLS if cell.name in SIDES]
    kept: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ("direct", "direct, stream", *SIDES)}
    with running(SERVERS, cells) as (ports, _, target):
        shots = {cell.name: _shot(cell, ports[cell.server]) for cell in cells}
        for name in ("direct", "direct, stream"):
            like = next(cell for cell in cells if cell.name == name.replace("direct", "bare"))
            shots[name] = shot(target + like.path, like.body, {})
        for number in range(-1, arguments.rounds):
            for name in shots if number % 2 else reversed(shots):
                first, whole = uvloop.run(paced(shots[name], arguments.rate, arguments.seconds))
                if number >= 0:
                    kept[name].append((median(first), median(whole), quantiles(whole, n=100)[98]))
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
    print("| server | first byte p50 us | added | whole p50 us | added | whole p99 us |\n|---|---|---|---|---|---|")
    for name in ("direct", *[each for each in SIDES if "stream" not in each], "direct, stream", *SIDES[-2:]):
        base = kept["direct, stream" if "stream" in name else "direct"]
        columns = []
        for which in (0, 1):
            added = interval([one[which] - other[which] for one, other in zip(kept[name], base, strict=True)])
            columns.append(f"{median(one[which] for one in kept[name]):.0f}")
            columns.append(f"{added.median:+.0f} [{added.low:+.0f}, {added.high:+.0f}]")
        print(f"| {name} | {' | '.join(columns)} | {median(one[2] for one in kept[name]):.0f} |")


def _shot(cell: Cell, port: int) -> Shot:
    return shot(f"http://127.0.0.1:{port}{cell.path}", cell.body, {})


if __name__ == "__main__":
    main()
