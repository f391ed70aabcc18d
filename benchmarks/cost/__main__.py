"""CPU time a request, beside others: `make bench-cost`, or `python -m benchmarks.cost --help`.

One core has the server that is measured, the other the client and the target, which both cost little. Every round asks
each cell in turn for a moment over 16 connections; CPU is user and system time of all the server's processes, from the
kernel's own accounting, so that waiting for a busy core does not count. Only ratios within a round mean something.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import uvloop

from .. import machine, upstream
from ..hop import CREDENTIALS, RESULTS, _line, process
from ..load import load, once, shot
from .report import as_markdown
from .systems import CELLS, SERVERS, Cell, Server, checkout

QUICK = "floor;rawup;bare;ours;ours, no handler;ours, endpoint;bare, stream;ours, stream;ours@*"
STARTS_IN = 30.0
"""Seconds for a server to listen."""


def main() -> None:
    """Measure, print, write both files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=0.4, help="length of one cell in one round")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--cells", help="only these, by name, separated by semicolons; a trailing * matches the rest")
    parser.add_argument("--also", type=Path, action="append", default=[], help="another checkout, to compare with")
    parser.add_argument("--out", type=Path, help=f"folder of the results; {RESULTS} for what is to be kept")
    parser.add_argument("--quick", action="store_true", help="the cells that matter most, in under a minute")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.cells = 8, arguments.cells or QUICK
    servers, cells = list(SERVERS), list(CELLS)
    for root in arguments.also:
        server, more = checkout(root.resolve())
        servers.append(server)
        cells += more
    if arguments.cells:
        cells = [cell for cell in cells if _named(cell.name, arguments.cells.split(";"))]
    about = {"commit": machine.commit(), "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", **machine.facts()}
    about |= {"rounds": str(arguments.rounds), "seconds": str(arguments.seconds)}
    about |= {"connections": str(arguments.connections), "request": f"{len(cells[0].body)} bytes"}
    with running(servers, cells) as (ports, pids, _):
        measured = measure(cells, ports, pids, arguments.rounds, arguments.seconds, arguments.connections)
    text = as_markdown(cells, measured, about)
    print(text)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        name = arguments.out / f"cost-{datetime.now(UTC):%Y-%m-%d}-{about['commit']}"
        name.with_suffix(".json").write_text(json.dumps({"about": about, "cells": measured}, indent=1) + "\n")
        name.with_suffix(".md").write_text(text)
        print(f"written to {name}.md and .json")


def _named(name: str, wanted: Sequence[str]) -> bool:
    return any(name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in wanted)


@contextmanager
def running(servers: Sequence[Server], cells: Sequence[Cell]) -> Iterator[tuple[dict[str, int], dict[str, int], str]]:
    """The target and the servers that the cells need: ports and process ids by name, and the target's URL."""
    cores = machine.split_cores()
    if cores:
        machine.pin(0, cores[1])
    with ExitStack() as stack:
        target = stack.enter_context(process([sys.executable, "-m", "benchmarks.upstream"]))
        url = f"http://127.0.0.1:{int(_line(target))}"
        ports, pids = {}, {}
        needed = {cell.server for cell in cells}
        for server in servers:
            if server.name not in needed:
                continue
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            ports[server.name] = _free_port()
            command = server.command(ports[server.name], url, folder)
            started = stack.enter_context(_server(command, server.folder, folder, cores[0] if cores else set()))
            pids[server.name] = started.pid
            _wait_for(ports[server.name], started, folder / "output.log")
        for cell in cells:
            _check(cell, uvloop.run(once(shot(f"http://127.0.0.1:{ports[cell.server]}{cell.path}", cell.body, {}))))
        yield ports, pids, url


@contextmanager
def _server(command: list[str], root: Path, folder: Path, cores: set[int]) -> Iterator[subprocess.Popen[bytes]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "POINTSMAN_", "OTEL_"))}
    environment = kept | CREDENTIALS | {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    before = os.sched_getaffinity(0)
    if cores:
        machine.pin(0, cores)  # threads of a child keep what it was started with
    with (folder / "output.log").open("wb") as output:
        child = subprocess.Popen(command, cwd=root, env=environment, stdout=output, stderr=output)
    machine.pin(0, before)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _wait_for(port: int, child: subprocess.Popen[bytes], output: Path) -> None:
    until = time.monotonic() + STARTS_IN
    while time.monotonic() < until and child.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"{child.args!r} does not listen on {port}: {output.read_text()[-2000:]}")


def _check(cell: Cell, raw: bytes) -> None:
    """What came is what the target sends; otherwise there is nothing worth timing."""
    if not cell.stream and raw != upstream.ANSWER:
        raise SystemExit(f"{cell.name}: another answer than the target's: {raw[:200]!r}")
    if cell.stream and raw.count(b"chat.completion.chunk") != upstream.EVENTS - 1:
        raise SystemExit(f"{cell.name}: another stream than the target's: {raw[:200]!r}")


def measure(
    cells: Sequence[Cell], ports: dict[str, int], pids: dict[str, int], rounds: int, seconds: float, connections: int
) -> dict[str, dict[str, list[float]]]:
    """Per cell: CPU microseconds a request, requests a second, microseconds to the first byte, by round."""
    measured: dict[str, dict[str, list[float]]] = {
        cell.name: {"cpu": [], "per_second": [], "first": []} for cell in cells
    }
    for number in range(-1, rounds):  # the first one warms up and is not kept
        order = list(cells) if number % 2 else list(reversed(cells))
        for cell in order:
            asked = shot(f"http://127.0.0.1:{ports[cell.server]}{cell.path}", cell.body, {})
            before = machine.cpu(pids[cell.server])
            samples, took = uvloop.run(load(asked, connections, seconds))
            after = machine.cpu(pids[cell.server])
            if number < 0:
                continue
            kept = measured[cell.name]
            kept["cpu"].append((after.ran - before.ran) / len(samples) * 1e6)
            kept["per_second"].append(len(samples) / took)
            kept["first"].append(median(each.first for each in samples) / 1e3)
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return measured


if __name__ == "__main__":
    main()
