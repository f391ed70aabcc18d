"""`pointsman test FILE`: the policy's own `expect:` cases, each decided as the proxy would decide it."""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from dataclasses import dataclass

from policies.choose import first_plan, sticky_key
from policies.errors import PolicyError
from policies.table import Expectation, Route, RouteTable

from ..settings import environment
from . import EXIT_FINDINGS, EXIT_OK
from .policy_file import add_arguments, print_refusal, read_policy


@dataclass(frozen=True, slots=True)
class Result:
    """One case and where its request went; `went_to` is None when nowhere."""

    route: Route
    case: Expectation
    went_to: str | None

    @property
    def passed(self) -> bool:
        """Whether the policy keeps its own word."""
        return self.went_to == self.case.goes_to


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` this command's arguments."""
    add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """0: every case passes, or there is none; 1: one fails, or the policy is not usable."""
    try:
        table = read_policy(arguments.file, environment())
    except PolicyError as error:
        print_refusal(error, arguments.json)
        return EXIT_FINDINGS
    results = results_of(table)
    failed = sum(not result.passed for result in results)
    with suppress(BrokenPipeError):  # `| head` has seen enough: the exit code is that of all cases
        if arguments.json:
            print(json.dumps({"ok": not failed, "cases": [_as_json(result) for result in results]}, indent=2))
        else:
            for result in results:
                print(_line(result, arguments.file))
            print(_summary(arguments.file, len(results), failed))
    return EXIT_FINDINGS if failed else EXIT_OK


def results_of(table: RouteTable) -> list[Result]:
    """Every case of a policy, in the order of the file. Targets are taken as idle and warm."""
    results = []
    for route in table.routes.values():
        for case in route.expect:
            key = sticky_key(route.sticky, case.session_id, case.inference_id, dict(case.headers).get)
            plan = first_plan(route, {}, key, lambda: 0.5)
            results.append(Result(route, case, plan.attempts[0].target.name if plan.attempts else None))
    return results


def _line(result: Result, source: str) -> str:
    case = result.case
    place = f"{source}:{case.source_line}: {result.route.key}"
    if result.passed:
        return f"PASS {place}: {_request(case)} goes to {case.goes_to}"
    return f"FAIL {place}: {_request(case)} goes to {result.went_to or 'no target'}, expected {case.goes_to}"


def _request(case: Expectation) -> str:
    marks = [
        f"{name} {value}"
        for name, value in (("session", case.session_id), ("inference id", case.inference_id))
        if value
    ]
    marks += [f"{name}={value}" for name, value in case.headers]
    return ", ".join(marks) or "any request"


def _summary(source: str, count: int, failed: int) -> str:
    if not count:
        return f"{source} has no `expect:` cases; docs/policy.md shows how to write some"
    return f"{source}: {count - failed} passed, {failed} failed"


def _as_json(result: Result) -> dict[str, object]:
    return {
        "route": result.route.key,
        "line": result.case.source_line,
        "expected": result.case.goes_to,
        "went_to": result.went_to,
        "passed": result.passed,
    }
