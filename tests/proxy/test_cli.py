"""The `pointsman` command itself: which commands there are, and what its exit code says."""

from __future__ import annotations

import os
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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["serve", POLICY], f"unrecognized arguments: {POLICY}; the policy is named with --policy FILE\n"),
        (
            ["check", POLICY, "--polcy"],
            "unrecognized arguments: --polcy; `pointsman check --help` lists what there is\n",
        ),
        (["test", POLICY, POLICY], "; `pointsman test --help` lists what there is\n"),
        (
            ["check", POLICY, "--js"],
            "unrecognized arguments: --js; `pointsman check --help` lists what there is\n",
        ),
        (["serve", "--pol", POLICY], "; `pointsman serve --help` lists what there is\n"),
        (
            ["warm", "run", POLICY, "--onc"],
            "unrecognized arguments: --onc; `pointsman warm --help` lists what there is\n",
        ),
        (["migrate", "status", "--js"], "; `pointsman migrate --help` lists what there is\n"),
    ],
)
def test_what_a_command_does_not_take(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what to write instead: `check FILE` is no model for `serve`. The beginning of a flag is not the flag."""
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.endswith(told)


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


LARGE = """apiVersion: pointsman/v1
account: "123456789012"
targets: {t: {kind: vllm, url: "http://127.0.0.1:1", model: m}, u: {kind: vllm, url: "http://127.0.0.1:2", model: m}}
endpoints:
"""
"""The head of a policy whose report is larger than what Python keeps before it writes."""


def _large(path: Path, route: str) -> str:
    path.write_text(LARGE + "".join(f"  e{number}: {{{route}}}\n" for number in range(1000)))
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "route", "code"),
    [
        (["check"], "serve_frm: t", 1),
        (["check", "--json"], "serve_frm: t", 1),
        (["check"], "serve_from: t", 0),
        (["test"], "serve_from: t, expect: [{goes_to: u}]", 1),
        (["test"], "serve_from: t, expect: [{goes_to: t}]", 0),
        (["check", "--help"], "serve_from: t", 0),
    ],
)
def test_what_was_found_does_not_depend_on_who_reads(words: list[str], route: str, code: int, tmp_path: Path) -> None:
    """Findings are 1 and none are 0 also where nobody reads standard output any longer, which is no error."""
    assert _ended([*words, _large(tmp_path / "p.yaml", route)], gone=True) == (code, "")


@pytest.mark.slow
def test_full_disk_under_the_report_is_one_line_and_exit_2(tmp_path: Path) -> None:
    """Neither a traceback nor the exit code of findings: whatever the report would have said, it is not there."""
    for policy in (POLICY, _large(tmp_path / "p.yaml", "serve_frm: t")):
        said = "pointsman check: No space left on device: standard output\n"
        assert _ended(["check", policy], gone=False) == (2, said)


def _ended(words: list[str], *, gone: bool) -> tuple[int, str]:
    """Exit code and standard error of a command whose standard output has no reader, or no room."""
    if gone:
        reads, writes = os.pipe()
        os.close(reads)
    else:
        writes = os.open("/dev/full", os.O_WRONLY)
    command = [str(Path(sys.executable).parent / "pointsman"), *words]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    try:
        done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, text=True, check=False, env=buffered)
    finally:
        os.close(writes)
    return done.returncode, done.stderr


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
