"""What `pointsman explain` says of a migration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from policies.choose import first_plan
from policies.load import load_policy
from policies.migrating import Shift
from policies.overlay import laid
from proxy.cli import main

POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  a: {kind: endpoint, endpoint: a, region: us-east-1}
  b: {kind: endpoint, endpoint: b, region: us-east-1}
endpoints:
  x:
    serve_from: a
    sticky_by: session
    migrate: {to: b, group: both, steps: [{shadow: 5%, hold: 24h}, {share: 30%, hold: 24h}, {share: 100%}]}
  y: {serve_from: a}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return str(path)


def test_where_it_goes_and_when(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Target, group, steps, and the share at which this very caller goes over."""
    assert main(["explain", file, "--endpoint", "x", "--session", "golden-1"]) == 0
    *_, head, steps, over = capsys.readouterr().out.splitlines()
    assert head.startswith("  migrates to b with the group both, once it is started")
    assert steps == "    shadow 5%, hold 24h; share 30%, hold 24h; share 100%"
    assert over.startswith("    this caller goes over at a share of ")


@pytest.mark.parametrize("session", ["golden-1", "golden-2", "golden-3"])
def test_caller_goes_over_where_it_is_said(file: str, capsys: pytest.CaptureFixture[str], session: str) -> None:
    """Below that share the proxy sends it to the old target, above it to the new one."""
    assert main(["explain", file, "--endpoint", "x", "--session", session, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["migration"]
    assert (found["name"], found["old"], found["new"]) == ("both", "a", "b")
    assert found["steps"] == [
        {"share": 0.0, "shadow": 0.05},
        {"share": 0.3, "shadow": 0.0},
        {"share": 1.0, "shadow": 0.0},
    ]
    table = load_policy(POLICY, {})

    def side(share: float) -> str:
        route = laid(table, {"x": Shift("both", "1.1", "a", "b", share)}).routes["x", None]
        return first_plan(route, {}, session, float).attempts[0].target.name

    assert [side(found["goes_over_at"] - 0.001), side(found["goes_over_at"] + 0.001)] == ["a", "b"]


def test_without_a_key_or_a_migration(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Who is drawn at each request goes over at no share; who does not migrate is told nothing."""
    assert main(["explain", file, "--endpoint", "x"]) == 0
    out = capsys.readouterr().out
    assert ("migrates to b" in out, "goes over" in out) == (True, False)
    assert main(["explain", file, "--endpoint", "y", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["migration"] is None
