"""From the schema's models to the compiled table: names resolved, defaults filled in, boundaries checked.

A part that cannot be compiled is a problem and is left out, and the rest is looked at all the same, so that one report
has everything. The table is worth using only when there are no problems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import schema
from .compiling_cold import check_cold, when_cold
from .compiling_hedge import check_hedge, hedge
from .compiling_migrate import Moving, compile_migrate, grouped
from .dialects import impossible
from .errors import Path, Problem, dotted
from .findings import Findings, Names
from .quotas import Quota, Rate
from .table import (
    Boundary,
    Expectation,
    HandlerSpec,
    Isolation,
    RetryRule,
    Route,
    RouteTable,
    Sticky,
    Target,
    TranslateRule,
    Warmup,
    Weighted,
)
from .targets import ISOLATION, compile_target

INHERITED = (
    "owner", "shed", "wave", "clients_speak", "sticky_by", "timeout", "stream_timeout", "retry", "idempotent",
    "hedge", "handler", "translate", "when_cold", "cold_status",
)  # fmt: skip
"""What a component takes from its endpoint unless it says its own; `data` it takes and may narrow."""

Placed = tuple[Target, Path]
"""A target with the place that refers to it."""


def compile_policy(
    policy: schema.Policy,
    digest: str,
    line: Callable[[Path], int],
    declared: frozenset[str],
    doubtful: frozenset[str] = frozenset(),
    read_file: Callable[[str], str] | None = None,
) -> tuple[RouteTable, tuple[Problem, ...]]:
    """The table of `policy`, and what is wrong with it. `declared` and `doubtful` are names of targets: see `Names`.

    `read_file` gives the text of a file that the policy names, by the path as written, or raises OSError or ValueError;
    without it naming one is a problem.
    """
    findings = Findings(line, read_file)
    for key, count in (("targets", len(policy.targets)), ("endpoints", len(policy.endpoints))):
        if count == 0:
            findings.add((key,), "is empty; a policy needs at least one target and one endpoint")
    targets = {name: compile_target(name, written, findings) for name, written in policy.targets.items()}
    names = Names(targets, declared, doubtful, findings, _quotas(policy, findings))
    routes: dict[tuple[str, str | None], Route] = {}
    moving: list[Moving] = []
    for name, endpoint in policy.endpoints.items():
        for component, block, path in _blocks(name, endpoint, findings):
            boundary = _boundary(endpoint.data, block.data, path, findings)
            whole = _inherit(endpoint, block)
            route = _route((name, component), whole, boundary, policy.defaults, path, names)
            if route is not None:
                routes[name, component] = route
                check_cold(route, whole, path, findings)
                check_hedge(route, whole, path, findings)
            if route is not None and block.migrate is not None:
                own = compile_migrate(block.migrate, (*path, "migrate"), route.key, route.serve, route.owner, names)
                moving += [own] if own is not None else []
    _once(routes, findings)
    migrations = grouped(moving, findings)
    return RouteTable(policy.account, routes, targets, digest, migrations=migrations), tuple(findings.problems)


def _quotas(policy: schema.Policy, findings: Findings) -> dict[str, Quota]:
    """Quotas by owner. One that no endpoint names would bind nobody."""
    named = {
        block.owner
        for endpoint in policy.endpoints.values()
        for block in (endpoint, *(endpoint.components or {}).values())
    }
    quotas: dict[str, Quota] = {}
    for name, written in (policy.owners or {}).items():
        if name not in named:
            findings.add(("owners", name), "is the owner of no endpoint; name it in one, or delete it")
        requests, tokens = (Rate(*rate) if rate else None for rate in (written.requests, written.tokens))
        quotas[name] = Quota(name, requests, tokens)
    return quotas


def _blocks(
    name: str, endpoint: schema.Endpoint, findings: Findings
) -> list[tuple[str | None, schema.Component, Path]]:
    """The blocks of an endpoint that are routes: itself, or each of its components."""
    path: Path = ("endpoints", name)
    if endpoint.components is None:
        return [(None, endpoint, path)]
    for key in ("serve_from", "split", "fallback", "last_resort", "warm", "migrate", "expect"):
        if getattr(endpoint, key) is not None:
            findings.add((*path, key), "stands beside components; write it in each component that it is meant for")
    return [(component, block, (*path, "components", component)) for component, block in endpoint.components.items()]


def _inherit(endpoint: schema.Endpoint, block: schema.Component) -> schema.Component:
    missing = {key: getattr(endpoint, key) for key in INHERITED if getattr(block, key) is None}
    return block.model_copy(update=missing)


def _route(
    key: tuple[str, str | None],
    block: schema.Component,
    boundary: Boundary,
    defaults: schema.Defaults,
    path: Path,
    names: Names,
) -> Route | None:
    """One route, or None when it has no first choice; what else is wrong with it is only noted."""
    serve, rule = _serve(block, path, names)
    fallback = _fallback(block, path, names)
    speaks = block.clients_speak or "opaque"
    translate = _translate(block.translate, path, names.findings)
    last = names.find(block.last_resort, (*path, "last_resort")) if block.last_resort is not None else None
    other = [(last, (*path, "last_resort"))] if last is not None else []
    candidate = names.targets.get(block.migrate.to) if block.migrate is not None else None
    other += [(candidate, (*path, "migrate", "to"))] if candidate is not None else []
    for target, where in [*((weighted.target, place) for weighted, place in serve), *fallback, *other]:
        if target.name not in names.doubtful:
            _check_use(target, where, (speaks, translate), boundary, names.findings)
    warm = _warm(block, path, boundary, names)
    first = tuple(weighted for weighted, _ in serve)
    sticky = _sticky(block.sticky_by)
    expect = _expectations(block, (first, sticky), path, names)
    if not first:
        return None
    return Route(
        endpoint=key[0],
        component=key[1],
        serve=first,
        fallback=tuple(target for target, _ in fallback),
        last_resort=last,
        candidate=candidate,
        clients_speak=speaks,
        translate=translate,
        boundary=boundary,
        sticky=sticky,
        timeout=block.timeout or defaults.timeout,
        stream_timeout=block.stream_timeout or defaults.stream_timeout,
        retry=_retry(block.retry or defaults.retry, len(fallback)),
        idempotent=bool(block.idempotent),
        hedge=hedge(block.hedge),
        owner=block.owner,
        quota=names.quotas.get(block.owner or ""),
        wave=block.wave,
        shed=block.shed or "normal",
        source_line=names.findings.line(rule),
        rule=dotted(rule),
        expect=expect,
        handler=_handler(block.handler, path, names.findings),
        warm=warm,
        when_cold=when_cold(block.when_cold, fallback=bool(fallback) or block.migrate is not None),
        cold_status=block.cold_status,
    )


def _serve(block: schema.Component, path: Path, names: Names) -> tuple[list[tuple[Weighted, Path]], Path]:
    """The first choices, each with its place, and the rule they come from."""
    findings = names.findings
    if block.serve_from is not None and block.split is not None:
        findings.add((*path, "split"), "stands beside serve_from; keep the one that is meant")
    elif block.serve_from is None and block.split is None:
        findings.add(path, "does not say where it is served: give serve_from, split or (for an endpoint) components")
    if block.serve_from is not None:
        rule = (*path, "serve_from")
        target = names.find(block.serve_from, rule)
        return ([(Weighted(target, 1.0), rule)] if target is not None else []), rule
    rule = (*path, "split")
    split = block.split or {}
    if split and not any(split.values()):
        findings.add(rule, "has only weights of 0, so that nothing would be served; give one target a weight")
    serve: list[tuple[Weighted, Path]] = []
    for name, weight in split.items():
        target = names.find(name, (*rule, name))
        serve.extend([(Weighted(target, float(weight)), (*rule, name))] if target is not None else [])
    return serve, rule


def _fallback(block: schema.Component, path: Path, names: Names) -> list[Placed]:
    found: list[Placed] = []
    listed = block.fallback or []
    for index, name in enumerate(listed):
        where = (*path, "fallback", index)
        target = names.find(name, where)
        if name in listed[:index]:
            names.findings.add(where, "is listed twice; a plan tries a target once")
        elif target is not None:
            found.append((target, where))
    return found


def _warm(block: schema.Component, path: Path, boundary: Boundary, names: Names) -> tuple[Warmup, ...]:
    found: list[Warmup] = []
    for name, written in (block.warm or {}).items():
        where = (*path, "warm", name)
        target = names.find(name, where)
        if target is None or name in names.doubtful:
            continue
        refusal = boundary.refusal(target)
        if refusal is not None:
            names.findings.add(
                where, f"`{name}` lies outside the data boundary, which binds warm-ups too: its {refusal}"
            )
        if target.speaks == "opaque":
            silent = "speaks opaque, so that there is no cheapest request to keep it warm with; say what it `speaks`"
            names.findings.add(where, f"`{name}` {silent}")
        found.append(Warmup(target, written.every, written.jitter, written.copies, written.hours))
    return tuple(found)


def _once(routes: Mapping[tuple[str, str | None], Route], findings: Findings) -> None:
    """Two schedules of one target would be one another's traffic, and the copies of neither would hold."""
    seen: dict[str, str] = {}
    for (endpoint, component), route in routes.items():
        path: Path = ("endpoints", endpoint, *(("components", component) if component else ()))
        for one in route.warm:
            first = seen.setdefault(one.target.name, route.key)
            if first != route.key:
                told = f"is kept warm by {first} already; a target has one schedule: keep the one that is meant"
                findings.add((*path, "warm", one.target.name), told)


