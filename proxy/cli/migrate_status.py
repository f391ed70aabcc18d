"""`pointsman migrate status [NAME]`: where each migration stands, what it waits for, and what its gates say.

State and evidence are read here; what the gates answered and how much the old target can take back is what the
controller saw at its last look, which is said with its age.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from backends.state import Store
from policies.evidence import Evidence
from policies.migrating import START, Member, Migration
from policies.migration import bypassed
from policies.migration_state import Event, Phase, State, standing
from policies.quantities import show_seconds, show_share
from policies.table import RouteTable
from warmers.migrations.ledger import Ledger
from warmers.migrations.orders import differing
from warmers.migrations.report import GateSeen, Report

from . import EXIT_FINDINGS, EXIT_OK
from .fleet import add_arguments, with_fleet
from .migrate_order import SILENT, named, now

HELP = "say where migrations stand, what they wait for, and what their gates say"


@dataclass(frozen=True, slots=True)
class Standing:
    """One migration, as it is told."""

    plan: Migration
    state: State
    evidence: Mapping[str, Evidence]
    report: Report | None
    at: float
    breach: str | None = None
    """Why the controller took it back to the start, or is on the way; None: it did not."""
    others: tuple[str, ...] = ()
    """What the plan in force says otherwise than `plan`."""

    @property
    def newest(self) -> Report | None:
        """The report, where it is about this very state."""
        return self.report if self.report is not None and self.report.version == self.state.version else None

    @property
    def judged(self) -> Report | None:
        """The last report with gates that still count: of this state, or of the same window of a running migration."""
        same = self.state.phase is Phase.RUNNING and self.report is not None and self.report.at >= self.state.since
        return self.report if same else self.newest

    @property
    def findings(self) -> list[str]:
        """What somebody should look at."""
        found = []
        if self.state.identity != self.plan.identity:
            found.append("the fleet runs another migration under this name than this policy has")
        elif self.others:
            found.append(f"this policy differs from the fleet's: {', '.join(self.others)}")
        if self.state.bypass is not None:
            found.append(f"bypassed: {bypassed(self.state, self.plan, self.at)}")
        if self.state.paused is not None:
            found.append(f"paused: {self.state.paused}")
        if self.breach is not None:
            found.append(f"taken back by a breach: {self.breach}; `pointsman migrate start` begins anew")
        found += [f"{old} need not be kept any longer: write serve_from, and delete migrate" for old in self.expired]
        found += [f"red: {one.gate} of {one.route}: {one.text}" for one in self._gates if one.answer == "red"]
        if self.silent > SILENT:
            ago = "ever" if self.report is None else f"for {show_seconds(round(self.at - self.report.at))}"
            told = "is a proxy running with this state, and a policy that has it?"
            found.append(f"no controller has looked at it {ago}: {told}")
        return found

    @property
    def silent(self) -> float:
        """Seconds for which the controller could have looked at it and did not; 0 for what is only planned."""
        if self.state.phase is Phase.PLANNED:
            return 0.0
        return self.at - (self.state.since if self.report is None else self.report.at)

    @property
    def expired(self) -> list[str]:
        """Old targets that have been kept for as long as the policy says."""
        done = self.state.done_at
        return [one.old for one in self.plan.members if done is not None and self.at > done + one.keep.until]

    @property
    def _gates(self) -> tuple[GateSeen, ...]:
        return self.judged.gates if self.judged is not None else ()

    def days(self, gate: GateSeen) -> str:
        """How many requests and how much time an answer takes at the traffic of this window; empty: not known."""
        if not gate.more:
            return ""
        seen = self.evidence.get(gate.route, Evidence()).new.requests
        spent = self.at - self.state.since
        time = f", {show_seconds(round(gate.more * spent / seen))} at this traffic" if seen and spent > 0 else ""
        return f"; about {gate.more:,} more requests{time}"


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` this action's arguments."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="only this one; without it all of the policy's")
    add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """0: all is as planned; 1: something wants to be looked at: a pause, a breach, a bypass, no controller.

    A breach is one until the migration is started anew.
    """

    async def work(table: RouteTable, store: Store) -> int:
        plans = [named(table, arguments.name)] if arguments.name else list(table.migrations.values())
        ledger = Ledger(store)
        found = []
        for plan in plans:
            kept = await ledger.state(plan.name)
            state = kept.state if kept is not None else State.planned(plan)
            evidence = await ledger.evidence(plan.name, state.window_id)
            report, breach = await ledger.report(plan.name), await _breach(ledger, state)
            others = await differing(ledger, plan)
            found.append(Standing(plan, state, evidence, report, now(), breach, others))
        if arguments.json:
            print(json.dumps({"migrations": [_json(one) for one in found]}, indent=2))
        else:
            print("\n\n".join("\n".join(_lines(one)) for one in found) or "the policy has no migrations")
        return EXIT_FINDINGS if any(one.findings for one in found) else EXIT_OK

    return with_fleet(arguments, work)


async def _breach(ledger: Ledger, state: State) -> str | None:
    """Why it was taken back without anybody having asked for it."""
    if state.phase not in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
        return None
    cause = next((one for one in reversed(await ledger.history(state.name)) if one["event"] in _CAUSES), None)
    return str(cause["why"]) if cause is not None and cause["event"] == Event.BREACHED.value else None


_CAUSES = frozenset({Event.STARTED.value, Event.BREACHED.value, Event.ROLLBACK.value, Event.RECHARTED.value})
"""Events of which the last says who wanted a way back."""


def _lines(one: Standing) -> Iterator[str]:
    state, plan, seen = one.state, one.plan, one.newest
    where = seen.standing if seen is not None else _unseen(state)
    at = f" at step {state.step + 1} of {len(plan.steps)}" if state.step > START else ""
    since = f", since {show_seconds(max(0.0, round(one.at - state.since)))}" if state.since else ""
    yield f"{plan.name}: {where}{at}: {show_share(state.in_force[0])} of the traffic{since}"
    for member in plan.members:
        counts = one.evidence.get(member.route, Evidence())
        yield (
            f"  {member.route}: {member.old} -> {member.new}; this window: old {counts.old.requests} requests,"
            f" {counts.old.errors} errors; new {counts.new.requests}, {counts.new.errors}"
        )
    yield f"  last: {state.why}"
    if state.done_at is not None:
        for member in plan.members:
            until = datetime.fromtimestamp(state.done_at + member.keep.until, UTC)
            yield f"  keep: {member.old} until {until:%Y-%m-%d %H:%M} UTC"
    if seen is not None:
        for what, text in seen.waits:
            yield f"  waits: {what}: {text}"
    elif one.report is None and 0 < one.silent <= SILENT:
        yield "  waits: a first look of the controller: any proxy with this state and policy, every few seconds"
    if (judged := one.judged) is not None:
        for gate in judged.gates:
            yield f"  gate: {gate.gate} of {gate.route}: {gate.answer}: {gate.text}{one.days(gate)}"
        yield from (_room(member, judged) for member in plan.members)
    for line in one.findings:
        yield f"  ! {line}"


def _room(member: Member, report: Report) -> str:
    part = report.rooms.get(member.route)
    if part is None:
        why = "" if member.keep.trust else ", or nobody can say (`unknown: trust` under `keep` counts it then)"
        return f"  room: what {member.old} could take of {member.route}'s traffic is not known: it is full or cold{why}"
    word = "counts as able" if member.keep.trust else "is shown"
    return f"  room: {member.old} {word} to take {show_share(part)} of {member.route}'s traffic"


def _unseen(state: State) -> str:
    """Where it stands when nobody has said what it waits for."""
    found = standing(state)
    return state.phase.value if found == "going on" else found


def _json(one: Standing) -> dict[str, Any]:
    state = one.state
    return {
        "migration": one.plan.name,
        "standing": one.newest.standing if one.newest is not None else _unseen(state),
        "phase": state.phase.value,
        "step": state.step + 1,
        "steps": len(one.plan.steps),
        "share": state.in_force[0],
        "shadow": state.in_force[1],
        "since": state.since,
        "version": state.version,
        "window": state.window_id,
        "why": state.why,
        "paused": state.paused,
        "bypass_until": state.bypass,
        "routes": {member.route: _route(member, one) for member in one.plan.members},
        "seen": None if one.newest is None else asdict(one.newest),
        "findings": one.findings,
    }


def _route(member: Member, one: Standing) -> dict[str, Any]:
    counts = one.evidence.get(member.route, Evidence())
    sides = {"old": (member.old, counts.old), "new": (member.new, counts.new)}
    return {
        side: {"target": target, "requests": seen.requests, "errors": seen.errors, "cold": seen.cold}
        for side, (target, seen) in sides.items()
    }
