"""`pointsman warm run`: what cron calls."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proxy.cli import StartError, warm_run
from tests.standins import ACCESS_KEY_ID, IMPORT_ARN, SECRET_ACCESS_KEY, Standin, emulator_in_thread

POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets: {{engine: {{kind: vllm, url: "{url}", model: engine, speaks: openai-chat}}}}
endpoints: {{x: {{serve_from: engine, warm: {{engine: {{every: 10m}}}}}}}}
"""
IMPORTED = """\
apiVersion: pointsman/v1
account: "123456789012"
targets: {{imported: {{{target}}}}}
endpoints: {{x: {{serve_from: imported, warm: {{imported: {{every: 14m}}}}}}}}
"""


def policy(folder: Path, standin: Standin) -> str:
    path = folder / "policy.yaml"
    path.write_text(POLICY.format(url=f"{standin.url}/_engine/engine"))
    return str(path)


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    warm_run.configure(parser)
    return warm_run.run(parser.parse_args(words))


def test_once_sends_what_is_due_and_says_how_it_was_met(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One token for the one target, a line for people, a log line for machines."""
    with emulator_in_thread() as standin:
        log = tmp_path / "log"
        assert run(policy(tmp_path, standin), "--once", "--log", str(log)) == 0
        assert "engine: met warm; 1 of 1 answered" in capsys.readouterr().out
        ledger = standin.emulator.models["engine"].ledger
        while not ledger.report()["completion_tokens"]:  # written down behind the answer
            time.sleep(0.005)
        assert ledger.report()["completion_tokens"] == 1
    assert json.loads(log.read_bytes())["log"] == "warm"


def test_it_says_what_an_import_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the prices that ship, or by one's own; prices that can't be read cost nothing but their line."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
    with emulator_in_thread() as standin:
        target = f"kind: bedrock, model: '{IMPORT_ARN}', url: '{standin.url}', speaks: openai-chat, cost: {{units: 1}}"
        file = tmp_path / "policy.yaml"
        file.write_text(IMPORTED.format(target=target))
        assert run(str(file), "--once") == 0
        assert "; $929 a month, if nobody else uses it\n" in capsys.readouterr().out
        assert run(str(file), "--once", "--prices", str(tmp_path / "none.yaml")) == 0
        assert "a month" not in capsys.readouterr().out


def test_with_state_the_next_run_knows_what_is_not_due(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cron may call more often than the interval, and one run's lease does not keep the next one out."""
    state = f"sqlite:///{tmp_path / 'state.db'}"
    with emulator_in_thread() as standin:
        file = policy(tmp_path, standin)
        assert run(file, "--once", "--state", state, "--json") == 0
        (first,) = json.loads(capsys.readouterr().out)["warmed"]
        assert (first["target"], first["met"], first["answered"]) == ("engine", "warm", 1)
        assert run(file, "--once", "--state", state) == 0
        assert capsys.readouterr().out == "nothing is due\n"
        assert standin.emulator.models["engine"].ledger.report()["calls"] == 1


def test_failed_warm_up_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cron's mail says what failed."""
    with socket.socket() as bound:  # and not listening: connections are refused, and nobody else gets the port
        bound.bind(("127.0.0.1", 0))
        path = tmp_path / "policy.yaml"
        path.write_text(POLICY.format(url=f"http://127.0.0.1:{bound.getsockname()[1]}"))
        assert run(str(path), "--once") == 1
    out = capsys.readouterr().out
    assert "engine: met failed; 0 of 1 answered" in out
    assert len(out.splitlines()) == 2


def test_a_state_that_can_not_be_reached_is_no_success(tmp_path: Path) -> None:
    """Cron hears of it: else targets would grow cold behind an exit code of 0."""
    with emulator_in_thread() as standin, pytest.raises(StartError, match="shared state can't be reached"):
        run(policy(tmp_path, standin), "--once", "--state", "valkey://127.0.0.1:1")


def test_what_can_not_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy that is refused is a finding; a state or log that can't be used is told in one line."""
    with emulator_in_thread() as standin:
        file = policy(tmp_path, standin)
    (tmp_path / "bad.yaml").write_text("nonsense: 1")
    assert run(str(tmp_path / "bad.yaml"), "--once") == 1
    assert "nonsense" in capsys.readouterr().err
    with pytest.raises(StartError, match="sqlite:///PATH"):
        run(file, "--once", "--state", "mysql://x")
    with pytest.raises(StartError, match="unable to open"):
        run(file, "--once", "--state", f"sqlite:///{tmp_path}/missing/state.db")
    with pytest.raises(StartError, match="choose another place with --log"):
        run(file, "--once", "--log", str(tmp_path / "missing" / "log"))


@pytest.mark.slow
def test_without_once_it_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """SIGTERM ends it in good order, its lease released."""
    state, log = f"sqlite:///{tmp_path / 'state.db'}", tmp_path / "log"
    os.mkfifo(log)
    code = (
        "import argparse, sys; from proxy.cli import warm_run; parser = argparse.ArgumentParser(); "
        "warm_run.configure(parser); sys.exit(warm_run.run(parser.parse_args(sys.argv[1:])))"
    )
    with emulator_in_thread() as standin:
        file = policy(tmp_path, standin)
        words = [sys.executable, "-c", code, file, "--state", state, "--log", str(log)]
        process = subprocess.Popen(words, cwd=Path(__file__).parents[3])
        try:
            with log.open("rb") as lines:
                assert json.loads(lines.readline())["log"] == "warm"
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
        assert run(file, "--once", "--state", state) == 0
