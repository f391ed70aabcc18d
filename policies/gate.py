"""Gates: what the evidence of one window says of a migration's step, each measure with its own test.

The false alarms that the policy allows for the whole migration are divided over its windows (one for each step, and
ever smaller parts for those that repeats and retreats add, so that the sum stays below what is allowed however often
that happens) and evenly over the gates of a window. A breach that is called where none is, at any look of any gate,
from start to end, has at most that probability; so has a green that is given to something worse than allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from . import agreement, sequential
from .evidence import Evidence, Side, quantile
from .migrating import START, Gate, Measure, Member, Migration, Step, gates_at
from .migration_state import Phase, State
from .quantities import show_seconds, show_share
from .sizes import RANKS, Baseline, required
from .verdicts import Answer, Verdict

STALE = 600.0
"""Seconds after which evidence that nobody adds to is taken for missing: workers write theirs every few seconds."""
FAR = 2.0
"""Far beyond what is allowed: standard deviations of shares; multiples of what is allowed of latencies."""
_LATENCIES = frozenset({Measure.LATENCY_P95, Measure.LATENCY_P99})


def judge(plan: Migration, state: State, seen: Mapping[str, Evidence], now: float) -> tuple[Verdict, ...]:
    """What each gate of the step that is in force says of this window's evidence, by key of the route."""
    return dated(weighed(plan, state, seen), seen, now)


def weighed(plan: Migration, state: State, seen: Mapping[str, Evidence]) -> tuple[Verdict, ...]:
    """The same, whenever the evidence was written: it follows from what was counted alone, and is most of the work."""
    if state.phase is not Phase.RUNNING or not START < state.step < len(plan.steps):
        return ()
    at = plan.steps[state.step]
    chance = chance_of(plan, state.window, state.step)
    found: list[Verdict] = []
    for member in plan.members:
        evidence = seen.get(member.route, Evidence())
        for gate in gates_at(member, at):
            said = Verdict(member.route, gate.measure, *_asked(gate, evidence, chance))
            if said.answer is Answer.NOT_YET and not said.missing:
                said = replace(said, more=_more(gate, at, evidence, chance), far=_far(gate, evidence, chance))
            found.append(said)
    return tuple(found)


def dated(verdicts: tuple[Verdict, ...], seen: Mapping[str, Evidence], now: float) -> tuple[Verdict, ...]:
    """Those of `weighed`, and `missing` for what rests on evidence that nobody adds to any more."""
    return tuple(_dated(said, seen.get(said.route, Evidence()), now) for said in verdicts)


def chance_of(plan: Migration, window: int, step: int) -> float:
    """The probability of a wrong answer that one gate of a step may have, in the `window`-th window of a run (from 1).

    Over all windows there can ever be, the sum is `plan.false_alarms`: each of as many windows as there are steps gets
    an equal part of all but one part, and the j-th one beyond them a 1/(j (j + 1)) of that last part.
    """
    part = plan.false_alarms / (len(plan.steps) + 1)
    beyond = window - len(plan.steps)
    if beyond > 0:
        part /= beyond * (beyond + 1)
    gates = sum(len(gates_at(member, plan.steps[step])) for member in plan.members)
    return part / max(1, gates)


def verdict(gate: Gate, member: Member, evidence: Evidence, chance: float, now: float) -> Verdict:
    """One gate's answer to one route's evidence, wrong with a probability of `chance` at most."""
    return _dated(Verdict(member.route, gate.measure, *_asked(gate, evidence, chance)), evidence, now)


def _dated(said: Verdict, evidence: Evidence, now: float) -> Verdict:
    at = evidence.cost[0] if said.measure is Measure.COST and evidence.cost is not None else evidence.at
    if said.answer is Answer.RED or abs(now - at) <= STALE:
        return said
    age = show_seconds(round(abs(now - at)))
    if at > now:  # it would count as fresh long after the last request
        text = f"the evidence is dated {age} ahead: the clock of a machine that wrote it, or of this one, is wrong"
    else:
        text = f"nothing has been added to the evidence for {age}" if at else "no evidence of this step"
    return Verdict(said.route, said.measure, Answer.NOT_YET, text, missing=True)


