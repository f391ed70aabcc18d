"""`pointsman warm plan FILE --trace TRACE`: what each model costs where it is and elsewhere, and what should move.

Everything is computed from the policy, the trace and a dated file of prices; nothing is asked over the network.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random  # noqa: TID251 - seeded: the same trace gives the same plan
from typing import TypeVar

from policies.calendar import Calendar, read_calendar
from policies.errors import PolicyError
from policies.quantities import seconds, share, show_seconds
from policies.table import ImportCost, RouteTable
from warmers.economics import Demand, instances_usd
from warmers.picture import draw_plan
from warmers.plan import Terms, make_plan
from warmers.prices import SHIPPED, Prices, open_prices
from warmers.traces import read_traces

from ..settings import environment
from . import EXIT_FINDINGS, EXIT_OK
from .given import placed, usable, write
from .policy_file import add_arguments, print_refusal, read_policy
from .series import add_trace, series_of
from .warm_report import as_json, report

HELP = "compare what each model costs where it runs and elsewhere, kept warm in several ways, and say what should move"

T = TypeVar("T")


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` this action's arguments."""
    add_arguments(parser)
    add_trace(parser)
    more = parser.add_argument
    more("--prices", metavar="FILE", help="dated prices; without it those that ship with the product")
    more(
        "--proxies",
        metavar="N*TYPE",
        default="2*ml.c5.xlarge",
        help="what runs the proxies, or none (default 2*ml.c5.xlarge)",
    )
    more("--slo-cold-share", metavar="SHARE", default="1%", help="requests that may meet a cold model (default 1%%)")
    more("--least-saving", metavar="SHARE", default="10%", help="saving below which nothing moves (default 10%%)")
    more(
        "--idle-limit",
        metavar="TIME",
        help="time without a call after which a copy goes (default: the policy's, else 15m)",
    )
    more("--every", metavar="TIME", action="append", help="ping interval to compare, again for more (default 14m, 59m)")
    more("--hours", metavar="CALENDAR", action="append", help="hours to compare (default Mon-Fri 06:00-20:00 UTC)")
    more("--svg", metavar="OUT", help="write a picture of the plan as well")


def run(arguments: argparse.Namespace) -> int:
    """0: every model was compared; 1: the policy is refused, or there are models of which nothing can be said."""
    placed("--svg", arguments.svg)
    try:
        table = read_policy(arguments.file, environment())
    except PolicyError as error:
        print_refusal(error, arguments.json)
        return EXIT_FINDINGS
    prices = usable("--prices", lambda: open_prices(Path(arguments.prices) if arguments.prices else SHIPPED))
    terms = _terms(arguments, table, prices)
    # Only ServeGen's rates are drawn from, and how often a coin falls is nobody's secret.
    traces = usable("--trace", lambda: read_traces([Path(path) for path in arguments.trace], Random(0)))  # noqa: S311
    models = usable("--trace", lambda: series_of(table, traces, arguments.map))
    plan = usable("the plan", lambda: make_plan(models, terms, _proxies(arguments.proxies, table, prices)))
    if arguments.svg:
        write("--svg", arguments.svg, draw_plan(plan, prices, terms.demand.cold_share))
    print(json.dumps(as_json(plan, terms), indent=2) if arguments.json else report(plan, terms, arguments.file))
    return EXIT_FINDINGS if plan.unknown else EXIT_OK


def _terms(arguments: argparse.Namespace, table: RouteTable, prices: Prices) -> Terms:
    def read(flag: str, text: str, reader: Callable[[str], T]) -> T:
        return usable(f"{flag} {text}", lambda: reader(text))

    intervals = tuple(read("--every", text, _positive) for text in arguments.every or ["14m", "59m"])
    hours: list[tuple[str, Calendar]] = [
        (text, read("--hours", text, read_calendar)) for text in arguments.hours or ["Mon-Fri 06:00-20:00 UTC"]
    ]
    allowed = read("--slo-cold-share", arguments.slo_cold_share, share)
    least = read("--least-saving", arguments.least_saving, share)
    return Terms(
        prices=prices,
        demand=Demand(allowed, least),
        idle_limit=read("--idle-limit", arguments.idle_limit or _declared(table), _positive),
        intervals=intervals,
        calendars=tuple(hours),
        calendar_interval=min(intervals),
        monday=read("--starts", arguments.starts, _day),
    )


def _declared(table: RouteTable) -> str:
    """The shortest idle limit that the policy declares for an import; 15m where none is."""
    imports = [target for target in table.targets.values() if isinstance(target.cost, ImportCost)]
    return show_seconds(min((each.idle_limit for each in imports if each.idle_limit is not None), default=900.0))


def _positive(text: str) -> float:
    value = seconds(text)
    if value < 1:
        message = "is shorter than a second"
        raise ValueError(message)
    return value


def _day(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _proxies(text: str, table: RouteTable, prices: Prices) -> float:
    """USD a month of the proxies, in the region that most targets are in."""
    if text == "none":
        return 0.0
    number, star, instance = text.partition("*")
    if not star or not number.isdecimal():
        message = f"--proxies {text} is not a number of instances; write it like 2*ml.c5.xlarge, or none"
        raise ValueError(message)
    regions = [target.region for target in table.targets.values() if target.region is not None]
    instance, _, named = instance.partition("@")
    region = named or max(sorted(set(regions)), key=regions.count, default=None)
    return instances_usd(prices.instance_hour(region, instance).usd, prices.instance_hours, int(number))
