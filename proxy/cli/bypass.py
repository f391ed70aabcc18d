"""`pointsman bypass ENDPOINT | --all --for 2h --reason R`: everything home at once, whatever the old target can take.

For the night when something is wrong and nobody knows yet what. It ends by itself, or with `pointsman migrate resume`.
"""

from __future__ import annotations

import argparse
import json

from backends.state import Store
from policies.migrating import Migration
from policies.migration_state import Phase, Verb
from policies.quantities import hold, show_moment
from policies.table import RouteTable
from warmers.migrations.ledger import Ledger
from warmers.migrations.orders import order, refused

from . import EXIT_OK, EXIT_REFUSED, StartError
from .fleet import add_arguments, add_reason, with_fleet
from .migrate_order import command, now, say_other, say_silent


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` this command's arguments."""
    parser.add_argument("endpoint", metavar="ENDPOINT", nargs="?", help="an endpoint, endpoint/component, or a group")
    parser.add_argument("--all", action="store_true", help="every migration of the policy")
    parser.add_argument("--for", dest="period", metavar="TIME", required=True, help="how long: 30m, 2h")
    add_arguments(parser)
    add_reason(parser)


def run(arguments: argparse.Namespace) -> int:
    """0: everything is home, or is on its way; 3: some migration refused."""
    if arguments.all == (arguments.endpoint is not None):
        msg = "name an endpoint, or give --all for every one"
        raise StartError(msg)
    period = _period(arguments.period)

    async def work(table: RouteTable, store: Store) -> int:
        ledger = Ledger(store)
        answers = [await _one(ledger, plan, arguments, period) for plan in _plans(table, arguments.endpoint)]
        return _told(answers, arguments.json)

    return with_fleet(arguments, work)


async def _one(ledger: Ledger, plan: Migration, arguments: argparse.Namespace, period: float) -> tuple[str, bool, str]:
    """Name, whether it is home now, and why or why not."""
    kept = await ledger.state(plan.name)
    if kept is None or kept.state.phase in (Phase.PLANNED, Phase.ROLLED_BACK):
        return plan.name, True, "is served from the old target already"
    await say_other(ledger, plan, Verb.BYPASS)
    given = command(Verb.BYPASS, arguments, now() + period)
    state, decisions = await order(ledger, plan, given, given.at)
    await say_silent(ledger, plan)
    no = refused(decisions, given)
    before = f"; it was until {show_moment(kept.state.bypass)}" if kept.state.bypass is not None else ""
    until = show_moment(state.bypass or given.at + period)  # by the controller's clock, where this one is behind
    home = f"everything goes to {', '.join(one.old for one in plan.members)} until {until}{before}"
    return plan.name, no is None, no.why if no is not None else home


def _told(answers: list[tuple[str, bool, str]], in_json: bool) -> int:
    done = all(ok for _, ok, _ in answers)
    if in_json:
        found = [{"migration": name, "done": ok, "why": why} for name, ok, why in answers]
        print(json.dumps({"done": done, "migrations": found}, indent=2))
    else:
        for name, ok, why in answers:
            print(f"{name}: {'' if ok else 'refused: '}{why}")
    return EXIT_OK if done else EXIT_REFUSED


def _plans(table: RouteTable, endpoint: str | None) -> list[Migration]:
    """The migrations that have anything to do with `endpoint`, None: all. Raises StartError when there is none."""
    found = [
        plan
        for plan in table.migrations.values()
        if endpoint in (None, plan.name) or any(f"{one.route}/".startswith(f"{endpoint}/") for one in plan.members)
    ]
    if not found:
        what = "the policy" if endpoint is None else endpoint
        msg = f"{what} has no migration, so everything is served as the policy says: edit it to send traffic elsewhere"
        raise StartError(msg)
    return found


def _period(text: str) -> float:
    try:
        found = hold(text)
    except ValueError as error:
        msg = f"--for can't be {text!r}, which {error}"
        raise StartError(msg) from error
    if found <= 0:
        msg = f"--for can't be {text!r}: a bypass that is over at once does nothing"
        raise StartError(msg)
    return found
