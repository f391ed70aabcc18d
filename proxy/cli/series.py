"""Which series of a trace are the requests of which model."""

from __future__ import annotations

import argparse

from policies.table import Route, RouteTable
from warmers.arrivals import Arrivals
from warmers.traces import Traces

from . import StartError


def add_trace(parser: argparse.ArgumentParser) -> None:
    """The arguments of commands that read recorded arrivals."""
    more = parser.add_argument
    more("--trace", metavar="TRACE", action="append", required=True, help="recorded arrivals, again for more files")
    more("--map", metavar="MODEL=SERIES", action="append", default=[], help="series of a model; * for all other models")
    more("--starts", metavar="DATE", default="2026-07-06", help="day (UTC) on which a trace begins that does not say")


def series_of(table: RouteTable, traces: Traces, mapped: list[str]) -> list[tuple[Route, Arrivals]]:
    """Every route with its arrivals: the series it is mapped to, the one of its name, or the only one there is."""
    wanted: dict[str, str] = {}
    for pair in mapped:
        model, equals, series = pair.partition("=")
        if not equals or series not in traces.names:
            message = f"--map {pair}: give MODEL=SERIES with a series of the trace: {_some(traces.names)}"
            raise StartError(message)
        wanted[model] = series
    routes = sorted(table.routes.values(), key=lambda route: route.key)
    unknown = wanted.keys() - {"*", *(route.key for route in routes)}
    if unknown:
        message = f"--map {min(unknown)}: no such model; the policy has {_some([route.key for route in routes])}"
        raise StartError(message)
    return [(route, _arrivals(route.key, wanted, traces)) for route in routes]


def _arrivals(key: str, wanted: dict[str, str], traces: Traces) -> Arrivals:
    series = wanted.get(key) or (key if key in traces.names else wanted.get("*"))
    if series is None and len(traces.names) == 1 and not traces.complete:
        series = traces.names[0]
    if series is not None:
        return traces.pick(series)
    if traces.complete:
        return traces.idle()
    message = f"the trace has no series {key}; name one with --map {key}=SERIES: {_some(traces.names)}"
    raise StartError(message)


def _some(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
