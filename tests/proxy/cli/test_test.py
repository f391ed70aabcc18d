"""`pointsman test`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from policies.load import load_policy
from policies.table import Boundary, Expectation, Route, RouteTable
from proxy.cli import main
from proxy.cli.test import results_of

POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  a: {kind: endpoint, endpoint: a, region: us-east-1}
  b: {kind: endpoint, endpoint: b, region: us-east-1}
endpoints:
  plain:
    serve_from: a
    expect:
      - {goes_to: a}
  user:
    split: {a: 1, b: 1}
    sticky_by: header:x-user
    expect:
      - {header: {X-User: u1}, goes_to: a}
      - {header: {X-User: u1}, goes_to: b}
  packed:
    components:
      one:
        split: {a: 1, b: 0}
        sticky_by: session
        expect:
          - {session: golden-1, inference_id: i, goes_to: a}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def test_every_case_is_told_and_one_failure_is_a_finding(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two cases that contradict each other exactly one fails; components have cases of their own."""
    assert main(["test", str(file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"PASS {file}:10: plain: any request goes to a"
    assert sorted(line[:4] for line in lines[1:3]) == ["FAIL", "PASS"]
    failed = next(line for line in lines if line.startswith("FAIL"))
    assert ": user: x-user=u1 goes to " in failed
    assert ", expected " in failed
    assert lines[3] == f"PASS {file}:23: packed/one: session golden-1, inference id i goes to a"
    assert lines[4] == f"{file}: 3 passed, 1 failed"


def test_all_pass(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy that keeps its word exits 0."""
    wrong = next(result.case.goes_to for result in results_of(load_policy(POLICY, {})) if not result.passed)
    lines = [line for line in POLICY.splitlines(keepends=True) if f"u1}}, goes_to: {wrong}" not in line]
    file.write_text("".join(lines))
    assert main(["test", str(file)]) == 0
    assert capsys.readouterr().out.endswith(": 3 passed, 0 failed\n")


def test_policy_without_cases_says_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to test is not a failure, but it is not silence either."""
    file.write_text(POLICY.partition("    expect:")[0])
    assert main(["test", str(file)]) == 0
    assert "has no `expect:` cases" in capsys.readouterr().out


def test_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads the same facts."""
    assert main(["test", "--json", str(file)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["ok"]
    assert told["cases"][0] == {"route": "plain", "line": 10, "expected": "a", "went_to": "a", "passed": True}


def test_bad_policy(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy that cannot be used is told as `check` would tell it."""
    file.write_text(POLICY.replace("serve_from: a", "serve_from: q"))
    assert main(["test", str(file)]) == 1
    assert "no target is called `q`" in capsys.readouterr().err


def test_request_that_goes_nowhere_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """A case on a route that may use no target cannot pass."""
    route = load_policy(POLICY, {}).routes["plain", None]
    closed = Route(
        "x", None, route.serve, boundary=Boundary(regions=frozenset({"eu-west-1"})), expect=(Expectation("a"),)
    )
    (result,) = results_of(RouteTable("", {("x", None): closed}, {}, ""))
    assert (result.went_to, result.passed) == (None, False)
