"""Every fault of the suite, and what it must come to: `python -m tests.chaos.table` prints the table of the docs.

Faults of upstreams and of requests are data and say so themselves; of any other a test's name is the fault, and the
first sentence of its docstring the promise.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from backends.emulator.aws import SAGEMAKER
from backends.emulator.frames import data_frame

from . import broken_answers, broken_streams
from .broken_answers import GOOD, HEALTHY, endless, saying
from .broken_requests import REQUESTS
from .broken_streams import END, HEAD, chunks, fault
from .faults import FRAMES, SLACK, Fault, Served, Streamed

UPSTREAMS: tuple[Fault, ...] = (*broken_answers.all_of_them(), *broken_streams.STREAMS)

WAITS = Fault("waits", Served(), saying())
STREAM_WAITS = fault("waits in a stream", Streamed(), saying(HEAD + chunks(FRAMES[:2])))
LARGE = data_frame(SAGEMAKER, b"data: " + b"x" * 60_000 + b"\n\n")
STREAM_FLOWS = fault(
    "streams without end", Streamed(), endless(HEAD, chunks([LARGE] * 5)), route={"stream_timeout": "1s"}
)
SLOW = Fault("takes its time", Served(), saying(b"", GOOD, pause=0.3))
PACED = fault("streams at its pace", Streamed(), saying(HEAD, *[chunks([each]) for each in FRAMES], END, pause=0.15))
CONTROLS = (HEALTHY, WAITS, STREAM_WAITS, STREAM_FLOWS, SLOW, PACED)
"""Upstreams that do nothing wrong: there it is clients, or the proxy's surroundings, that misbehave."""

QUICK = tuple(
    f for f in UPSTREAMS if not (f.brief or f.target or f.route or f.plays > 1 or not f.asked) and len(f.body) < 10_000
)
"""Those that take no time and carry no large body, and come to the same however often they are met."""

SCENARIOS = ("clients", "pools", "targets", "names", "credentials", "policies", "handlers", "process", "workers")
GENERAL = {"test_malformed", "test_names_without_end"}
"""Tests whose faults have rows of their own, or that are none of one fault."""
COLUMNS = ("fault", "what comes of it", "asked", "within", "tested in")


def rows() -> Iterator[tuple[str, ...]]:
    """The table's rows, in the order of the files."""
    for each in UPSTREAMS:
        yield each.name, str(each.promise), _asked(each), f"{each.within - SLACK:g} s", "test_upstreams.py"
    for malformed in REQUESTS:
        yield malformed.name, f"one typed {malformed.status}; no target hears of it", "", "", "test_clients.py"
    for name in SCENARIOS:
        yield from _scenarios(Path(__file__).parent / f"test_{name}.py")


def _asked(each: Fault) -> str:
    return "" if not each.asked else {1: "once", 2: "twice"}.get(each.asked, f"{each.asked} times")


def _scenarios(file: Path) -> Iterator[tuple[str, ...]]:
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            if node.name in GENERAL:
                continue
            promise = (ast.get_docstring(node) or "").partition("\n")[0].rstrip(".")
            yield node.name.removeprefix("test_").replace("_", " "), promise, "", "", file.name


def text() -> str:
    """The table in Markdown."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    print(text(), end="")
