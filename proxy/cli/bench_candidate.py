"""`pointsman bench-candidate NAME`: today's target and the candidate under load, through the proxy, and their cost.

In real time against the policy's own targets or a proxy that runs, or in virtual time against stand-ins.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from pathlib import Path

from policies.errors import PolicyError
from policies.quantities import seconds
from policies.table import ImportCost, InstanceCost, Route, RouteTable, Target
from warmers.prices import SHIPPED, Prices, open_prices

from ..chat_templates import template_reader
from ..rehearsal.candidate_table import Hourly, Row, Sided, as_json, compared, notes, table
from ..rehearsal.clients import OK
from ..rehearsal.live import as_written
from ..rehearsal.pressing import Load
from ..rehearsal.report import columns
from ..rehearsal.standins import Pointed
from ..settings import environment
from . import EXIT_FINDINGS, EXIT_INTERRUPTED, EXIT_OK, StartError
from .bench_sides import Measure, live, of_stand_ins, of_url
from .given import usable
from .policy_file import print_refusal, read_policy_text

MOST_CALLS = 2000
"""Calls that one row makes for real, unless more are asked for: they cost money."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` this command's arguments."""
    more = parser.add_argument
    more("name", metavar="NAME", help="endpoint, or endpoint/component")
    more("--policy", metavar="FILE", required=True, help="the policy; its route names today's target and the candidate")
    more("--stand-ins", metavar="FILE", help="measure these in virtual time, instead of the policy's own targets")
    more("--url", metavar="URL", help="a proxy that runs and serves this policy, instead of one started here")
    more("--token", metavar="FILE", help="with --url: a bearer token for that proxy")
    more("--to", metavar="TARGET", help="the candidate (default: what the route migrates to)")
    more("--concurrency", metavar="N,N", default="1,4,16,32", help="clients at a time (default 1,4,16,32)")
    more("--seconds", metavar="TIME", help="how long each is measured (default: 1m; 10m of virtual time)")
    more("--settle", metavar="TIME", help="time before that, uncounted (default: 10s; none of virtual time)")
    more("--calls", metavar="N", type=int, default=MOST_CALLS, help="calls of one row at most, for real (default 2000)")
    more("--body", metavar="FILE", help="what every request holds (default: a short question in the clients' dialect)")
    more("--prices", metavar="FILE", help="dated prices; without it those that ship with the product")
    more(
        "--seed",
        metavar="N",
        type=int,
        default=0,
        help="of virtual time: the same seed gives the same numbers (default 0)",
    )
    more("--published", action="store_true", help="beside it what Salesforce published of such a move")
    more("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """0: measured; 1: the policy is refused; 130: stopped, with what there was. Raises StartError for no answer."""
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    text, folder = read_policy_text(arguments.policy), Path(arguments.policy).parent
    try:
        policy = as_written(text, arguments.policy, environment(), template_reader(folder))
    except PolicyError as error:
        print_refusal(error, in_json=arguments.json)
        return EXIT_FINDINGS
    prices = usable("--prices", lambda: open_prices(Path(arguments.prices) if arguments.prices else SHIPPED))
    route = _route(policy.table, arguments.name)
    pair = _today(route), _candidate(policy.table, route, arguments.to)
    load = _load(arguments)
    how, measure = _way(arguments, text, policy, route, load)
    sides = [Sided(one.name, [], _hourly(one, prices)) for one in pair]
    done = EXIT_OK
    try:
        for target, side in zip(pair, sides, strict=True):
            measure(target, side.rows)
            if all(row.p95 is None for row in side.rows):
                raise StartError(_nothing(target, side.rows, arguments))
    except PolicyError as error:  # a handler that can't be loaded
        print_refusal(error, in_json=arguments.json)
        return EXIT_FINDINGS
    except KeyboardInterrupt:
        done = EXIT_INTERRUPTED
        print("stopped; what was measured:", file=sys.stderr)
    _print(arguments, route, how, [side for side in sides if side.rows])
    return done


def _way(arguments: argparse.Namespace, text: str, policy: Pointed, route: Route, load: Load) -> tuple[str, Measure]:
    """How a side is measured, in words and as a function."""
    if arguments.stand_ins and arguments.url:
        message = "--url and --stand-ins: a proxy that runs has targets of its own; give one of the two"
        raise StartError(message)
    body = usable("--body", lambda: Path(arguments.body).read_bytes()) if arguments.body else None
    if arguments.stand_ins:
        return "stand-ins", of_stand_ins(arguments.policy, arguments.stand_ins, text, route, load)
    if arguments.url:
        token = usable("--token", lambda: Path(arguments.token).read_text().strip()) if arguments.token else None
        return "a proxy that runs", of_url(arguments.url, token, policy.table, route, load, body)
    return "the policy's targets", live(arguments.policy, policy, route, load, body)


def _print(arguments: argparse.Namespace, route: Route, how: str, sides: list[Sided]) -> None:
    if arguments.json:
        print(json.dumps(as_json(route.key, how, sides, published=arguments.published), indent=2))
        return
    print("\n".join(columns(table(sides, published=arguments.published))))
    for line in compared(sides):
        print(line)
    for note in notes(sides):
        print(f"Note: {note}")


def _load(arguments: argparse.Namespace) -> Load:
    virtual = bool(arguments.stand_ins)
    calls = None if virtual else arguments.calls
    if calls is not None and calls < 1:
        message = f"--calls {calls}: give at least one"
        raise StartError(message)
    return Load(
        usable("--concurrency", lambda: _numbers(arguments.concurrency)),
        usable("--seconds", lambda: _positive(arguments.seconds or ("10m" if virtual else "1m"))),
        usable("--settle", lambda: seconds(arguments.settle or ("0s" if virtual else "10s"))),
        arguments.seed,
        calls,
    )


def _nothing(target: Target, rows: list[Row], arguments: argparse.Namespace) -> str:
    """Why a target has no row at all, and how to go on."""
    failures = sum((Counter(row.failures) + Counter(row.before) for row in rows), Counter[str]())
    if failures.pop(str(OK), 0):
        early = f"all that {target.name} answered was over before --settle had passed"
        return f"{early}: give a shorter one, or more --calls than {arguments.calls}"
    if not failures:
        return f"{target.name} answered no call in the time that was counted: give a longer --seconds"
    status, _ = failures.most_common(1)[0]
    where = "its credentials, the request (--body), and its own state: `pointsman serve` on this policy says more"
    if arguments.stand_ins:
        where = "its faults, cold start, latency and limits in --stand-ins, and at the route's deadline in --policy"
    elif arguments.url:
        where = "--url, the proxy's log, at --token where it asks callers who they are, and at the request (--body)"
    return f"every call to {target.name} failed, most with {status}: look at {where}"


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


def _hourly(target: Target, prices: Prices) -> Hourly | None:
    """What a target costs an hour; None where the policy or the prices do not say."""
    try:
        match target.cost:
            case ImportCost(units=units, version=version, copies=copies):
                return Hourly(units * prices.unit_minute(target.region, version).usd * 60, copies)
            case InstanceCost(instance=instance, count=count, share=share):
                return Hourly(prices.instance_hour(target.region, instance).usd * count * share)
            case _:
                return None
    except ValueError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and 1 <= int(part[:5]) <= 1024 for part in parts):
        message = f"{text}: each is a number from 1 to 1024; write them like 1,4,16,32"
        raise ValueError(message)
    return tuple(map(int, parts))


def _positive(text: str) -> float:
    value = seconds(text)
    if value < 1:
        message = f"{text} is shorter than a second"
        raise ValueError(message)
    return value
