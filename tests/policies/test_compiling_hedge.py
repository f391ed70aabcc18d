"""What a route says of hedges."""

from __future__ import annotations

import pytest

from policies.compiling_hedge import FLOOR
from policies.table import HedgeRule
from tests.policies.written import load, one_route, policy, report

ENGINE = 'e: {kind: vllm, urls: ["http://e-1", "http://e-2"], model: m}'
TARGETS = f"a: {{}}\nb: {{}}\n{ENGINE}"
SAFE = "serve_from: a, fallback: [b], idempotent: true"


def test_hedges_are_off_unless_written() -> None:
    """A share of 2 % goes without saying, the time does not."""
    assert one_route("serve_from: a").hedge is None
    assert one_route("serve_from: a\nfallback: [b]\nidempotent: true\nhedge: {after: 500ms}").hedge == HedgeRule(0.5)


def test_a_percentile_has_a_time_until_it_is_known_and_a_floor() -> None:
    """The floor goes without saying, the time does not."""
    learnt = "serve_from: a\nfallback: [b]\nidempotent: true\nhedge: {after: p95, until_known: 500ms, budget: 5%"
    assert one_route(f"{learnt}}}").hedge == HedgeRule(0.5, 0.05, 95, FLOOR)
    assert one_route(f"{learnt}, at_least: 1ms}}").hedge == HedgeRule(0.5, 0.05, 95, 0.001)


def test_replicas_are_a_place_to_go_and_components_inherit() -> None:
    """A target with two addresses needs no fallback; a component takes hedges from its endpoint."""
    text = "x: {idempotent: true, hedge: {after: 1s, budget: 5%}, components: {y: {serve_from: e}}}"
    assert load(policy(text, TARGETS)).routes["x", "y"].hedge == HedgeRule(1.0, 0.05)


@pytest.mark.parametrize(
    ("block", "where", "remedy"),
    [
        ("serve_from: a, fallback: [b], hedge: {after: 1s}", "", "add `idempotent: true`"),
        ("serve_from: a, idempotent: true, hedge: {after: 1s}", "", "name a fallback"),
        (f"{SAFE}, retry: {{attempts: 1}}, hedge: {{after: 1s}}", "", "retry.attempts 2 or more"),
        (f"{SAFE}, timeout: 1s, hedge: {{after: 1s}}", ".after", "a longer timeout"),
        (f"{SAFE}, hedge: {{after: 1s, budget: 0%}}", ".budget", "delete hedge"),
        (f"{SAFE}, hedge: {{after: p95}}", ".after", "give until_known"),
        (f"{SAFE}, hedge: {{after: p9}}", ".after", "or p95, from p50 to p99"),
        (f"{SAFE}, timeout: 1s, hedge: {{after: p95, until_known: 1s}}", ".until_known", "a longer timeout"),
        (f"{SAFE}, timeout: 1s, hedge: {{after: p95, until_known: 1ms, at_least: 1s}}", ".at_least", "give less"),
        (f"{SAFE}, hedge: {{after: 1s, at_least: 1ms}}", ".at_least", "write after: p95"),
        (f"{SAFE}, hedge: {{after: 1s, until_known: 1s}}", ".until_known", "write after: p95"),
    ],
)
def test_hedges_that_are_unsafe_or_never_sent_are_refused(block: str, where: str, remedy: str) -> None:
    """Each with what to write instead."""
    found = report(policy(f"x: {{{block}}}", TARGETS))
    assert list(found) == [f"endpoints.x.hedge{where}"]
    assert remedy in found[f"endpoints.x.hedge{where}"]
