"""`pointsman rehearse FILE --trace TRACE`: a recorded trace through the real proxy, in virtual time."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random  # noqa: TID251 - seeded: the same trace gives the same rehearsal
from typing import TextIO

from backends.emulator.config import EmulatorConfig
from backends.outcome import Outcome
from policies.errors import PolicyError
from policies.quantities import seconds, share
from policies.table import Route
from warmers.arrivals import Arrivals, gather
from warmers.prices import SHIPPED, open_prices
from warmers.traces import Traces, read_traces

from ..chat_templates import template_reader
from ..rehearsal.clients import MODES
from ..rehearsal.costs import spent
from ..rehearsal.loop import VirtualLoop
from ..rehearsal.page import page
from ..rehearsal.replay import Play, Played, play
from ..rehearsal.report import Story, as_json, report
from ..rehearsal.standins import pointed
from ..rehearsal.tally import Tally
from ..settings import environment
from . import EXIT_FINDINGS, EXIT_OK, StartError
from .emulate import read_config
from .given import placed, usable, write
from .policy_file import add_arguments, print_refusal, read_policy_text
from .series import add_trace, series_of

MADE_UP = (
    "the stand-ins' latencies are made up, and they answer alike, so that gates of latency and agreement say nothing "
    "of the real targets; name measured ones with --stand-ins FILE"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` this command's arguments."""
    add_arguments(parser)
    add_trace(parser)
    more = parser.add_argument
    more(
        "--from",
        metavar="TIME",
        dest="begin",
        default="0s",
        help="leave out so much of the trace's beginning (default 0s)",
    )
    more("--to", metavar="TIME", dest="end", help="end so long after the trace's beginning (default: its end)")
    more("--stand-ins", metavar="FILE", help="models as of `pointsman emulate`; without it they are made of the policy")
    more("--streams", metavar="SHARE", default="0%", help="share of the requests that ask for a stream (default 0%%)")
    more("--prices", metavar="FILE", help="dated prices; without it those that ship with the product")
    more("--handlers", action="store_true", help="run customers' handlers as well, in the proxy's own loop")
    more("--body", metavar="FILE", help="what every request holds [a short question in the clients' dialect]")
    more("--client-retries", choices=sorted(MODES), default="none", help="clients try again as botocore does [none]")
    more("--seed", metavar="N", type=int, default=0, help="the same seed gives the same rehearsal (default 0)")
    more("--html", metavar="OUT", help="write a page with pictures as well")


def run(arguments: argparse.Namespace) -> int:
    """0: every request got an answer; 1: the policy is refused, or some got none."""
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    placed("--html", arguments.html)
    text, folder = read_policy_text(arguments.file), Path(arguments.file).parent
    config = read_config(arguments.stand_ins, "--stand-ins") if arguments.stand_ins else None
    variables = environment()
    try:
        policy, stand_ins = usable(
            "--stand-ins",
            lambda: pointed(
                text, arguments.file, variables, template_reader(folder), config, handlers=arguments.handlers
            ),
        )
    except PolicyError as error:
        print_refusal(error, arguments.json)
        return EXIT_FINDINGS
    prices = usable("--prices", lambda: open_prices(Path(arguments.prices) if arguments.prices else SHIPPED))
    # Only ServeGen's rates are drawn from, and how often a coin falls is nobody's secret.
    chance = Random(arguments.seed)  # noqa: S311
    traces = usable("--trace", lambda: read_traces([Path(path) for path in arguments.trace], chance))
    models = usable("--trace", lambda: series_of(policy.table, traces, arguments.map))
    begin, end = _window(arguments, traces)
    rehearsal = Play(
        pointed=policy,
        stand_ins=stand_ins,
        arrivals=_cut(models, begin, end),
        start=usable("--starts", lambda: _day(arguments.starts) if traces.start is None else traces.start) + begin,
        span=end - begin,
        seed=arguments.seed,
        streams=usable("--streams", lambda: share(arguments.streams)),
        prices=arguments.prices,
        retries=MODES[arguments.client_retries],
        body=usable("--body", lambda: Path(arguments.body).read_bytes()) if arguments.body else None,
        folder=str(folder),
    )
    try:
        tally, played = _played(rehearsal)
    except PolicyError as error:  # a handler that can't be loaded
        print_refusal(error, arguments.json)
        return EXIT_FINDINGS
    costs = spent(policy.table, stand_ins, played.ledgers, rehearsal.span, prices)
    story = Story(
        arguments.file,
        rehearsal.start,
        rehearsal.span,
        arguments.seed,
        tally,
        played,
        costs,
        _notes(policy.notes, config),
    )
    if arguments.html:
        write("--html", arguments.html, page(story))
    print(json.dumps(as_json(story), indent=2) if arguments.json else report(story))
    return EXIT_FINDINGS if played.unanswered else EXIT_OK


def _played(rehearsal: Play) -> tuple[Tally, Played]:
    """Play it, with a bar on standard error; how fast it went is told there, since no two runs agree on it."""
    tally = Tally(rehearsal.span)
    total = sum(arrivals.requests for arrivals in rehearsal.arrivals.values())
    began = time.perf_counter()
    watched = _Watched(tally, total, sys.stderr if sys.stderr.isatty() else None)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        played = runner.run(play(rehearsal, watched))
    took = time.perf_counter() - began
    watched.clear()
    speed = f"{tally.requests / took:,.0f} requests/s, {rehearsal.span / took:,.0f} times as fast as the clock"
    print(f"rehearsed in {took:.1f} s: {speed}", file=sys.stderr)
    return tally, played


class _Watched:
    """Tally and progress bar."""

    def __init__(self, tally: Tally, total: int, screen: TextIO | None) -> None:
        self._tally = tally
        self._total = total
        self._screen = screen
        self._shown = -1

    def told(self, outcome: Outcome, now: float) -> None:
        self._tally.told(outcome, now)
        self._show(now)

    def looked(self, states: Mapping[str, str], now: float) -> None:
        self._tally.looked(states, now)
        self._show(now)

    def clear(self) -> None:
        if self._screen is not None:
            print("\r\x1b[K", end="", file=self._screen, flush=True)

    def _show(self, now: float) -> None:
        part = min(100, int(100 * now / self._tally.span))
        if self._screen is None or part == self._shown:
            return
        self._shown = part
        bar = ("#" * (part // 4)).ljust(25, ".")
        text = f"\r[{bar}] {part:3d}%  {self._tally.requests:,} of {self._total:,} requests\x1b[K"
        print(text, end="", file=self._screen, flush=True)


def _window(arguments: argparse.Namespace, traces: Traces) -> tuple[float, float]:
    begin = usable(f"--from {arguments.begin}", lambda: seconds(arguments.begin))
    end = traces.span if arguments.end is None else usable(f"--to {arguments.end}", lambda: seconds(arguments.end))
    end = min(end, traces.span)
    if begin >= end:
        message = f"--from {arguments.begin} is not before the end; the trace covers {traces.span:.0f} seconds"
        raise StartError(message)
    return begin, end


def _cut(models: list[tuple[Route, Arrivals]], begin: float, end: float) -> dict[str, Arrivals]:
    return {
        route.key: gather(((at - begin, count) for at, count in arrivals if begin <= at < end), end - begin)
        for route, arrivals in models
    }


def _notes(notes: tuple[str, ...], config: EmulatorConfig | None) -> tuple[str, ...]:
    if config is not None:
        return notes
    return (*notes, MADE_UP)


def _day(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
