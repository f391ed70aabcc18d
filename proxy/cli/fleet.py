"""What commands to a running fleet share: its policy file, its shared state, who gives them and why.

They need nothing but the two: no admin port, and no proxy that answers. So they work from a laptop.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pwd
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from backends.state import Store, StoreError, open_store
from policies.errors import PolicyError
from policies.table import RouteTable
from warmers.migrations.orders import OtherMigrationError

from .. import settings as flags
from . import EXIT_FINDINGS, StartError
from .policy_file import print_refusal, read_policy

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that every command to a fleet has."""
    more = parser.add_argument
    more("--policy", metavar="FILE", help="the policy that the proxies have (POINTSMAN_POLICY)")
    more("--state", metavar="URL", help="the fleet's shared state, as the proxies have it (POINTSMAN_STATE)")
    more("--json", action="store_true", help="print one JSON document")


def add_reason(parser: argparse.ArgumentParser) -> None:
    """The arguments of commands that change something."""
    more = parser.add_argument
    more("--reason", metavar="TEXT", required=True, help="why; it stands in the audit record")
    more("--as", dest="who", metavar="WHO", help="who you are, for the audit record [user@machine]")


def who(given: str | None) -> str:
    """`given`, else the user and the machine."""
    if given:
        return given
    user = str(os.getuid())
    with suppress(KeyError):  # a container may run as a user without a name
        user = pwd.getpwuid(os.getuid()).pw_name
    return f"{user}@{socket.gethostname()}"


def with_fleet(
    arguments: argparse.Namespace, work: Callable[[RouteTable, Store], Awaitable[int]], *, begins: bool = False
) -> int:
    """The exit code of `work`, which gets the policy and the shared state. Raises StartError.

    Only a command that `begins` something may make a state where there is none.
    """
    try:
        policy, state = _places(arguments, flags.environment())
        return asyncio.run(_work(read_policy(policy, flags.environment()), state, work, begins))
    except PolicyError as error:
        print_refusal(error, arguments.json)
        return EXIT_FINDINGS
    except (StoreError, OtherMigrationError, ValueError) as error:
        raise StartError(str(error)) from error


async def _work(
    table: RouteTable, state: str, work: Callable[[RouteTable, Store], Awaitable[int]], begins: bool
) -> int:
    store = open_store(state, make=begins)
    try:
        return await work(table, store)
    finally:
        await store.aclose()


def _places(arguments: argparse.Namespace, variables: Mapping[str, str]) -> tuple[str, str]:
    found = []
    for name, what in (("policy", "the policy file"), ("state", "the shared state")):
        value = getattr(arguments, name) or variables.get(f"POINTSMAN_{name.upper()}")
        if not value:
            msg = f"{what} of the fleet is not named: give --{name}, or set POINTSMAN_{name.upper()}"
            raise StartError(msg)
        found.append(value)
    return found[0], found[1]
