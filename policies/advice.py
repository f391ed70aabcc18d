"""What a valid policy asks for that cannot work, or will not work as the person who wrote it may think.

Every finding is a warning: the policy serves. What a kind of hosting loses against SageMaker is said once a target,
with the endpoints it concerns. Numbers are AWS's, each with its source.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from urllib.parse import urlsplit

from .addresses import AWS_REGIONS, imported_model, is_aws
from .advice_migrate import advise_migrations
from .errors import WARNING, Problem
from .findings import nearest
from .quantities import show_seconds, show_share
from .table import BedrockSpec, EndpointSpec, Route, RouteTable, Target, VllmSpec
from .targets import SAGEMAKER_BODY_LIMIT
from .temperature import RESTORE

SAGEMAKER_TIMEOUT = 60.0
SAGEMAKER_STREAM_TIMEOUT = 480.0
"""Seconds a container may take to answer, and a stream may last (SageMaker developer guide, hosting FAQs)."""
BEDROCK_REGIONS = frozenset({"us-east-1", "us-east-2", "us-west-2", "eu-central-1"})
"""Where custom model import exists (Bedrock user guide, "Use Custom model import")."""
BEDROCK_MODELS = 3
"""Imported models in an account and region, by default (Bedrock quotas, L-45B04988; can be raised)."""
OFTEN = 10.0
"""Seconds between two warm-ups of a copy below which somebody has mistaken the unit: idle limits are minutes."""

LOST = {
    "bedrock": "sessions (NEW_SESSION), TargetModel, TargetVariant, TargetContainerHostname, EnableExplanations, "
    "PrefixAwareId, CustomAttributes, asynchronous and bidirectional invocations",
    "vllm": "TargetModel, TargetVariant, TargetContainerHostname, EnableExplanations, PrefixAwareId, CustomAttributes, "
    "sessions (NEW_SESSION), asynchronous and bidirectional invocations",
}
"""SageMaker's features that a kind of target has nothing for (botocore 1.44.5, sagemaker-runtime model)."""


def advise(table: RouteTable) -> tuple[Problem, ...]:
    """Every warning, in the order of the file."""
    found = [*_of_targets(table), *_of_quotas(table), *advise_migrations(table)]
    for route in table.routes.values():
        found += [*_of_weights(route), *_of_spares(route), *_of_times(route), *_of_cold(route), *_of_holds(route)]
        found += [*_of_bodies(route), *_of_streams(route), *_of_retries(route), *_of_hedges(route)]
        found += [*_of_sessions(route), *_of_warmth(route)]
    return tuple(sorted(set(found), key=lambda problem: (problem.line, problem.path, problem.message)))


def _of_targets(table: RouteTable) -> Iterator[Problem]:
    users: dict[str, list[Route]] = defaultdict(list)
    for route in table.routes.values():
        for target in route.targets:
            users[target.name].append(route)
    for target in table.targets.values():
        region = target.region
        if region is not None and region not in AWS_REGIONS and _is_sagemaker(target):
            close = nearest(region, tuple(sorted(AWS_REGIONS)))
            yield _at_target(target, ".region", f"{region} is no region of AWS that this version knows{close}")
        if isinstance(target.spec, VllmSpec):
            for url in (url for url in target.spec.urls if "v1" in urlsplit(url).path.split("/")):
                asked = f"{url.rstrip('/')}/invocations"
                told = f"{url} is written as OpenAI's clients have it, and would be asked at {asked}; leave /v1 out"
                yield _at_target(target, ".urls", told)
        if target.name not in users:
            yield _at_target(target, "", "no endpoint uses it; delete it, or name it in a route")
        elif target.kind in LOST:
            routes = ", ".join(route.key for route in users[target.name])
            yield _at_target(
                target,
                ".kind",
                f"a {target.kind} target has nothing for {LOST[target.kind]}; clients of {routes} that use one of "
                "these need a target of kind endpoint",
            )


