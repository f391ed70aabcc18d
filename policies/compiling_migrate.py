"""A `migrate` block compiled: its steps, gates and names checked, and migrations of one group put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from . import schema_migrate as schema
from .errors import Path
from .findings import Findings, Names
from .migrating import Approvals, Gate, Keep, Measure, Member, Migration, Step
from .quantities import show_share
from .redaction import Keeping, Redaction
from .table import BedrockSpec, EndpointSpec, Target, Weighted

FINEST = 0.03
"""Least relative difference of latencies that a gate may allow: two buckets of 1 % lie within it, and a third."""
RELATIVE = frozenset({Measure.LATENCY_P95, Measure.LATENCY_P99, Measure.FIRST_BYTE_P95, Measure.FIRST_BYTE_P99})
MEASURES = {measure.value: measure for measure in Measure}
_SHARED = {
    "steps": "steps",
    "false_alarms": "false_alarms",
    "to_start": "on_breach",
    "freeze": "freeze",
    "approvals": "approvals",
}
"""What the members of a group have to say alike: fields of a Migration, with their keys."""


@dataclass(frozen=True, slots=True)
class Moving:
    """One route's migration before groups are put together."""

    migration: Migration
    group: str | None
    path: Path


def compile_migrate(
    written: schema.Migrate, path: Path, key: str, serve: Sequence[Weighted], owner: str | None, names: Names
) -> Moving | None:
    """The migration of the route `key`, which `serve` serves; None when it cannot be made."""
    findings = names.findings
    new = names.find(written.to, (*path, "to"))
    steps = tuple(_steps(written.steps, path, owner, findings))
    for problem in _difference_problems(written):
        findings.add((*path, "keep_differences"), problem)
    gates = _gates(written, path, findings)
    if len(serve) != 1:
        if serve:
            told = "stands beside split; a migration moves between exactly two targets: give serve_from instead"
            findings.add(path, told)
        return None
    old = serve[0].target
    if new is old:
        findings.add((*path, "to"), f"is `{old.name}`, which serves it already; name the target that it moves to")
    if new is None or new is old:
        return None
    member = Member(
        key, old.name, new.name, gates, _keep(written, old, path, findings), _release(old, new), _differences(written)
    )
    breach = written.on_breach or {}
    back = {measure: breach.get(measure.value, breach.get("otherwise", "last-good")) for measure in Measure}
    migration = Migration(
        written.group or key,
        (member,),
        steps,
        written.false_alarms,
        frozenset(measure for measure, way in back.items() if way == "start"),
        written.freeze,
        _approvals(written, path, findings),
        findings.line(path),
    )
    return Moving(migration, written.group, path)


def grouped(moving: Sequence[Moving], findings: Findings) -> dict[str, Migration]:
    """All migrations by name. What the members of a group do not say alike is noted at the later one."""
    found: dict[str, Moving] = {}
    own = {one.migration.name for one in moving if one.group is None}
    for one in moving:
        name = one.migration.name
        if one.group is not None and name in own:
            findings.add((*one.path, "group"), f"`{name}` is the name of an endpoint that migrates by itself")
            continue
        first = found.get(name)
        if first is None:
            found[name] = one
            continue
        for part, key in _SHARED.items():
            if getattr(first.migration, part) != getattr(one.migration, part):
                other = first.migration.members[0].route
                told = f"differs from that of {other}; a group moves as one, so that its members say it alike"
                findings.add((*one.path, key), told)
        whole = replace(first.migration, members=(*first.migration.members, *one.migration.members))
        found[name] = replace(first, migration=whole)
    return {name: one.migration for name, one in found.items()}


def _steps(written: Sequence[schema.Step], path: Path, owner: str | None, findings: Findings) -> Iterator[Step]:
    share = shadow = 0.0
    for index, step in enumerate(written):
        where, last = (*path, "steps", index), index == len(written) - 1
        for problem in _step_problems(step, share, shadow, owner):
            findings.add(where, problem)
        if last:
            for problem in _last_problems(step):
                findings.add(where, problem)
        elif step.hold is None and step.approve is None and step.share != 1.0:
            findings.add(where, "does not say when it is over: give `hold: 24h`, or `approve: owner`")
        share, shadow = step.share or share, step.shadow or shadow
        yield Step(step.share or 0.0, step.shadow or 0.0, step.hold or 0.0, step.approve, step.budget)


