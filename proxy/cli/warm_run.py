"""`pointsman warm run FILE`: the warmer without a proxy; with `--once` what cron and event rules call.

One warm-up for every target that is due, and a summary of how each was met. With `--state` it knows what was warmed
before, and leaves everything to the process that holds the fleet's lease; without it every target is due each time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from dataclasses import asdict

import uvloop

from backends.state import StoreError
from backends.tasks import start
from policies.errors import PolicyError
from policies.quantities import show_seconds
from policies.table import RouteTable
from warmers.economics import dollars
from warmers.runner import Warmed, Warmer

from .. import settings as flags
from ..wiring import warming
from . import EXIT_FINDINGS, EXIT_OK, StartError
from .policy_file import add_arguments, print_refusal, read_policy

HELP = "send the warm-ups that are due: once, or until it is told to stop"


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` this action's arguments."""
    add_arguments(parser)
    more = parser.add_argument
    more("--once", action="store_true", help="send what is due now, wait for it, and end")
    more("--state", metavar="URL", help="the fleet's shared state, as for serve (POINTSMAN_STATE)")
    more(
        "--prices", metavar="FILE", help="dated prices; without it those that ship with the product (POINTSMAN_PRICES)"
    )
    more("--log", metavar="FILE", default=os.devnull, help="where a log line for every warm-up goes (default: nowhere)")


def run(arguments: argparse.Namespace) -> int:
    """0: all that was due was answered; 1: the policy is refused, or a warm-up failed."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    try:
        table = read_policy(arguments.file, flags.environment())
        given = {
            "policy": arguments.file,
            "state": arguments.state,
            "prices": arguments.prices,
            "log": arguments.log,
            "face": "all",
        }
        settings = flags.read(given, flags.environment())
        return uvloop.run(_run(settings, table, once=arguments.once, in_json=arguments.json))
    except PolicyError as error:
        print_refusal(error, arguments.json)
        return EXIT_FINDINGS
    except (flags.SettingsError, StoreError) as error:
        raise StartError(str(error)) from error
    except OSError as error:
        msg = f"{error.filename or 'a file'}: {error.strerror}; choose another place with --log"
        raise StartError(msg) from error


async def _run(settings: flags.Settings, table: RouteTable, *, once: bool, in_json: bool) -> int:
    async with warming(settings, flags.environment(), table) as warmer:
        if once:
            found = await warmer.once()
            if warmer.cut_off and not warmer.on_duty:
                msg = "nothing was sent: the shared state can't be reached, so nobody knows who warms"
                raise StartError(msg)
            _print(found, warmer, in_json)
            return EXIT_FINDINGS if any(one.failure is not None for one in found) else EXIT_OK
        duty = start(warmer.run(), name="warmer")
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, duty.cancel)
        await asyncio.gather(duty, return_exceptions=True)
        return EXIT_OK


def _print(found: tuple[Warmed, ...], warmer: Warmer, in_json: bool) -> None:
    if in_json:
        print(json.dumps({"on_duty": warmer.on_duty, "warmed": [asdict(one) for one in found]}, indent=2))
        return
    if not warmer.on_duty:
        print("another process is on duty: nothing was sent")
    elif not found:
        print("nothing is due")
    for one in found:
        gap = "" if one.gap is None else f", {show_seconds(round(one.gap))} after its last use"
        cost = "" if one.usd_per_month is None else f"; {dollars(one.usd_per_month)} a month, if nobody else uses it"
        reached = f", so 1 to {one.answered} copies" if one.answered > 1 else ""
        answered = f"{one.answered} of {one.sent} answered in {one.seconds:.1f} s{reached}"
        print(f"{one.target}: met {one.met}{gap}; {answered}{cost}")
        for line in (one.failure, one.advice):
            if line is not None:
                print(f"  {line}")
