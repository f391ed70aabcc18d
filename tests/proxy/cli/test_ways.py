"""How a route is printed."""

from __future__ import annotations

from policies.load import load_policy
from proxy.cli.ways import way
from tests.proxy.parts import POLICY


def test_fallbacks_follow_the_first_choice() -> None:
    """One line with kinds; no share where there is one target."""
    routes = load_policy(POLICY, {}, "policy.yaml").routes
    assert way(routes["chat", None]) == "-> first (vllm), else second (vllm)"