def _retry(written: schema.Retry | None, fallbacks: int) -> RetryRule:
    return RetryRule(written.attempts, written.budget) if written else RetryRule(max(2, 1 + fallbacks))


def _translate(written: schema.Translate | None, path: Path, findings: Findings) -> TranslateRule:
    if written is None:
        return TranslateRule()
    template: str | None = None
    if written.chat_template is not None:
        template = findings.file(written.chat_template, (*path, "translate", "chat_template"))
    return TranslateRule(written.prompt_as, template, frozenset(written.drop or ()))


def _check_use(
    target: Target, path: Path, clients: tuple[str, TranslateRule], boundary: Boundary, findings: Findings
) -> None:
    """What forbids a route to use a target at all."""
    refusal = boundary.refusal(target)
    if refusal is not None:
        findings.add(path, f"`{target.name}` lies outside the data boundary: its {refusal}")
    speaks, translate = clients
    reason = impossible(speaks, target.speaks, translate)
    if reason is not None:
        findings.add(path, f"clients speak {speaks} and `{target.name}` speaks {target.speaks}: {reason}")


def _boundary(outer: schema.Data | None, inner: schema.Data | None, path: Path, findings: Findings) -> Boundary:
    """The boundary of a route. A component may narrow its endpoint's and never widen it."""
    wide, narrow = _as_boundary(outer), _as_boundary(inner)
    if inner is None or inner is outer:
        return wide
    where = (*path, "data")
    if inner.class_ is not None and wide.data_class not in (None, inner.class_):
        findings.add(
            (*where, "class"), f"differs from the endpoint's ({wide.data_class}); give each component its own class"
        )
    if inner.isolation is not None and narrow.isolation < wide.isolation:
        findings.add((*where, "isolation"), "is weaker than the endpoint's; a component may only narrow the boundary")
    if inner.regions is not None and wide.regions and not narrow.regions <= wide.regions:
        findings.add(
            (*where, "regions"), "has regions that the endpoint's does not; a component may only narrow the boundary"
        )
    return Boundary(
        data_class=narrow.data_class or wide.data_class,
        isolation=max(narrow.isolation, wide.isolation),
        regions=narrow.regions or wide.regions,
    )