def _far(gate: Gate, evidence: Evidence, chance: float) -> bool:
    """Whether an open answer looks so bad that nobody should take it upon them, however little it rests on."""
    if gate.measure is Measure.AGREEMENT:
        return False
    if gate.measure in (Measure.ERRORS, Measure.COLD_SHARE):
        old, new = _counts(gate, evidence.old), _counts(gate, evidence.new)
        return sequential.deviations(old, new, gate.allowed, chance)[0] > FAR
    rank, (old_times, new_times) = RANKS[gate.measure], _times(gate, evidence)
    return quantile(new_times, rank) / quantile(old_times, rank) - 1 > FAR * gate.allowed


def _more(gate: Gate, step: Step, evidence: Evidence, chance: float) -> int:
    """About how many further requests on the new side an answer takes, if both sides are alike."""
    if gate.measure is Measure.AGREEMENT and evidence.agreement is not None:
        return max(1, agreement.required(evidence.agreement, chance) - evidence.agreement.requests)
    return max(1, required(gate, step, Baseline.of(evidence), chance) - evidence.new.requests)


def _asked(gate: Gate, evidence: Evidence, chance: float) -> tuple[Answer, str, bool]:
    """The answer, in words as well, and whether there was nothing to answer from."""
    match gate.measure:
        case Measure.ERRORS | Measure.COLD_SHARE:
            return _share(gate, evidence, chance)
        case Measure.AGREEMENT:
            if evidence.agreement is None or evidence.agreement.bound != gate.allowed:
                return Answer.NOT_YET, "no answer has been compared under this bound", True
            said = agreement.judge(evidence.agreement, chance)
            return said.answer, said.why, evidence.agreement.requests == 0
        case Measure.COST:
            if evidence.cost is None:
                return Answer.NOT_YET, "its cost at full share is not known", True
            return _cost(gate, evidence.cost[1], evidence.cost[2])
        case _:
            return _latency(gate, evidence, chance)


def _cost(gate: Gate, least: float, most: float) -> tuple[Answer, str, bool]:
    shown = show_share(round(least, 3))
    shown = shown if round(least, 3) == round(most, 3) else f"{shown} to {show_share(round(most, 3))}"
    text = f"{shown} of the old target's cost, {show_share(gate.allowed)} allowed"
    if least <= gate.allowed < most:
        return Answer.NOT_YET, f"{text}; a day of requests will tell", True
    return (Answer.GREEN if most <= gate.allowed else Answer.RED), text, False


def _counts(gate: Gate, side: Side) -> tuple[float, float]:
    return (side.errors if gate.measure is Measure.ERRORS else side.cold), side.requests


def _times(gate: Gate, evidence: Evidence) -> tuple[Mapping[int, int], Mapping[int, int]]:
    whole = gate.measure in _LATENCIES
    old, new = evidence.old, evidence.new
    return (old.latency, new.latency) if whole else (old.first_byte, new.first_byte)


def _share(gate: Gate, evidence: Evidence, chance: float) -> tuple[Answer, str, bool]:
    old, new = _counts(gate, evidence.old), _counts(gate, evidence.new)
    if not old[1] or not new[1]:
        return Answer.NOT_YET, f"{old[1]:,} requests on the old side, {new[1]:,} on the new one", True
    before, after = old[0] / old[1], new[0] / new[1]
    text = (
        f"old {before:.3%} of {old[1]:,}, new {after:.3%} of {new[1]:,}: {(after - before) * 100:+.3f} points, "
        f"{gate.allowed * 100:+.4g} allowed"
    )
    return sequential.shares(old, new, gate.allowed, chance), text, False


def _latency(gate: Gate, evidence: Evidence, chance: float) -> tuple[Answer, str, bool]:
    rank = RANKS[gate.measure]
    old, new = _times(gate, evidence)
    if not old or not new:
        return (
            Answer.NOT_YET,
            f"{sum(old.values()):,} timed on the old side, {sum(new.values()):,} on the new one",
            True,
        )
    before, after = quantile(old, rank), quantile(new, rank)
    text = (
        f"old {before:.3g} s of {sum(old.values()):,}, new {after:.3g} s of {sum(new.values()):,}: "
        f"{after / before - 1:+.1%}, +{show_share(gate.allowed)} allowed"
    )
    return sequential.quantiles(old, new, rank, gate.allowed, chance), text, False
