"""The target and the servers, each where it belongs, and proof that they do what they are measured by."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from .. import machine, upstream
from ..load import Shot, once, shot
from ..processes import ended, environment, printed, process
from .gateways import free_port
from .systems import Cell, Server


@dataclass(frozen=True, slots=True)
class Running:
    """What serves, by the name of its server."""

    target: str
    target_pid: int
    ports: dict[str, int]
    pids: dict[str, int]
    cells: tuple[Cell, ...]
    """Those whose server runs and answers as it should."""
    missing: dict[str, str]
    """Optional servers that do not, and why."""

    def shot(self, cell: Cell) -> Shot:
        """The request of a cell."""
        return shot(f"http://127.0.0.1:{self.ports[cell.server]}{cell.path}", cell.body, {})

    def direct(self, cell: Cell) -> Shot:
        """The same without a hop, at the target that speaks like vLLM."""
        return shot(f"{self.target}/invocations", cell.body, {})


@contextmanager
def running(servers: Sequence[Server], cells: Sequence[Cell]) -> Iterator[Running]:
    """The target and those servers that the cells need, ready. One core is the servers', the other everything else's.

    Raises SystemExit when a server that is not optional does not start, or does not answer what the target answers.
    """
    cores = machine.split_cores()
    if cores:
        machine.pin(0, cores[1])
    with ExitStack() as stack:
        target = stack.enter_context(process([sys.executable, "-m", "benchmarks.upstream"]))
        run = Running(f"http://127.0.0.1:{int(printed(target))}", target.pid, {}, {}, tuple(cells), {})
        for server in servers:
            own = [cell for cell in cells if cell.server == server.name]
            if not own:
                continue
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            port = free_port()
            command = server.command(port, run.target, folder)
            child = stack.enter_context(_server(command, server.folder, folder, cores[0] if cores else set()))
            run.ports[server.name], run.pids[server.name] = port, child.pid
            try:
                _ready(run, own, child, server.starts_in, folder / "output.log")
            except RuntimeError as error:
                if not server.optional:
                    raise SystemExit(f"{server.name}: {error}") from error
                run.missing[server.name] = str(error)
                child.kill()
        kept = tuple(cell for cell in cells if cell.server in run.ports and cell.server not in run.missing)
        yield replace(run, cells=kept)


@contextmanager
def _server(command: list[str], root: Path, folder: Path, cores: set[int]) -> Iterator[subprocess.Popen[bytes]]:
    before = os.sched_getaffinity(0)
    if cores:
        machine.pin(0, cores)  # threads of a child keep what it was started with
    with (folder / "output.log").open("wb") as output:
        child = subprocess.Popen(command, cwd=root, env=environment(), stdout=output, stderr=output)
    machine.pin(0, before)
    with ended(child):
        yield child


def _ready(run: Running, cells: Sequence[Cell], child: subprocess.Popen[bytes], patience: float, output: Path) -> None:
    """Wait until all cells are answered as they should be. Some listen before they know their target: asked again."""
    until = time.monotonic() + patience
    wrong = "it does not listen"
    for cell in cells:
        while True:
            try:
                wrong = difference(cell, uvloop.run(once(run.shot(cell))))
            except (OSError, RuntimeError) as error:
                wrong = str(error)
            if not wrong:
                break
            if child.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{cell.name}: {wrong}; it said: {output.read_text(errors='replace')[-1500:]}")
            time.sleep(0.1)


def difference(cell: Cell, raw: bytes) -> str:
    """What is wrong with the raw body of an answer; empty when it is the target's: nothing else is worth timing."""
    if cell.stream:
        wanted = range(upstream.EVENTS - 1) if cell.slow else range(0)
        told = all(b"%04d" % number + b"x" * 18 in raw for number in wanted)
        same = told and (cell.slow or raw.count(b"chat.completion.chunk") == upstream.EVENTS - 1)
    elif cell.slow:
        content = json.loads(upstream.ANSWER)["choices"][0]["message"]["content"]
        same = content.encode() in raw
    else:
        same = raw == upstream.ANSWER
    return "" if same else f"another answer than the target's: {raw[:200]!r}"
