"""`pointsman migrate history NAME`: every decision about a migration: when, who, what, why, and from what evidence."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from backends.state import Store
from policies.quantities import show_share
from policies.table import RouteTable
from warmers.migrations.ledger import Ledger

from . import EXIT_OK
from .fleet import add_arguments, with_fleet
from .migrate_order import named

HELP = "print the audit record: every decision, who took it, why, and from what evidence"


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` this action's arguments."""
    parser.add_argument("name", metavar="NAME", help="the migration: its route or its group")
    add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """0, also when nothing was decided yet."""

    async def work(table: RouteTable, store: Store) -> int:
        found = await Ledger(store).history(named(table, arguments.name).name)
        if arguments.json:
            print(json.dumps({"migration": arguments.name, "records": found}, indent=2))
            return EXIT_OK
        if not found:
            print(f"{arguments.name}: nothing was decided yet")
        for record in found:
            for line in _lines(record):
                print(line)
        return EXIT_OK

    return with_fleet(arguments, work)


def _lines(record: dict[str, Any]) -> list[str]:
    at = datetime.fromtimestamp(record["at"], UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    before, after = record["before"], record["after"]
    moved = f" [{show_share(before)} -> {show_share(after)}]" if before != after else ""
    lines = [f"{at} {record['who']}: {record['event']}{moved}: {record['why']}"]
    for route, counts in record["requests"].items():
        sides = (f"{side} {counts[side][0]} requests, {counts[side][1]} errors" for side in ("old", "new"))
        lines.append(f"    {route}: {'; '.join(sides)}")
    lines += [f"    {one['gate']} of {one['route']}: {one['answer']}: {one['text']}" for one in record["gates"]]
    return lines
