"""`pointsman check FILE`: everything that is wrong with a policy, and what in it cannot work, in one report.

One line a problem, `FILE:LINE: path: message`, errors and warnings in the order of the file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from policies.advice import advise
from policies.advice_migrate import advise_times
from policies.errors import ERROR, WARNING, PolicyError, Problem
from policies.loops import check_loops
from policies.table import RouteTable

from ..handlers.inspection import inspect_file
from ..settings import environment
from . import EXIT_FINDINGS, EXIT_OK, StartError, steps
from .policy_file import add_arguments, as_json, read_policy


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` this command's arguments."""
    add_arguments(parser)
    parser.add_argument("--strict", action="store_true", help="warnings are findings as well: exit 1")
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        action="append",
        help="an address the proxy will listen on, to find targets that are this proxy (default 127.0.0.1:8080)",
    )
    steps.add_traffic(parser)


def run(arguments: argparse.Namespace) -> int:
    """0: usable, perhaps with warnings; 1: errors, or warnings under `--strict`."""
    own = frozenset(_address(text) for text in arguments.listen or ["127.0.0.1:8080"])
    table: RouteTable | None = None
    rates: dict[str, float] = {}
    try:
        table = read_policy(arguments.file, environment())
        rates = steps.traffic(arguments, table)
        slow = [problem for plan in table.migrations.values() for problem in advise_times(plan, rates)]
        folder = Path(arguments.file).absolute().parent
        found = (*check_loops(table, own), *advise(table), *slow, *handlers(table, folder))
        problems = tuple(sorted(found, key=lambda problem: (problem.line, problem.path, problem.message)))
    except PolicyError as error:
        problems = error.problems
    errors = sum(problem.severity == ERROR for problem in problems)
    bad = errors > 0 or (arguments.strict and len(problems) > 0)
    with suppress(BrokenPipeError):  # `| head` has seen enough: the exit code is that of the whole report
        if arguments.json:
            told = {
                "ok": not bad,
                "digest": table.digest if table else None,
                "problems": as_json(problems),
                "migrations": [steps.as_json(plan, rates) for plan in table.migrations.values()] if table else [],
            }
            print(json.dumps(told, indent=2))
        else:
            _print(arguments.file, table, problems, errors)
            for plan in table.migrations.values() if table is not None else ():
                print("\n".join(steps.lines(plan, rates)))
    return EXIT_FINDINGS if bad else EXIT_OK


def handlers(table: RouteTable, folder: Path) -> Iterator[Problem]:
    """Warnings of handlers whose files are not there, or would not serve: they may be there where the proxy runs."""
    routes = {route.handler: route for route in table.routes.values() if route.handler is not None}
    for spec, route in routes.items():
        where = f"endpoints.{route.key.replace('/', '.components.')}.handler"
        file = folder / spec.path
        try:
            seen = inspect_file(file)
        except OSError as error:
            lacks = "is not there" if isinstance(error, FileNotFoundError) else f"can't be read ({error.strerror})"
            yield Problem(where, spec.source_line, f"{file} {lacks}; the proxy will not start without it", WARNING)
            continue
        except (SyntaxError, ValueError) as error:
            yield Problem(where, spec.source_line, f"{file} is not Python: {error}", WARNING)
            continue
        for finding in seen.findings:
            if finding.prevents:
                yield Problem(where, spec.source_line, f"{file}: {finding.name} {finding.text}", WARNING)


def _print(source: str, table: RouteTable | None, problems: tuple[Problem, ...], errors: int) -> None:
    for problem in problems:
        print(problem.render(source))
    counts = ", ".join(
        _count(number, noun) for number, noun in ((errors, "error"), (len(problems) - errors, "warning"))
    )
    if errors or table is None:
        print(f"{source}: refused: {counts}")
    else:
        sizes = f"{_count(len(table.endpoints), 'endpoint')}, {_count(len(table.targets), 'target')}"
        print(f"{source}: ok: {sizes}, {counts}; policy {table.digest}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        message = f"--listen {text} is not HOST:PORT, such as 127.0.0.1:8080"
        raise StartError(message)
    return host.strip("[]"), int(port)