def _of_quotas(table: RouteTable) -> Iterator[Problem]:
    models: dict[tuple[str, str], dict[str, Target]] = defaultdict(dict)
    for target in table.targets.values():
        arn = target.spec.model if isinstance(target.spec, BedrockSpec) else ""
        place = imported_model(arn)
        if place is None:
            continue
        models[place.account, place.region].setdefault(arn, target)
        if place.region not in BEDROCK_REGIONS:
            known = ", ".join(sorted(BEDROCK_REGIONS))
            yield _at_target(target, ".model", f"custom model import was last known in {known}, not in {place.region}")
    for (account, region), imported in models.items():
        if len(imported) > BEDROCK_MODELS:
            yield _at_target(
                list(imported.values())[BEDROCK_MODELS],
                ".model",
                f"is one of {len(imported)} imported models of account {account} in {region}; Bedrock's default quota "
                f"is {BEDROCK_MODELS}: ask for an increase of L-45B04988",
            )


def _of_weights(route: Route) -> Iterator[Problem]:
    reserves = {target.name for target in route.fallback}
    for weighted in route.serve:
        name = weighted.target.name
        if weighted.weight == 0:
            tail = "it is only a fallback" if name in reserves else "it takes no traffic"
            yield Problem(f"{route.rule}.{name}", route.source_line, f"has weight 0: {tail}", WARNING)


def _of_spares(route: Route) -> Iterator[Problem]:
    """While a route migrates its old target may well be the fallback: of the new one."""
    first = [weighted.target.name for weighted in route.serve]
    if route.candidate is None and len(first) == 1 and first[0] in {target.name for target in route.fallback}:
        yield _at_route(route, f"{first[0]} is its own fallback, and is not tried as one; name another target")


def _of_times(route: Route) -> Iterator[Problem]:
    capped = [target.name for target in route.targets if _is_sagemaker(target)]
    for key, value, most in (
        ("timeout", route.timeout, SAGEMAKER_TIMEOUT),
        ("stream_timeout", route.stream_timeout, SAGEMAKER_STREAM_TIMEOUT),
    ):
        if value > most and capped:
            yield _at_route(
                route,
                f"{key} is {show_seconds(value)}, but SageMaker ends an invocation of {', '.join(capped)} after "
                f"{show_seconds(most)}",
            )


def _of_cold(route: Route) -> Iterator[Problem]:
    for weighted in route.admitted:
        target = weighted.target
        ready = [spare for spare in route.reserves if spare.name != target.name and _in_time(spare, route)]
        if target.restore is None or _in_time(target, route):
            continue
        told = (
            f"{target.name} takes up to {show_seconds(target.restore[1])} to come back from zero, the deadline is "
            f"{show_seconds(route.timeout)} and "
        )
        if not ready:
            tail = "no fallback is ready by then: clients will see errors while it is cold; give the route a fallback"
            yield _at_route(route, told + tail)
        elif route.when_cold == "hold":
            yield _at_route(route, told + "requests are held: those that come early will see errors; spill would serve")


def _of_holds(route: Route) -> Iterator[Problem]:
    """Targets that requests may be held for although nobody has said how long they take to come back.

    Where the route's other targets declare it, one that does not is taken not to go cold, unless it is an import.
    """
    if route.when_cold != "hold" or route.timeout > RESTORE[0]:
        return
    admitted = [weighted.target for weighted in route.admitted]
    some = any(target.restore is not None for target in admitted)
    silent = [one.name for one in admitted if one.restore is None and (one.kind == "bedrock" or not some)]
    if silent:
        yield _at_route(
            route,
            f"when_cold is hold, but {', '.join(silent)} declares no `cold: {{restore: ...}}`: until a quicker one was "
            f"seen, a restore is taken to last {show_seconds(RESTORE[0])} or longer, and who meets it cold with less "
            f"time than that left (the deadline is {show_seconds(route.timeout)}) is not held and fails; declare it",
        )


