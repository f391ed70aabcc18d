"""`pointsman migrate ACTION NAME`: moving a model's traffic from one hosting to another, step by step.

An action is as a command is, and has a line of `HELP`. Those that change
something are one class: they differ in their verb.
"""

from __future__ import annotations

import argparse
from typing import Protocol

from policies.migration_state import Verb

from . import migrate_diffs, migrate_history, migrate_status
from .migrate_order import Order


class Action(Protocol):
    """What a module that is an action has, and an object that is one."""

    @property
    def HELP(self) -> str: ...

    def configure(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


ACTIONS: dict[str, Action] = {
    "status": migrate_status,
    "history": migrate_history,
    "diffs": migrate_diffs,
    "start": Order(Verb.START, "begin, or begin anew after a rollback"),
    "pause": Order(Verb.PAUSE, "stand still at this step until `resume`"),
    "resume": Order(Verb.RESUME, "go on after a pause, a breach or a bypass"),
    "approve": Order(Verb.APPROVE, "agree that a step which waits for it may be left"),
    "promote": Order(Verb.PROMOTE, "do not wait for the rest of this step's hold, or for answers that are still open"),
    "rollback": Order(Verb.ROLLBACK, "take everything back to the old target, as fast as it can"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, one in ACTIONS.items():
        text = one.HELP[0].upper() + one.HELP[1:] + "."
        action = actions.add_parser(name, help=one.HELP, description=text, allow_abbrev=False)
        one.configure(action)
        action.set_defaults(act=one.run)


def run(arguments: argparse.Namespace) -> int:
    """Whatever the action returns."""
    return int(arguments.act(arguments))
