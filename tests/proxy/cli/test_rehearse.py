"""`pointsman rehearse`: a table, a page, and one line on how to go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.cli import main
from tests.proxy.rehearsal.played import COLD


def files(folder: Path) -> list[str]:
    policy, trace = folder / "policy.yaml", folder / "requests.csv"
    policy.write_text(COLD)
    minutes = [0, 5, 10, 40, 41, 55]
    rows = "".join(f"2026-07-06T00:{minute:02d}:00Z,chat,2\n" for minute in minutes)
    trace.write_text(f"time,model,requests\n{rows}")
    return [str(policy), "--trace", str(trace)]


def test_a_trace_is_rehearsed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table is on standard output, how fast it went on standard error, and the page where it was asked for."""
    out = tmp_path / "report.html"
    assert main(["rehearse", *files(tmp_path), "--html", str(out)]) == 0
    said = capsys.readouterr()
    assert "12 requests of 2026-07-06 00:00" in said.out
    assert "requests/s" in said.err
    assert out.read_text().startswith("<!DOCTYPE html>")


def test_the_same_twice_and_a_part_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Output is the same to the last byte; --from and --to leave the rest out."""
    words = ["rehearse", *files(tmp_path), "--json"]
    told = []
    for _ in range(2):
        assert main(words) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert main([*words, "--from", "10m", "--to", "42m"]) == 0
    part = json.loads(capsys.readouterr().out)
    assert (part["requests"], part["start"]) == (6, "2026-07-06T00:10:00+00:00")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--from", "2h"], "is not before the end"),
        (["--streams", "many"], "--streams"),
        (["--prices", "/nowhere"], "cannot read /nowhere"),
        (["--html", "/nowhere/report.html"], "cannot write"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], says: str
) -> None:
    """The flag, what is wrong, and what to give instead."""
    assert main(["rehearse", *files(tmp_path), *more]) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_a_policy_that_is_refused_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As of every command on a policy."""
    words = files(tmp_path)
    Path(words[0]).write_text(COLD.replace("serve_from: import", "serve_from: nobody"))
    assert main(["rehearse", *words]) == 1
    assert "nobody" in capsys.readouterr().err
