"""`make fuzz`: hostile input in numbers that CI has no time for, with the counts of what came of it.

`python -m tests.security.fuzz --sockets N --parsers N --seconds S --seed N --only NAME`; a parser stops after
`--seconds`, and the report says how many cases it had by then. Exit 1 with the first findings.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

import uvloop

from .parser import findings, fuzzed
from .parsers import PARSERS
from .sockets import storm


def main() -> int:
    """Run all of it."""
    arguments = argparse.ArgumentParser(description="hostile input, in numbers", allow_abbrev=False)
    arguments.add_argument("--sockets", type=int, default=100_000)
    arguments.add_argument("--parsers", type=int, default=1_000_000)
    arguments.add_argument("--seconds", type=float, default=300.0, help="for each parser")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--only", choices=[parser.name for parser in PARSERS], action="append", help="this parser")
    given = arguments.parse_args()
    bad: list[str] = []
    for parser in PARSERS:
        if not given.parsers or (given.only and parser.name not in given.only):
            continue
        found = fuzzed(parser, given.parsers, given.seed, given.seconds)
        bad += [f"{parser.name}: {each}" for each in findings(found)]
        print(f"{parser.name}: {found.total()} cases, {found['read']} read, {found['refused']} refused", flush=True)
    if given.sockets:
        began = time.monotonic()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(storm(given.sockets, given.seed))
        bad += [f"sockets: {each}" for each in findings(found)]
        told = ", ".join(f"{count} x {each}" for each, count in found.most_common() if ": " not in each)
        print(f"sockets: {given.sockets} connections in {time.monotonic() - began:.0f} s: {told}")
    print(f"findings: {len(bad)}", *bad[:20], sep="\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