def _in_time(target: Target, route: Route) -> bool:
    return target.restore is None or target.restore[1] <= route.timeout


def _of_bodies(route: Route) -> Iterator[Problem]:
    for target in route.targets:
        if target.body_limit >= SAGEMAKER_BODY_LIMIT:
            continue
        roomy = [other.name for other in route.targets if other.body_limit > target.body_limit]
        where = f"larger ones go to {', '.join(roomy)}" if roomy else "larger ones are refused with 413"
        yield _at_route(
            route,
            f"{target.name} takes bodies of up to {target.body_limit:,} bytes, SageMaker's endpoints "
            f"{SAGEMAKER_BODY_LIMIT:,}; {where}",
        )


def _of_streams(route: Route) -> Iterator[Problem]:
    for target in route.targets:
        if not target.streams:
            yield _at_route(
                route,
                f"{target.name} does not stream, and clients of {route.key} may call "
                "InvokeEndpointWithResponseStream: they would get the answer in one piece, or an error",
            )


def _of_retries(route: Route) -> Iterator[Problem]:
    for weighted in route.admitted:
        order = [weighted.target.name, *(spare.name for spare in route.reserves if spare.name != weighted.target.name)]
        unreached = order[route.retry.attempts :]
        if unreached:
            yield _at_route(
                route,
                f"retry.attempts is {route.retry.attempts}: of {', '.join(order)}, in this order, "
                f"{' and '.join(unreached)} {'is' if len(unreached) == 1 else 'are'} never tried; raise it to "
                f"{len(order)} or shorten the fallback",
            )


def _of_hedges(route: Route) -> Iterator[Problem]:
    rule = route.hedge
    if rule is None or rule.percentile is None:
        return
    slow = (100 - rule.percentile) / 100
    if rule.budget < slow:
        yield _at_route(
            route,
            f"hedge.after is p{rule.percentile}, so that {show_share(slow)} of the requests are slow, and its budget "
            f"pays for {show_share(rule.budget)}: the rest wait; give `budget: {show_share(slow)}`, or a higher "
            "percentile",
        )


def _of_sessions(route: Route) -> Iterator[Problem]:
    if route.sticky.by != "session":
        return
    stateless = [target.name for target in route.targets if target.kind != "endpoint"]
    if stateless:
        keep = "keeps" if len(stateless) == 1 else "keep"
        yield _at_route(route, f"sticky_by is session, but {', '.join(stateless)} {keep} no state of a session")


def _of_warmth(route: Route) -> Iterator[Problem]:
    base = f"endpoints.{route.key.replace('/', '.components.')}.warm"
    for one in route.warm:
        limit = one.target.idle_limit
        path = f"{base}.{one.target.name}"
        if limit is not None and one.every >= limit:
            told = (
                f"every is {show_seconds(one.every)}, and {one.target.name} goes cold after {show_seconds(limit)} "
                "without use; give less"
            )
            yield Problem(f"{path}.every", route.source_line, told, WARNING)
        if one.every < OFTEN:
            told = f"every is {show_seconds(one.every)}: that many warm-ups are a load of their own; 14m is usual"
            yield Problem(f"{path}.every", route.source_line, told, WARNING)
        if one.target.restore is None and one.target.kind == "bedrock":
            told = (
                f"{one.target.name} declares no `cold: {{restore: ...}}`, so that warm-ups wait up to 5m for it and "
                "take an answer after 10s for one that met it cold"
            )
            yield Problem(path, route.source_line, told, WARNING)


def _is_sagemaker(target: Target) -> bool:
    return isinstance(target.spec, EndpointSpec) and (target.spec.url is None or is_aws(target.spec.url))


def _at_target(target: Target, key: str, message: str) -> Problem:
    return Problem(f"targets.{target.name}{key}", target.source_line, message, WARNING)


def _at_route(route: Route, message: str) -> Problem:
    path, _, _ = route.rule.rpartition(".")
    return Problem(path, route.source_line, message, WARNING)
