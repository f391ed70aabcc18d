"""`pointsman migrate start | pause | resume | approve | promote | rollback NAME --reason R`.

The command is carried out here, by compare and set, and answered at once; every proxy hears of it within ten seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from dataclasses import dataclass

from backends.state import Store
from policies.migrating import Migration
from policies.migration_state import Command, Decision, Event, State, Verb
from policies.quantities import show_seconds, show_share
from policies.table import RouteTable
from warmers.migrations.ledger import Ledger
from warmers.migrations.orders import HOLDS, behind, differing, order

from . import EXIT_OK, EXIT_REFUSED, StartError
from .fleet import add_arguments, add_reason, who, with_fleet

SILENT = 90.0
"""Seconds after which a controller that has said nothing is missed; it speaks every 10."""


@dataclass(frozen=True, slots=True)
class Order:
    """One verb as an action of `pointsman migrate`."""

    verb: Verb
    HELP: str

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Teach `parser` this action's arguments."""
        parser.add_argument("name", metavar="NAME", help="the migration: its group, or a route of it")
        add_arguments(parser)
        add_reason(parser)

    def run(self, arguments: argparse.Namespace) -> int:
        """0: it was carried out; 3: it was refused, for what the migration is doing now.

        What holds or takes back needs no policy that can be used, where the controller has left its plans.
        """

        async def work(table: RouteTable, store: Store) -> int:
            plan, ledger = named(table, arguments.name), Ledger(store)
            await say_other(ledger, plan, self.verb)
            state, decisions = await order(ledger, plan, command(self.verb, arguments), now())
            await say_silent(ledger, plan)
            return told(self.verb, state, decisions, arguments.json)

        return with_fleet(arguments, work, begins=self.verb is Verb.START, recalls=self.verb in HOLDS)


async def say_other(ledger: Ledger, plan: Migration, verb: Verb) -> None:
    """One line on standard error where a command goes by another plan than the policy's, or before there is one."""
    if verb in HOLDS:
        others = await differing(ledger, plan)
        if others:
            told = f"differs from the fleet's at migration {plan.name} ({', '.join(others)}): going by the fleet's"
            print(f"pointsman: this policy {told}", file=sys.stderr)
    elif verb is Verb.START and plan.name not in (await ledger.plans() or {}):
        told = f"no proxy has said yet that its policy has a migration {plan.name}: it moves once one has"
        print(f"pointsman: {told}", file=sys.stderr)


async def say_silent(ledger: Ledger, plan: Migration) -> None:
    """One line on standard error where no proxy has looked at the migration lately: nobody may follow a command.

    Another where this machine's clock is behind the controller's.
    """
    report = await ledger.report(plan.name)
    ago, late = (0.0 if report is None else now() - report.at), behind(report, now())
    if ago > SILENT:
        told = f"no proxy has decided about {plan.name} for {show_seconds(round(ago))} by this machine's clock; what is"
        print(f"pointsman: {told} ordered holds once one runs with this state", file=sys.stderr)
    if late:
        told = f"this machine's clock is {show_seconds(round(late))} behind the controller's: going by that one"
        print(f"pointsman: {told}", file=sys.stderr)


def now() -> float:
    """Seconds since 1970: a command says when it was given."""
    return time.time()  # noqa: TID251 - a command line is a composition root: it gives the time to those who need it


def command(verb: Verb, arguments: argparse.Namespace, until: float | None = None) -> Command:
    """The command that `arguments` give."""
    return Command(uuid.uuid4().hex, verb, arguments.reason, who(arguments.who), now(), until)


def named(table: RouteTable, name: str) -> Migration:
    """The migration of that name, or that a route of that name is a member of. Raises StartError with all there are."""
    plan = table.migrations.get(name) or next(
        (one for one in table.migrations.values() if any(member.route == name for member in one.members)), None
    )
    if plan is None:
        known = ", ".join(sorted(table.migrations)) or "none"
        msg = f"the policy has no migration {name!r}; it has: {known}"
        raise StartError(msg)
    return plan


def told(verb: Verb, state: State, decisions: tuple[Decision, ...], in_json: bool) -> int:
    """Print what became of a command; the exit code."""
    no = next((one for one in decisions if one.event is Event.REFUSED), None)
    if in_json:
        answer = {"migration": state.name, "verb": verb.value, "done": no is None, "share": state.in_force[0]}
        answer |= {"phase": state.phase.value, "step": state.step + 1, "version": state.version}
        print(json.dumps(answer | {"decisions": [one.summary for one in decisions]}, indent=2))
        return EXIT_REFUSED if no is not None else EXIT_OK
    for one in decisions:
        print(f"{state.name}: refused: {one.why}" if one is no else one.summary)
    if no is None or len(decisions) > 1:  # a promotion may be refused by what leads back at once
        print(f"{state.name}: {show_share(state.in_force[0])} of the traffic goes to the new target")
    return EXIT_REFUSED if no is not None else EXIT_OK
