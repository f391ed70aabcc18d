"""`pointsman warm ACTION`: keeping targets warm, and what that costs.

An action is a module as a command is, with a line of `HELP`.
"""

from __future__ import annotations

import argparse

from . import warm_plan, warm_prices, warm_run

ACTIONS = {"run": warm_run, "plan": warm_plan, "prices": warm_prices}


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, module in ACTIONS.items():
        text = module.HELP[0].upper() + module.HELP[1:] + "."
        action = actions.add_parser(name, help=module.HELP, description=text, allow_abbrev=False)
        module.configure(action)
        action.set_defaults(act=module.run)


def run(arguments: argparse.Namespace) -> int:
    """Whatever the action returns."""
    return int(arguments.act(arguments))
