"""The `pointsman` command itself: which commands there are, and what its exit code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli import COMMANDS, main
from tests.checkout import ROOT

POLICY = str(ROOT / "examples" / "quickstart" / "policy.yaml")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`pointsman --help` says what there is and what the exit codes mean; 0."""
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    told = capsys.readouterr().out
    assert [name for name in COMMANDS if not re.search(rf"^ +{name}\s", told, flags=re.MULTILINE)] == []
    assert "2 cannot start" in " ".join(told.split())


@pytest.mark.parametrize("words", [[], ["sreve"], ["check"], ["check", POLICY, "--unknown"]])
def test_wrong_usage_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """No command, a wrong one, a missing argument, an unknown flag: usage on standard error."""
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("usage: pointsman")


def test_command_that_cannot_start_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there: one line with the command's name, exit 2."""
    assert main(["check", str(tmp_path / "missing.yaml")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("pointsman check: ")
    assert told.count("\n") == 1


def test_command_that_is_done_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    """The command's own exit code is passed on."""
    assert main(["check", POLICY]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_reader_that_goes_away_is_no_error() -> None:
    """`pointsman schema | head -1` ends quietly."""
    shell = f"{Path(sys.executable).parent / 'pointsman'} schema | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", shell], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{\n", "")


@pytest.mark.slow
def test_only_the_asked_command_is_imported() -> None:
    """`pointsman --help` and `pointsman check` do not pay for boto3, an event loop or OpenTelemetry."""
    program = (
        "import sys; from proxy.cli import main; code = main(['check', sys.argv[1]]);"
        "print({'boto3', 'aiohttp', 'uvloop', 'opentelemetry'} & {*sys.modules}, code)"
    )
    command = [sys.executable, "-c", program, POLICY]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "set() 0"
