"""Targets that are this proxy."""

from __future__ import annotations

import pytest

from policies.loops import check_loops
from policies.table import RouteTable

from .written import IMPORT, load, policy

OWN = frozenset({("127.0.0.1", 8080)})


def table(url: str) -> RouteTable:
    return load(policy("x: {serve_from: a}", f"a:\n  {{kind: endpoint, endpoint: a, region: us-east-1, url: '{url}'}}"))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "http://localhost:8080/",
        "http://LOCALHOST:8080/gateway",
        "http://[::1]:8080",
        "http://0.0.0.0:8080",
        "https://127.0.0.2:8080",
    ],
)
def test_every_way_to_write_this_machine_is_a_loop(url: str) -> None:
    """A loopback url with the proxy's port comes back to the proxy, whatever name it has."""
    (problem,) = check_loops(table(url), OWN)
    assert problem.path == "targets.a.url"
    assert problem.line == 4
    assert "is this proxy itself" in problem.message
    assert problem.severity == "error"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9080", "http://models.internal:8080", "http://127.0.0.1"])
def test_other_port_or_host_is_no_loop(url: str) -> None:
    """Stand-ins and engines on the same machine are targets like any other."""
    assert check_loops(table(url), OWN) == ()


def test_port_of_the_scheme_counts() -> None:
    """A url without a port means 80 or 443."""
    assert len(check_loops(table("http://router.internal"), frozenset({("Router.internal.", 80)}))) == 1
    assert check_loops(table("https://router.internal"), frozenset({("router.internal", 80)})) == ()


@pytest.mark.parametrize("own", ["0.0.0.0", "[::]", "localhost"])
def test_listening_everywhere_includes_loopback(own: str) -> None:
    """A proxy bound to all interfaces is reached as localhost."""
    assert len(check_loops(table("http://127.0.0.1:8080"), frozenset({(own, 8080)}))) == 1


def test_target_without_url_is_no_loop() -> None:
    """SageMaker itself is never this proxy."""
    assert check_loops(load(policy("x: {serve_from: a}")), OWN) == ()


def test_every_url_of_every_kind_is_looked_at() -> None:
    """A loop hides as well in a Bedrock url and in one replica of an engine."""
    targets = f"""
    imported: {{kind: bedrock, model: "{IMPORT}", speaks: openai-chat, url: "http://localhost:8080"}}
    one: {{kind: vllm, model: m, url: "http://localhost:8080"}}
    many: {{kind: vllm, model: m, urls: ["http://localhost:8000", "http://localhost:8080"]}}
    """
    found = check_loops(load(policy("x: {split: {imported: 1, one: 1, many: 1}}", targets)), OWN)
    assert [problem.path for problem in found] == ["targets.imported.url", "targets.one.url", "targets.many.urls[1]"]
