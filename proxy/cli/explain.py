"""`pointsman explain FILE --endpoint NAME`: where a request would go, why, and what becomes of its body on the way.

It makes the plan that the proxy would make of the same request while every target is idle. A choice that the proxy
draws at random (a split without a sticky key) is shown as one possible draw, and said to be one.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from policies.choose import Explanation, explain, sticky_key
from policies.errors import PolicyError
from policies.hedging import enough
from policies.quantities import show_seconds, show_share
from policies.table import Miss, Route, RouteTable

from ..settings import environment
from . import EXIT_FINDINGS, EXIT_OK, StartError, carrying, migrates
from .policy_file import add_arguments, print_refusal, read_policy


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` this command's arguments."""
    add_arguments(parser)
    parser.add_argument("--endpoint", metavar="NAME", required=True, help="EndpointName of the request")
    parser.add_argument("--component", metavar="NAME", help="InferenceComponentName of the request")
    parser.add_argument("--session", metavar="ID", help="SessionId of the request")
    parser.add_argument("--inference-id", metavar="ID", help="InferenceId of the request")
    parser.add_argument("--header", metavar="K=V", action="append", default=[], help="a header field of the request")
    parser.add_argument("--body-size", metavar="BYTES", type=int, default=0, help="size of the request's body")


def run(arguments: argparse.Namespace) -> int:
    """0: explained; 1: the policy is not usable, or has no such route."""
    headers = dict(_header(text) for text in arguments.header)
    try:
        table = read_policy(arguments.file, environment())
    except PolicyError as error:
        print_refusal(error, arguments.json)
        return EXIT_FINDINGS
    route = table.lookup(arguments.endpoint, arguments.component)
    if isinstance(route, Miss):
        message = miss_message(route, arguments.endpoint, arguments.component, table)
        if arguments.json:
            print(json.dumps({"ok": False, "message": message}, indent=2))
        else:
            print(message, file=sys.stderr)
        return EXIT_FINDINGS
    key = sticky_key(route.sticky, arguments.session, arguments.inference_id, headers.get)
    explanation = explain(route, {}, key, lambda: 0.5, arguments.body_size)
    if arguments.json:
        print(json.dumps(_as_json(explanation, key, table), indent=2))
    else:
        print("\n".join(_lines(explanation, arguments.file, key, table)))
    return EXIT_OK


def miss_message(miss: Miss, endpoint: str, component: str | None, table: RouteTable) -> str:
    """Why a policy has no route for a request, with what it has instead."""
    components = ", ".join(sorted(own for name, own in table.routes if name == endpoint and own is not None))
    match miss:
        case Miss.UNKNOWN_ENDPOINT:
            known = ", ".join(sorted(table.endpoints))
            return f"the policy has no endpoint {endpoint} (case matters); it has: {known}"
        case Miss.COMPONENT_REQUIRED:
            return f"endpoint {endpoint} needs --component; it has: {components}"
        case Miss.COMPONENT_NOT_ALLOWED:
            return f"endpoint {endpoint} has no components: leave --component {component} out"
        case Miss.UNKNOWN_COMPONENT:
            return f"endpoint {endpoint} has no component {component}; it has: {components}"


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        message = f"--header {text} is not NAME=VALUE"
        raise StartError(message)
    return name.lower(), value


def _lines(explanation: Explanation, source: str, key: str | None, table: RouteTable) -> list[str]:
    route = explanation.route
    lines = [
        f"{route.key}: {route.rule} ({source}:{route.source_line}), policy {table.digest}",
        f"  why      {explanation.plan.why}",
        f"  sticky   {_sticky(route)}",
        f"  deadline {route.timeout:g} s, streams {route.stream_timeout:g} s; at most {route.retry.attempts} attempts",
    ]
    if (hedged := _hedge(route)) is not None:
        lines.append(f"  hedge    {hedged}")
    if (cold := _cold(route)) is not None:
        lines.append(f"  cold     {cold}")
    if len(explanation.shares) > 1:
        lines.append("  shares")
        lines += [f"    {share:7.2%}  {target.name}" for target, share in explanation.shares]
    lines.append("  order, one possible draw" if explanation.drawn else "  order")
    for number, attempt in enumerate(explanation.plan.attempts, 1):
        target = attempt.target
        replica = f", replica {attempt.replica}" if target.replicas > 1 else ""
        again = ", again" if number > 1 and target == explanation.plan.attempts[number - 2].target else ""
        lines.append(f"    {number}. {target.name} ({target.kind}{replica}{again})")
    if explanation.ruled_out:
        lines.append("  ruled out")
        lines += [f"    {one.target.name}: {one.reason}" for one in explanation.ruled_out]
    return [*lines, *carrying.lines(route), *migrates.lines(route, key, table)]


def _cold(route: Route) -> str | None:
    """What becomes of a request that meets a cold target; None where no target declares that it may be."""
    names = ", ".join(one.target.name for one in route.admitted if one.target.restore is not None)
    if not names:
        return None
    status = f", told {route.cold_status}" if route.cold_status is not None else ""
    match route.when_cold:
        case "spill" if route.reserves:
            return f"while {names} is cold, spill to {', '.join(spare.name for spare in route.reserves)}"
        case "hold":
            return f"while {names} is cold, hold until it is back or the deadline is near{status}"
        case _:
            return f"while {names} is cold, fail at once{status}"


def _hedge(route: Route) -> str | None:
    """When a request that waits is sent to a second place as well; None where it never is."""
    rule = route.hedge
    if rule is None:
        return None
    silent = show_seconds(rule.after)
    if rule.percentile is not None:
        silent = (
            f"p{rule.percentile} of what its recent answers took, at least {show_seconds(rule.floor)} "
            f"({silent} until {enough(rule.percentile)} are known)"
        )
    return f"a second place is asked after {silent}, for at most {show_share(rule.budget)} of the requests"


def _sticky(route: Route) -> str:
    if route.sticky.by == "prefix":
        return f"by the first {route.sticky.prefix} bytes of the body"
    return f"by header {route.sticky.header}" if route.sticky.header else f"by {route.sticky.by}"


def _as_json(explanation: Explanation, key: str | None, table: RouteTable) -> dict[str, object]:
    route = explanation.route
    return {
        "ok": True,
        "policy": table.digest,
        "endpoint": route.endpoint,
        "component": route.component,
        "rule": route.rule,
        "line": route.source_line,
        "why": explanation.plan.why,
        "drawn": explanation.drawn,
        "shares": {target.name: share for target, share in explanation.shares},
        "order": [{"target": one.target.name, "replica": one.replica} for one in explanation.plan.attempts],
        "attempts": route.retry.attempts,
        "hedge": asdict(route.hedge) if route.hedge is not None else None,
        "when_cold": route.when_cold,
        "cold_status": route.cold_status,
        "ruled_out": [{"target": one.target.name, "reason": one.reason} for one in explanation.ruled_out],
        "dialects": carrying.facts(route),
        "migration": migrates.facts(route, key, table),
    }