def _step_problems(step: schema.Step, share: float, shadow: float, owner: str | None) -> Iterator[str]:
    """What is wrong with a step that follows one with such a share and shadow."""
    if step.share is None and step.shadow is None:
        yield "says neither `shadow: 5%` nor `share: 5%`"
    if step.share is not None and step.share <= share:
        yield f"has a share of {show_share(step.share)} after {show_share(share)}; steps grow"
    if step.share is None and share:
        yield f"has no share after one of {show_share(share)}, which takes the traffic back; shadow steps come first"
    if step.share is None and step.shadow is not None and step.shadow <= shadow:
        yield f"has a shadow of {show_share(step.shadow)} after {show_share(shadow)}; steps grow"
    if step.budget is not None and step.shadow is None:
        yield "has a budget without `shadow`; it is for copies"
    if step.approve == "owner" and owner is None:
        yield "waits for the owner, and the endpoint has none; add `owner`, or name somebody"


def _last_problems(step: schema.Step) -> Iterator[str]:
    if step.share != 1.0:
        yield "is the last one, and is not `share: 100%`; a migration that is not to end there is a split"
    if step.shadow is not None:
        yield "has a shadow at the end, where the old target serves nothing that could be copied; leave it out"
    if step.approve is not None:
        yield "has nothing after it to agree to; ask for it in the step before"


def _gates(written: schema.Migrate, path: Path, findings: Findings) -> tuple[Gate, ...]:
    bounds = dict(written.gates) if written.gates is not None else {}
    gates = tuple(Gate(MEASURES[key], bound) for key, bound in bounds.items() if bound is not None)
    for gate in gates:
        if gate.measure in RELATIVE and gate.allowed < FINEST:
            fine = (
                f"allows {show_share(gate.allowed)}; times are counted in steps of 1%, so that {show_share(FINEST)} is "
            )
            findings.add((*path, "gates", gate.measure.value), f"{fine}the least that can be told from nothing")
    named = {gate.measure.value for gate in gates}
    if Measure.AGREEMENT.value in named and not any(step.shadow for step in written.steps):
        told = "is judged by copies, and no step has a `shadow`; add a step such as {shadow: 5%, hold: 24h}"
        findings.add((*path, "gates", "agreement"), told)
    for key in written.on_breach or {}:
        if key != "otherwise" and key not in named:
            findings.add((*path, "on_breach", key), "names a gate that this migration does not have")
    return gates


def _keep(written: schema.Migrate, old: Target, path: Path, findings: Findings) -> Keep:
    for name, keep in (written.keep or {}).items():
        if name == old.name:
            return Keep(keep.can_take, keep.until, keep.unknown == "trust")
        told = f"keeps `{name}`, and it is `{old.name}` that the traffic would go back to"
        findings.add((*path, "keep", name), told)
    return Keep()


def _approvals(written: schema.Migrate, path: Path, findings: Findings) -> Approvals:
    block = written.approvals
    if block is None:
        return Approvals()
    if block.by is None and not block.four_eyes:
        findings.add((*path, "approvals"), "says nothing; give `by: [names]`, or `four_eyes: true`")
    if all(step.approve is None for step in written.steps):
        told = "says who may approve, and no step asks for it; add `approve: owner` to one"
        findings.add((*path, "approvals"), told)
    return Approvals(tuple(block.by or ()), block.four_eyes)


def _difference_problems(written: schema.Migrate) -> Iterator[str]:
    block = written.keep_differences
    if block is None:
        return
    if block.redact == schema.Redact():
        yield "has a `redact` without a rule; give `keys`, `patterns` or `mask: true`, or say `redact: nothing`"
    if not any(step.shadow for step in written.steps):
        yield "keeps differences of copies, and no step has a `shadow`; add one, or leave this out"


def _differences(written: schema.Migrate) -> Keeping | None:
    block = written.keep_differences
    if block is None:
        return None
    rule = schema.Redact() if block.redact == "nothing" else block.redact
    keys = frozenset(key.lower() for key in rule.keys or ())
    return Keeping(block.folder, Redaction(keys, tuple(rule.patterns or ()), rule.mask), block.most, block.below)


def _release(*targets: Target) -> str:
    """What the targets' names stand for: a change of it makes another migration, one of an address or a limit not."""
    return " -> ".join(_model(target) for target in targets)


def _model(target: Target) -> str:
    match target.spec:
        case BedrockSpec(model=arn):
            return arn
        case EndpointSpec(endpoint=endpoint, component=component):
            return f"{target.region or ''} {endpoint}/{component or ''}"
        case spec:
            return f"{spec.model} {spec.adapter or ''}"
