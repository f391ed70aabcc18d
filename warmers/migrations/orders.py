"""Commands to migrations, carried out by whoever gives them: read, decide, compare and set.

So a command is answered at once, works from a laptop that reaches nothing but the shared state, and needs no controller
to be alive. Every proxy hears of it at its next look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from backends.state import StoreError
from policies.evidence import Evidence
from policies.gate import judge
from policies.migrating import Measure, Migration
from policies.migration import step
from policies.migration_state import Command, Decision, Event, Phase, Seen, State, Verb
from policies.plan_copy import apart
from policies.verdicts import Answer, Verdict

from .audit import Basis, records
from .ledger import Ledger
from .report import Report


class OtherMigrationError(Exception):
    """The policy at hand is not the one that the fleet moves by; the message says what to do."""


BELIEVED = 30.0
"""Seconds for which the controller's word about room is good; it gives it every 10, and at once when it changes."""
CLOCKS = 5.0
"""Seconds by which the clock of who commands may be behind the controller's and still be taken for right."""
BEGINS = frozenset({Verb.START, Verb.PROMOTE})
"""Verbs that grow at once what may grow, also where the controller's last look is long ago."""
HOLDS = frozenset({Verb.PAUSE, Verb.ROLLBACK, Verb.BYPASS})
"""Verbs by which nothing grows: they go by the plan in force where the policy at hand is another."""
TRIES = 8
"""So often a command is decided anew since somebody else has moved the migration meanwhile."""


async def order(ledger: Ledger, plan: Migration, command: Command, now: float) -> tuple[State, tuple[Decision, ...]]:
    """The state after `command`, and what was decided; `refused` says whether the command was.

    A clock that is behind the controller's own word is put right first (`behind`): a hold that began an hour ago by it
    would be over an hour too early, and a bypass. One that is ahead looks as if the controller were silent; nothing but
    what was asked for happens then.

    Raises:
        OtherMigrationError: the fleet goes by another plan than `plan`. What holds or takes back goes by the copy of
            the plan in force then, if there is one (`differing` says how they differ).
        StoreError: it can't be known, or can't be written. Giving the same command again counts once.
    """
    others = await differing(ledger, plan)
    late = behind(await ledger.report(plan.name), now)
    if late:
        now, until = now + late, command.until + late if command.until is not None else None
        command = replace(command, at=command.at + late, until=until)
    for _ in range(TRIES):
        kept = await ledger.state(plan.name)
        state = kept.state if kept else State.planned(plan)
        if command.verb in HOLDS and not _is_of(state, plan):
            plan = await _in_force(ledger, state, plan)
        _same(state, plan, command)
        if others and command.verb not in HOLDS:
            raise OtherMigrationError(_other(plan.name, f"says something else ({', '.join(others)})"))
        evidence = await ledger.evidence(plan.name, state.window_id)
        last = await ledger.report(plan.name)
        report = last if last is not None and now - last.at <= BELIEVED else None
        verdicts = _verdicts(plan, state, evidence, report, now) if command.verb is Verb.PROMOTE else ()
        near = report is not None or last is None or command.verb in BEGINS
        seen = Seen(state.window_id, verdicts, report.rooms if report else {}, shared=near)
        move = step(state, plan, seen, (command,), now)
        said = records(move.decisions, Basis(verdicts, evidence))
        if not move.changed or await ledger.write(kept, move.state, said):
            return move.state, move.decisions
    msg = f"migration {plan.name} is moved by others all the time; give the command again"
    raise StoreError(msg)


async def differing(ledger: Ledger, plan: Migration) -> tuple[str, ...]:
    """What the plan in force says otherwise than `plan`, by the keys of the policy; nothing where none is known.

    Raises StoreError.
    """
    found = (await ledger.plans() or {}).get(plan.name)
    return () if found is None else apart(plan, found)


def refused(decisions: tuple[Decision, ...], command: Command) -> Decision | None:
    """Why the command was refused; None when it was carried out."""
    return next((one for one in decisions if one.command == command.id and one.event is Event.REFUSED), None)


def behind(report: Report | None, now: float) -> float:
    """Seconds by which a clock that shows `now` is behind the controller's at least; 0: by no more than `CLOCKS`."""
    late = report.at - now if report is not None else 0.0
    return late if late > CLOCKS else 0.0


def _verdicts(
    plan: Migration, state: State, evidence: Mapping[str, Evidence], report: Report | None, now: float
) -> tuple[Verdict, ...]:
    """What the gates say, which a promotion has to know. What it will cost the controller alone can say."""
    found = [one for one in judge(plan, state, evidence, now) if one.measure is not Measure.COST]
    if report is not None and report.version == state.version:
        costs = (one for one in report.gates if one.gate == Measure.COST.value)
        told = ((one, Answer(one.answer)) for one in costs)
        found += [
            Verdict(one.route, Measure.COST, answer, one.text, missing=answer is Answer.NOT_YET) for one, answer in told
        ]
    return tuple(found)


async def _in_force(ledger: Ledger, state: State, plan: Migration) -> Migration:
    """The plan that the state is of, where the controller has left it; else `plan`."""
    found = (await ledger.plans() or {}).get(plan.name)
    return found if found is not None and _is_of(state, found) else plan


def _is_of(state: State, plan: Migration) -> bool:
    return (state.identity, state.course) == (plan.identity, plan.course)


def _same(state: State, plan: Migration, command: Command) -> None:
    """Raises OtherMigrationError where carrying out `command` would change what is moved, or by which steps."""
    over = state.phase in (Phase.PLANNED, Phase.ROLLED_BACK, Phase.DONE)
    if _is_of(state, plan) or (command.verb is Verb.START and over):
        return
    what = "moves something else" if state.identity != plan.identity else "has other steps"
    raise OtherMigrationError(_other(plan.name, what))


def _other(name: str, what: str) -> str:
    return (
        f"this policy {what} than the migration {name} that the fleet runs; nothing was done: give the policy file "
        "that the proxies have, with the same variables. If it has just been changed there, try again in ten seconds"
    )
