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
        (["--html", "/nowhere/report.html", "--trace", "/nowhere.csv"], "--html: cannot write"),
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


HANDLED = COLD.replace("serve_from: import,", "serve_from: import, handler: {path: model.py},")
HANDLER = """\
def before(call):
    return call.reply({"said": "by the handler"}) if call.json()["ask"] == "us" else None
"""


def test_handlers_run_where_they_are_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what every request holds; else they are left out, and that is told."""
    words = ["rehearse", *files(tmp_path), "--json"]
    (tmp_path / "policy.yaml").write_text(HANDLED)
    (tmp_path / "model.py").write_text(HANDLER)
    body = tmp_path / "body.json"
    body.write_text('{"ask": "us", "messages": [{"role": "user", "content": "x"}]}')
    told = []
    for more in ([], ["--handlers", "--body", str(body)]):
        assert main([*words, *more]) == 0
        told.append(json.loads(capsys.readouterr().out))
    without, within = told
    assert any("is left out" in note for note in without["notes"])
    assert sum(without["models"]["chat"]["answered_by"].values()) == 12
    assert any("runs in the proxy's loop" in note for note in within["notes"])
    assert within["models"]["chat"]["statuses"] == {"200": 12}
    assert not {"import", "gpu"} & set(within["models"]["chat"]["answered_by"])


def test_a_handler_that_cannot_be_loaded_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its place in the policy and what it raised."""
    words = ["rehearse", *files(tmp_path), "--handlers"]
    (tmp_path / "policy.yaml").write_text(HANDLED)
    (tmp_path / "model.py").write_text("import nowhere_at_all\n")
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "endpoints.chat.handler" in said
    assert "No module named 'nowhere_at_all'" in said


def test_clients_try_again_where_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each attempt is a request; in legacy mode a cold model's 429 is tried four times more, all within the restore."""
    words = ["rehearse", *files(tmp_path), "--json"]
    (tmp_path / "policy.yaml").write_text(COLD.replace("fallback: [gpu]", "when_cold: fail"))
    told = []
    for mode in ("none", "legacy"):
        assert main([*words, "--client-retries", mode]) == 0
        told.append(json.loads(capsys.readouterr().out))
    none, legacy = told
    assert none["clients"] == {"calls": 12, "tried_again": 0, "saved": 0, "failed": none["models"]["chat"]["met_cold"]}
    assert none["clients"]["failed"] > 0
    assert legacy["clients"]["calls"] == 12
    assert legacy["requests"] == 12 + legacy["clients"]["tried_again"]


def test_a_day_is_rehearsed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A call in the middle of every hour, of a model that goes after 15 minutes and is warmed from 08:00 to 20:00.

    So the twelve calls of these hours find it warm. The other twelve meet it cold and go to the GPU, each restoring it
    once, as the first warm-up of the day does. The GPU costs its 24 hours.
    """
    policy, trace = tmp_path / "policy.yaml", tmp_path / "requests.csv"
    warm = '[gpu], warm: {import: {every: 14m, jitter: 0%, hours: "08:00-20:00 UTC"}}'
    policy.write_text(COLD.replace("[gpu]", warm))
    rows = "".join(f"2026-07-06T{hour:02d}:00:00Z,chat,1\n" for hour in range(24))
    trace.write_text(f"time,model,requests\n{rows}")
    out = tmp_path / "report.html"
    assert main(["rehearse", str(policy), "--trace", str(trace), "--json", "--html", str(out)]) == 0
    told = json.loads(capsys.readouterr().out)
    chat = told["models"]["chat"]
    assert (told["requests"], chat["statuses"], told["unanswered"]) == (24, {"200": 24}, 0)
    assert (chat["met_cold"], chat["spilled"], chat["answered_by"]) == (12, 12, {"gpu": 12, "import": 12})
    assert (told["warm"]["import"]["met_cold"], told["warm"]["import"]["failed"]) == (13, 0)
    assert told["warm"]["import"]["sent"] > 13 + 12 * 60 / 14 / 2
    assert told["cost"]["gpu"]["for"] == "1 x ml.g6e.xlarge, 24.0 hours"
    colds = [at / 3600 for at, state in told["states"]["import"] if state == "cold"]
    assert not any(8.1 < at < 20 for at in colds)
    text = out.read_text()
    assert "<b>24</b>requests" in text
    assert "met a cold model (50.00%): 12 went to another target" in text
