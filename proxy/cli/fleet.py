"""What commands to a running fleet share: its policy file, its shared state, who gives them and why.

They need nothing but the two: no admin port, and no proxy that answers. So they work from a laptop. Those that only
look, hold or take back need not even the policy: where it is missing or can't be used, they go by the copy of the plans
in force that the controller leaves in the shared state.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pwd
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from backends.state import Store, StoreError, open_store
from policies.errors import PolicyError
from policies.migrating import Migration
from policies.table import RouteTable
from warmers.migrations.ledger import Ledger
from warmers.migrations.orders import OtherMigrationError

from .. import settings as flags
from . import StartError
from .policy_file import print_refusal, read_policy

AWAY = "the proxies keep their shares meanwhile; try again, or take everything home by a policy without `migrate`"
"""What somebody can do who is woken up while the shared state can't be used."""
LONGEST = 1000
"""Characters of a reason: it is in every record, log line and alert."""

Work = Callable[[RouteTable, Store], Awaitable[int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that every command to a fleet has."""
    more = parser.add_argument
    more("--policy", metavar="FILE", help="the policy that the proxies have (POINTSMAN_POLICY)")
    more("--state", metavar="URL", help="the fleet's shared state, as the proxies have it (POINTSMAN_STATE)")
    more("--json", action="store_true", help="print one JSON document")


def add_reason(parser: argparse.ArgumentParser) -> None:
    """The arguments of commands that change something."""
    more = parser.add_argument
    more("--reason", metavar="TEXT", required=True, type=one_line, help="why; it stands in the audit record")
    more(
        "--as",
        dest="who",
        metavar="WHO",
        type=one_line,
        help="who you are, for the audit record (default: user@machine)",
    )


def one_line(text: str) -> str:
    """`text` on one line, as records, logs and pagers have it; raises what argparse tells as wrong usage."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if not line:
        msg = "is empty; say it in a few words"
        raise argparse.ArgumentTypeError(msg)
    if len(line) > LONGEST:
        msg = f"has {len(line):,} characters; say it in {LONGEST:,}, and name a ticket for the rest"
        raise argparse.ArgumentTypeError(msg)
    return line


def who(given: str | None) -> str:
    """`given`, else the user and the machine."""
    if given:
        return given
    user = str(os.getuid())
    with suppress(KeyError):  # a container may run as a user without a name
        user = pwd.getpwuid(os.getuid()).pw_name
    return f"{user}@{socket.gethostname()}"


def with_fleet(arguments: argparse.Namespace, work: Work, *, begins: bool = False, recalls: bool = True) -> int:
    """The exit code of `work`, which gets the policy and the shared state. Raises StartError.

    Only a command that `begins` something may make a state where there is none. One that `recalls` goes by the plans in
    force where the policy can't be used; by those nothing may grow. The table has nothing but migrations then.
    """
    variables = flags.environment()
    try:
        state = _named(arguments, variables, "state", "the shared state")
        table: RouteTable | PolicyError | StartError
        try:
            table = read_policy(_named(arguments, variables, "policy", "the policy file"), variables)
        except (PolicyError, StartError) as error:
            if not recalls:
                raise
            table = error
        return asyncio.run(_work(table, state, work, begins, recalls))
    except PolicyError as error:
        print_refusal(error, arguments.json)
        msg = "nothing was done: give --policy a copy of the policy in force, and set the variables that it names"
        raise StartError(msg) from error
    except (StoreError, OtherMigrationError, ValueError) as error:
        raise StartError(str(error)) from error
    except KeyboardInterrupt:
        if hasattr(arguments, "reason"):
            told = "interrupted: it may have been carried out, `pointsman migrate status` says; giving it again is safe"
            print(f"pointsman: {told}", file=sys.stderr)
        raise


async def _work(
    table: RouteTable | PolicyError | StartError, state: str, work: Work, begins: bool, recalls: bool
) -> int:
    store = open_store(state, make=begins)
    try:
        known = None if begins else await _known(Ledger(store))
        if not isinstance(table, RouteTable):
            if not known:
                raise table
            print(f"pointsman: {table}\npointsman: going by the plans in force in the shared state", file=sys.stderr)
            table = RouteTable("", {}, {}, "", migrations=known)
        elif recalls and known:
            table = replace(table, migrations={**known, **table.migrations})
        return await work(table, store)
    except StoreError as error:
        msg = f"{error}; {AWAY}"
        raise StoreError(msg) from error
    finally:
        await store.aclose()


async def _known(ledger: Ledger) -> Mapping[str, Migration]:
    """The plans in force. Raises StartError when nobody was ever here: it is the wrong state, or too early."""
    plans = await ledger.plans()
    if plans is None and not await ledger.states():
        msg = "no proxy has ever looked at this state: is it the fleet's --state, and has its policy a migration?"
        raise StartError(msg)
    return plans or {}


def _named(arguments: argparse.Namespace, variables: Mapping[str, str], name: str, what: str) -> str:
    found = getattr(arguments, name) or variables.get(f"POINTSMAN_{name.upper()}")
    if not found:
        msg = f"{what} of the fleet is not named: give --{name}, or set POINTSMAN_{name.upper()}"
        raise StartError(msg)
    return str(found)
