"""What `pointsman check` says of the steps of a migration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
    migrate:
      to: b
      steps: [{shadow: 5%, hold: 24h}, {share: 5%, hold: 24h}, {share: 50%, approve: ann}, {share: 100%}]
      gates: {errors: at most +0.2 points, cost_at_full_share: at most 80%}
  y: {serve_from: a}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return str(path)


def test_every_step_is_told(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What it is, which gate needs most, on the new side and in all; the last one needs nothing."""
    assert main(["check", file]) == 0
    *_, head, shadow, share, approved, last, assumed = capsys.readouterr().out.splitlines()
    assert head == "migration x (x: a -> b); at most 1% false alarms in all"
    assert shadow.startswith("  1. shadow 5%, hold 24h: errors needs ")
    assert " copies, " in shadow
    assert share.startswith("  2. share 5%, hold 24h: errors needs ")
    assert share.endswith(" of x's requests")
    assert approved.startswith("  3. share 50%, until ann approves: errors needs ")
    assert last == "  4. share 100%: no gate has to see requests"
    assert "0.5% errors" in assumed


@pytest.mark.parametrize(
    "rates", [["--rate", "2/s"], ["--rate", "x=120/min", "--rate", "900/s"], ["--rate", "x=7200/h"]]
)
def test_rate_makes_days_of_requests(file: str, capsys: pytest.CaptureFixture[str], rates: list[str]) -> None:
    """For all endpoints, or one by name; what takes much longer than its hold is a warning."""
    assert main(["check", file, "--json", *rates]) == 0
    told = json.loads(capsys.readouterr().out)
    (plan,) = told["migrations"]
    step = plan["steps"][1]
    assert (plan["name"], plan["members"]) == ("x", [{"route": "x", "old": "a", "new": "b"}])
    assert step["seconds"] == pytest.approx(step["requests"] / 2)
    assert (step["needs"], step["share"], step["hold_seconds"]) == ("errors", 0.05, 86_400.0)
    warnings = {problem["path"]: problem["message"] for problem in told["problems"]}
    assert "can't see +0.2 points" in warnings["endpoints.x.migrate.steps[1]"]
    assert "endpoints.x.migrate.steps[2]" not in warnings  # who has to agree will hardly do so within a day


def test_trace_gives_the_rate(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recorded arrivals of an endpoint, by its name; a rate that is given as well counts for the others."""
    trace = tmp_path / "counts.csv"
    rows = [f"2026-07-06T{hour:02}:00:00Z,x,3600" for hour in range(24)]
    trace.write_text("\n".join(["time,model,requests", *rows]) + "\n")
    assert main(["check", file, "--json", "--trace", str(trace), "--rate", "9/s"]) == 0
    step = json.loads(capsys.readouterr().out)["migrations"][0]["steps"][1]
    assert step["seconds"] == pytest.approx(step["requests"], rel=0.05)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--rate", "2"], "--rate 2 is not a rate; write it like 5/s, 0.5/s or 300/min"),
        (["--rate", "0/s"], "is not a rate"),
        (["--rate", "z=2/s"], "the policy has no endpoint z; it has: x, y"),
        (["--trace", "/nowhere.csv"], "--trace: cannot read /nowhere.csv: No such file or directory; give the path"),
    ],
)
def test_wrong_traffic(file: str, capsys: pytest.CaptureFixture[str], flags: list[str], words: str) -> None:
    """What can't be read is one line, and exit 2."""
    assert main(["check", file, *flags]) == 2
    assert words in capsys.readouterr().err


def test_trace_of_something_else(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trace without a series of any endpoint would silently say nothing; it says which it has."""
    trace = tmp_path / "counts.csv"
    trace.write_text("time,model,requests\n2026-07-06T00:00:00Z,other,10\n2026-07-06T01:00:00Z,other,10\n")
    assert main(["check", file, "--trace", str(trace)]) == 2
    assert "there are: other" in capsys.readouterr().err
