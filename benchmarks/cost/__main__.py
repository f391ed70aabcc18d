"""What a request costs beside others: `make bench`, or `python -m benchmarks.cost --help`.

One core has the server that is measured, the other the source of load and the target, which both cost little. Every
round asks each cell in turn for a moment over 16 connections; CPU is user and system time of the server's process, all
its threads, from the kernel's own accounting, so that waiting for a busy core does not count. Then every server in turn
is asked at a fixed rate, and its waits are counted from when requests were due. Trust comparisons within a round only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from .. import machine
from ..load import load
from . import gateways, latency, page, wrk
from .picture import as_svg
from .report import as_markdown
from .running import Running, running
from .systems import CELLS, SERVERS, Cell, checkout

QUICK = "floor;rawup;bare;ours;ours, no handler;ours, endpoint;bare, stream;ours, stream;ours@*;nginx;vllm-router"
FEW = 4
"""Connections to what is slow."""


def main() -> None:
    """Measure, print, write the files."""
    arguments = _arguments()
    servers, cells = list(SERVERS), [*CELLS, *gateways.CELLS]
    for root in arguments.also:
        server, more = checkout(root.resolve())
        servers.append(server)
        cells += more
    if arguments.cells:
        cells = [cell for cell in cells if _named(cell.name, arguments.cells.split(";"))]
    wanted = dict.fromkeys(cell.server for cell in cells if cell in gateways.CELLS)
    others, missing = gateways.found(wanted, build=not arguments.quick, say=_say)
    cells = [cell for cell in cells if cell.server not in missing]
    source = wrk.program() if arguments.load == "wrk" or (arguments.load == "auto" and not arguments.quick) else None
    if arguments.load == "wrk" and source is None:
        raise SystemExit("wrk is not installed; `apt-get install wrk`, or --load own")
    about = {"commit": machine.commit(), "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", **machine.facts()}
    seconds = max(1.0, arguments.seconds) if source else arguments.seconds
    about |= {"rounds": str(arguments.rounds), "seconds a cell and round": f"{seconds:g}"}
    about |= {"connections": f"{arguments.connections} ({FEW} to LiteLLM)", "request": f"{len(cells[0].body)} bytes"}
    about |= {"load": "wrk" if source else "our own client", **gateways.releases(others)}
    waits: latency.Waits = {}
    with running([*servers, *others], cells) as run:
        for name, why in (missing | run.missing).items():
            _say(f"left out: {name}: {why}")
        measured, again = measure(run, arguments.rounds, seconds, arguments.connections, source)
        about |= {f"asked again, {name}": " / ".join(why) for name, why in again.items()}
        timed = [cell for cell in run.cells if not cell.slow and cell.name in (cell.server, f"{cell.server}, stream")]
        if arguments.paced_rounds:
            about["rate"] = (
                f"{arguments.rate:g} requests/s, {arguments.paced_rounds} rounds of {arguments.paced_seconds:g} s"
            )
            pids = {os.getpid(), run.target_pid, *(run.pids[cell.server] for cell in timed)}
            with machine.preferred(pids) as allowed:
                waits = latency.measure(run, timed, arguments.paced_rounds, arguments.rate, arguments.paced_seconds)
            about["priority at that rate"] = "above all other work" if allowed else "as all other work"
        about["load after"] = machine.facts()["load before"]
        text = as_markdown(run.cells, measured, waits, about, missing | run.missing)
        picture = as_svg(run.cells, measured, about)
    print(text)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        name = arguments.out / f"cost-{datetime.now(UTC):%Y-%m-%d}-{about['commit']}"
        document = {"about": about, "missing": missing | run.missing, "cells": measured, "waits": waits}
        name.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
        name.with_suffix(".md").write_text(text)
        name.with_suffix(".svg").write_text(picture)
        print(f"written to {name}.md, .json and .svg")
        if arguments.page:
            page.PAGE.write_text(page.written(page.PAGE.read_text(), name.with_suffix(".json")))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=0.4, help="length of one cell in one round; wrk: at least 1")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument(
        "--load", choices=("auto", "own", "wrk"), default="auto", help="auto: wrk where it is installed"
    )
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second of the second part")
    parser.add_argument("--paced-rounds", type=int, default=20, help="rounds of the second part; 0 leaves it out")
    parser.add_argument("--paced-seconds", type=float, default=0.7)
    parser.add_argument("--cells", help="only these, by name, separated by semicolons; a trailing * matches the rest")
    parser.add_argument("--also", type=Path, action="append", default=[], help="another checkout, to compare with")
    parser.add_argument("--out", type=Path, help=f"folder of the results; {machine.RESULTS} for what is to be kept")
    parser.add_argument("--page", action="store_true", help=f"keep the result, and write it into {page.PAGE.name}")
    parser.add_argument("--quick", action="store_true", help="what matters most, in under a minute; installs nothing")
    arguments = parser.parse_args()
    if arguments.page:
        arguments.out = machine.RESULTS  # where the page's links lead
    if arguments.quick:
        arguments.rounds, arguments.paced_rounds = min(arguments.rounds, 6), 0
        arguments.seconds = min(arguments.seconds, 0.3)
        arguments.cells = arguments.cells or QUICK
    return arguments


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _named(name: str, wanted: Sequence[str]) -> bool:
    return any(name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in wanted)


def measure(
    run: Running, rounds: int, seconds: float, connections: int, source: str | None
) -> tuple[dict[str, dict[str, list[float]]], dict[str, list[str]]]:
    """Per cell: CPU microseconds a request, answers a second, share of time that it waited for its core, by round.

    With it, by cell, what went wrong where a moment had to be repeated. Raises RuntimeError where that did not help.
    """
    measured: dict[str, dict[str, list[float]]] = {
        cell.name: {"cpu": [], "per_second": [], "waited": []} for cell in run.cells
    }
    again: dict[str, list[str]] = {}
    began = time.monotonic()
    for number in range(-1, rounds):  # the first one warms up and is not kept
        for cell in run.cells if number % 2 else reversed(run.cells):
            before = machine.cpu(run.pids[cell.server])
            try:
                answers, took = _asked(run, cell, seconds, connections, source)
            except RuntimeError as error:
                _say(f"{cell.name}: {error}; asked again")
                again.setdefault(cell.name, []).append(" ".join(str(error).split())[-200:])
                before = machine.cpu(run.pids[cell.server])
                answers, took = _asked(run, cell, seconds, connections, source)
            after = machine.cpu(run.pids[cell.server])
            if number < 0:
                continue
            kept = measured[cell.name]
            kept["cpu"].append((after.ran - before.ran) / answers * 1e6)
            kept["per_second"].append(answers / took)
            kept["waited"].append((after.waited - before.waited) / took)
        machine.progress("CPU", number + 1, rounds, began, time.monotonic())
    return measured, again


def _asked(run: Running, cell: Cell, seconds: float, connections: int, source: str | None) -> tuple[int, float]:
    """Answers, and the seconds they took. Our own client waits for the last answers; wrk gives them up: few of many."""
    if source and not cell.slow:
        return wrk.load(source, run.shot(cell), connections, seconds)
    samples, took = uvloop.run(load(run.shot(cell), min(connections, FEW) if cell.slow else connections, seconds))
    return len(samples), took


if __name__ == "__main__":
    main()