def _as_boundary(data: schema.Data | None) -> Boundary:
    if data is None:
        return Boundary()
    isolation = ISOLATION[data.isolation] if data.isolation else Isolation.SHARED
    return Boundary(data.class_, isolation, frozenset(data.regions or ()))


def _handler(written: schema.Handler | None, path: Path, findings: Findings) -> HandlerSpec | None:
    if written is None:
        return None
    lost = written.fail_after
    if written.run == "thread" and lost > written.workers:
        if "fail_after" in written.model_fields_set:
            few = f"is {lost}, and there are {written.workers} threads to lose; give at most {written.workers}"
            findings.add((*path, "handler", "fail_after"), few)
        lost = written.workers
    line = findings.line((*path, "handler"))
    return HandlerSpec(**{**dict(written), "fail_after": lost}, source_line=line)


def _sticky(written: str | None) -> Sticky:
    by, _, rest = (written or "none").partition(":")
    return Sticky(by, prefix=int(rest)) if by == "prefix" else Sticky(by, rest.lower() or None)


def _expectations(
    block: schema.Component, route: tuple[tuple[Weighted, ...], Sticky], path: Path, names: Names
) -> tuple[Expectation, ...]:
    first, sticky = route
    drawn = len([one for one in first if one.weight > 0]) > 1
    cases: list[Expectation] = []
    for index, case in enumerate(block.expect or ()):
        where = (*path, "expect", index)
        headers = {name.lower(): value for name, value in (case.header or {}).items()}
        keys = {"session": case.session, "inference-id": case.inference_id, "header": headers.get(sticky.header or "")}
        if drawn and keys.get(sticky.by) is None:
            names.findings.add(where, f"cannot be told: {_no_key(sticky)}")
        names.find(case.goes_to, (*where, "goes_to"))
        line = names.findings.line(where)
        cases.append(Expectation(case.goes_to, case.session, case.inference_id, tuple(headers.items()), line))
    return tuple(cases)


def _no_key(sticky: Sticky) -> str:
    if sticky.by == "none":
        return "the target of a split is drawn at random without sticky_by; give the route one"
    if sticky.by == "prefix":
        return "the route is sticky by a prefix of the body, which no case has; leave the case out"
    wanted = f"header {{{sticky.header}: ...}}" if sticky.by == "header" else sticky.by.replace("-", "_")
    return f"the route is sticky by {sticky.by}, which this case does not give; add {wanted}"
