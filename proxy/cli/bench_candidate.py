"""`pointsman bench-candidate NAME`: today's target and the candidate under load, as stand-ins, in virtual time."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from policies.errors import PolicyError
from policies.quantities import seconds
from policies.table import ImportCost, InstanceCost, Route, RouteTable, Target
from warmers.prices import SHIPPED, Prices, open_prices

from ..chat_templates import template_reader
from ..rehearsal.candidate import Load, Row, measured, only, table
from ..rehearsal.report import columns
from ..rehearsal.standins import pointed, stand_in
from ..settings import environment
from . import EXIT_FINDINGS, EXIT_OK, StartError
from .emulate import read_config
from .given import usable
from .policy_file import print_refusal, read_policy_text


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` this command's arguments."""
    more = parser.add_argument
    more("name", metavar="NAME", help="endpoint, or endpoint/component")
    more("--policy", metavar="FILE", required=True, help="the policy; its route names today's target and the candidate")
    more("--stand-ins", metavar="FILE", required=True, help="the targets' stand-ins, with latencies that were measured")
    more("--to", metavar="TARGET", help="the candidate (default: what the route migrates to)")
    more("--concurrency", metavar="N,N", default="1,4,16,32", help="clients at a time (default 1,4,16,32)")
    more("--seconds", metavar="TIME", default="10m", help="how long each is measured, in virtual time (default 10m)")
    more("--settle", metavar="TIME", default="2m", help="time before that, uncounted (default 2m)")
    more("--prices", metavar="FILE", help="dated prices; without it those that ship with the product")
    more("--seed", metavar="N", type=int, default=0, help="the same seed gives the same numbers (default 0)")
    more("--published", action="store_true", help="beside it what Salesforce published of such a move")


def run(arguments: argparse.Namespace) -> int:
    """0: measured; 1: the policy is refused. Raises StartError when a target answers nothing."""
    text, folder = read_policy_text(arguments.policy), Path(arguments.policy).parent
    config = read_config(arguments.stand_ins)
    reader, variables = template_reader(folder), environment()
    try:
        policy, stand_ins = usable("--stand-ins", lambda: pointed(text, arguments.policy, variables, reader, config))
    except PolicyError as error:
        print_refusal(error, in_json=False)
        return EXIT_FINDINGS
    prices = usable("--prices", lambda: open_prices(Path(arguments.prices) if arguments.prices else SHIPPED))
    route = _route(policy.table, arguments.name)
    today, candidate = _today(route), _candidate(policy.table, route, arguments.to)
    load = Load(
        usable("--concurrency", lambda: _numbers(arguments.concurrency)),
        usable("--seconds", lambda: _positive(arguments.seconds)),
        usable("--settle", lambda: seconds(arguments.settle)),
        arguments.seed,
    )
    sides: list[tuple[str, tuple[Row, ...]]] = []
    for target in (today, candidate):
        print(f"measuring {target.name}", file=sys.stderr, flush=True)
        alone = only(policy, route, target.name)
        rows = measured(alone, stand_ins, route.key, stand_in(target, stand_ins), load)
        if all(row.p95 is None for row in rows):
            raise StartError(_nothing(target, rows))
        sides.append((target.name, rows))
    hourly = {target.name: _hourly(target, prices) for target in (today, candidate)}
    print("\n".join(columns(table(sides, hourly, published=arguments.published))))
    for line in _compared(sides):
        print(line)
    return EXIT_OK


def _compared(sides: list[tuple[str, tuple[Row, ...]]]) -> list[str]:
    (today, old), (candidate, new) = sides
    lines = []
    for before, after in zip(old, new, strict=True):
        if before.p95 and after.p95:
            change = after.p95 / before.p95 - 1
            where = f"{abs(change):.0%} {'below' if change < 0 else 'above'}"
            lines.append(f"at concurrency {before.concurrency} the P95 of {candidate} is {where} that of {today}")
    return lines


def _nothing(target: Target, rows: tuple[Row, ...]) -> str:
    """Why a target has no row at all, and how to go on."""
    failures = sum((Counter(row.failures) for row in rows), Counter[str]())
    if not failures:
        return f"{target.name} answered no call in the time that was counted: give a longer --seconds"
    status, _ = failures.most_common(1)[0]
    return (
        f"every call to {target.name} failed, most with {status}: look at its faults, cold start, latency and limits "
        "in --stand-ins, and at the route's deadline in --policy"
    )


def _route(policy: RouteTable, name: str) -> Route:
    found = next((route for route in policy.routes.values() if route.key == name), None)
    if found is None:
        known = ", ".join(sorted(route.key for route in policy.routes.values())[:8])
        message = f"no route {name}; the policy has {known}"
        raise StartError(message)
    return found


def _today(route: Route) -> Target:
    return max(route.serve, key=lambda one: one.weight).target


def _candidate(policy: RouteTable, route: Route, named: str | None) -> Target:
    if named is not None and named in policy.targets:
        return policy.targets[named]
    if named is None and route.candidate is not None:
        return route.candidate
    what = f"--to {named}: no such target" if named is not None else f"{route.key} does not migrate: name one with --to"
    message = f"{what}; the policy has {', '.join(sorted(policy.targets)[:8])}"
    raise StartError(message)


def _hourly(target: Target, prices: Prices) -> float | None:
    """USD an hour of one copy of an import, or of the instances; None where the policy or the prices do not say."""
    try:
        match target.cost:
            case ImportCost(units=units, version=version):
                return units * prices.unit_minute(target.region, version).usd * 60
            case InstanceCost(instance=instance, count=count, share=share):
                return prices.instance_hour(target.region, instance).usd * count * share
            case _:
                return None
    except ValueError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    found = tuple(int(part) for part in text.split(","))
    if not all(1 <= one <= 1024 for one in found):
        message = f"{text}: each is from 1 to 1024"
        raise ValueError(message)
    return found


def _positive(text: str) -> float:
    value = seconds(text)
    if value < 1:
        message = f"{text} is shorter than a second"
        raise ValueError(message)
    return value
