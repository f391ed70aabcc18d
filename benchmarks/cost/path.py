"""How long a server takes from waking up to having sent, at a fixed rate: `python -m benchmarks.cost.path --help`.

What a hop adds to a wait is twice a thread that is woken, which is the machine's, and what the server does from then
until it sleeps again. This is the second alone, by the kernel's own trace points, system calls included: from a
request's arrival until it is sent on, and from the answer's until that is sent. It says where to look; tracing costs
each call a microsecond or two.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import monotonic

from .. import machine
from . import gateways
from .latency import paced, precise
from .running import Running, running
from .sums import interval, ratios
from .systems import CELLS, SERVERS, Cell, checkout

WAITS, READS = ("epoll_wait", "epoll_pwait"), ("read", "readv", "recvfrom", "recvmsg")
WRITES = ("write", "writev", "sendto", "sendmsg")
EVENTS = ",".join(f"syscalls:sys_exit_{name}" for name in (*WAITS, *READS, *WRITES))
_LINE = re.compile(r"\s*(\d+)\s+([\d.]+):\s+syscalls:sys_exit_(\w+):\s*0x([0-9a-f]+)$")
_LARGEST = 1 << 20
"""Bytes; what is more is an error's number below zero."""
MARK = "vllm-router"


def stretches(script: str, larger: int) -> tuple[list[float], list[float]]:
    """Microseconds from waking up to having sent, of requests and of answers: reads of `larger` bytes and more are
    requests. `script` is what perf wrote down; only the thread that did most counts, since others write logs."""
    threads: dict[str, list[tuple[str, float, int]]] = defaultdict(list)
    for line in script.splitlines():
        found = _LINE.match(line)
        if found is not None and 0 < int(found[4], 16) < _LARGEST:
            threads[found[1]].append((found[3], float(found[2]) * 1e6, int(found[4], 16)))
    requests: list[float] = []
    answers: list[float] = []
    woke: float | None = None
    size = 0
    for call, at, result in max(threads.values(), key=len, default=[]):
        if call in WAITS:
            woke, size = at, 0
        elif call in READS:
            size = size or result
        elif size and woke is not None:
            (requests if size >= larger else answers).append(at - woke)
            woke = None
    return requests, answers


@contextmanager
def _traced(pid: int, output: Path) -> Iterator[None]:
    """What the process calls while the block lasts is in `output`."""
    perf = subprocess.Popen(
        ["perf", "record", "--quiet", "--event", EVENTS, "--pid", str(pid), "--output", str(output)],
        stderr=subprocess.PIPE,
    )
    try:
        yield
    finally:
        perf.send_signal(signal.SIGINT)
        _, said = perf.communicate()
    if not output.exists():
        raise SystemExit(f"perf cannot trace system calls here: {said.decode(errors='replace').strip()[-300:]}")


def measure(run: Running, rounds: int, rate: float, seconds: float) -> dict[str, tuple[list[float], list[float]]]:
    """Per cell the medians of both stretches, by round, microseconds."""
    found: dict[str, tuple[list[float], list[float]]] = {cell.name: ([], []) for cell in run.cells}
    began = monotonic()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "perf.data")
        for number in range(-1, rounds):  # the first one warms up and is not kept
            for cell in run.cells if number % 2 else reversed(run.cells):
                with _traced(run.pids[cell.server], output), asyncio.Runner(loop_factory=precise) as runner:
                    runner.run(paced(run.shot(cell), rate, seconds))
                if number < 0:
                    continue
                command = ["perf", "script", "--input", str(output), "--fields", "tid,time,event,trace", "--ns"]
                script = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                for kept, each in zip(found[cell.name], stretches(script, len(cell.body)), strict=True):
                    if not each:
                        raise SystemExit(f"{cell.name}: no read was followed by a write; is its name of a stream?")
                    kept.append(median(each))
            machine.progress("path", number + 1, rounds, began, monotonic())
    return found


def as_markdown(found: dict[str, tuple[list[float], list[float]]]) -> str:
    """A table, with what both take together as ratios to vllm-router's where that ran."""
    lines = [f"| server | request to target, us | answer to client, us | both, x {MARK} |", "|---|---|---|---|"]
    both = {name: [one + other for one, other in zip(*of, strict=True)] for name, of in found.items()}
    for name, of in found.items():
        times = [f"{each.median:.0f} [{each.low:.0f}, {each.high:.0f}]" for each in map(interval, of)]
        ratio = interval(ratios(both[name], both[MARK])) if MARK in both else None
        said = f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]" if ratio else ""
        lines.append(f"| {name} | {times[0]} | {times[1]} | {said} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    if shutil.which("perf") is None:
        raise SystemExit("perf is not installed; `apt-get install linux-perf`")
    servers, cells = list(SERVERS), [*CELLS, *gateways.CELLS]
    for root in arguments.also:
        server, more = checkout(root.resolve())
        servers.append(server)
        cells += more
    wanted = arguments.cells.split(";") + [f"ours@{root.resolve().name}" for root in arguments.also]
    chosen: Sequence[Cell] = [cell for cell in cells if cell.name in wanted and not cell.stream]
    others, missing = gateways.found(
        dict.fromkeys(cell.server for cell in chosen if cell in gateways.CELLS),
        build=True,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    with running([*servers, *others], [cell for cell in chosen if cell.server not in missing]) as run:
        for name, why in (missing | run.missing).items():
            print(f"left out: {name}: {why}", file=sys.stderr)
        with machine.preferred({os.getpid(), run.target_pid, *run.pids.values()}):
            found = measure(run, arguments.rounds, arguments.rate, arguments.seconds)
    print(f"{machine.commit()}, {machine.facts()['cpu']}, load before {machine.facts()['load before']}\n")
    print(as_markdown(found))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost.path", description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one server in one round")
    parser.add_argument("--cells", default=f"floor;rawup;bare;ours;ours, no handler;{MARK}", help="by name")
    parser.add_argument("--also", type=Path, action="append", default=[], help="another checkout, to compare with")
    return parser.parse_args()


if __name__ == "__main__":
    main()
