"""The three ways to measure one side of the candidate's table, and a line of progress while it is done."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from backends.base import Headers
from policies.quantities import show_seconds
from policies.table import Route, RouteTable, Target

from ..chat_templates import template_reader
from ..policy_source import UnreadableError
from ..rehearsal.candidate import measured, only
from ..rehearsal.candidate_table import Row
from ..rehearsal.live import measure, proxied
from ..rehearsal.pressing import Load, Pressed
from ..rehearsal.standins import Pointed, pointed, stand_in
from ..settings import environment
from . import StartError
from .emulate import read_config
from .given import usable

REACH = 5.0
"""Seconds that a proxy has to take a connection before anything is measured."""

Measure = Callable[[Target, list[Row]], None]
"""Adds the rows of one target to a list. Whatever ends it, those that are there stay."""


def of_stand_ins(path: str, stand_ins: str, text: str, route: Route, load: Load) -> Measure:
    """In virtual time. Raises StartError where the stand-ins can't be used."""
    config, reader = read_config(stand_ins, "--stand-ins"), template_reader(Path(path).parent)
    policy, models = usable("--stand-ins", lambda: pointed(text, path, environment(), reader, config))

    def side(target: Target, rows: list[Row]) -> None:
        print(f"measuring {target.name}", file=sys.stderr, flush=True)
        for row in measured(only(policy, route, target.name), models, route.key, stand_in(target, models), load):
            rows.append(row)  # noqa: PERF402 - one by one: what there is stays when somebody stops it

    return side


def live(path: str, policy: Pointed, route: Route, load: Load, body: bytes | None) -> Measure:
    """Through a proxy of our own, against the policy's targets."""

    def side(target: Target, rows: list[Row]) -> None:
        alone = only(policy, route, target.name)

        async def whole() -> None:
            async with proxied(alone, path, environment()) as url:
                await measure(url, route, load, rows, _progress(target.name), body)

        _announce(target.name, load)
        try:
            asyncio.run(whole())
        except (OSError, UnreadableError) as error:
            raise StartError(str(error)) from error

    return side


def of_url(url: str, token: str | None, policy: RouteTable, route: Route, load: Load, body: bytes | None) -> Measure:
    """Through a proxy that runs: today's target by the route's own name, another by the name that serves it alone."""
    if not url.startswith(("http://", "https://")):
        message = f"--url {url}: give the address of a proxy, such as http://127.0.0.1:8080"
        raise StartError(message)
    _reach(url)
    more: Headers = (("Authorization", f"Bearer {token}"),) if token is not None else ()
    names = {one.serve[0].target.name: one for one in policy.routes.values() if len(one.serve) == 1}

    def side(target: Target, rows: list[Row]) -> None:
        today = any(weighted.target.name == target.name for weighted in route.serve)
        by = route if today else names.get(target.name)
        if by is None:
            message = (
                f"--url: the proxy serves {target.name} under no name of its own; add an endpoint with serve_from: "
                f"{target.name} to its policy, or measure without --url"
            )
            raise StartError(message)

        async def whole() -> None:
            await measure(url, by, load, rows, _progress(target.name), body, more)

        _announce(target.name, load)
        asyncio.run(whole())

    return side


def _reach(url: str) -> None:
    """Look once whether anybody listens there: every call would fail, for as long as the measurement takes."""
    try:
        parts = urlsplit(url)
        place = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection(place, timeout=REACH).close()
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        message = f"--url {url}: no proxy can be reached there: {why}; start it, or give the address where it listens"
        raise StartError(message) from error


def _announce(name: str, load: Load) -> None:
    each = load.settle + load.seconds
    span, calls = show_seconds(float(round(each * len(load.concurrency)))), f"at most {load.calls} calls each"
    numbers = ", ".join(map(str, load.concurrency))
    print(f"measuring {name} for {span}: {numbers} clients at a time, {calls}", file=sys.stderr, flush=True)


def _progress(name: str) -> Callable[[Pressed, float], None]:
    """Tells on a terminal how it goes; elsewhere nothing."""
    screen = sys.stderr if sys.stderr.isatty() else None

    def tell(pressed: Pressed, left: float) -> None:
        if screen is not None:
            answers = f"{len(pressed.seen):,} answers, {sum(pressed.failures.values()):,} failures"
            text = f"\r{name} at {pressed.concurrency}: {answers}, {left:.0f} s left\x1b[K"
            print(text if left > 0 else "\r\x1b[K", end="", file=screen, flush=True)

    return tell
