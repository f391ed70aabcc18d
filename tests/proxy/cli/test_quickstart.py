"""`pointsman quickstart` when it can't start; that it works is tests/test_make.py's, on a fresh checkout."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.cli import main
from tests.checkout import ROOT, ended

pytestmark = pytest.mark.slow

POINTSMAN = Path(sys.executable).parent / "pointsman"
FREE = ["--port", "0", "--admin-port", "0", "--emulator-port", "0"]


@pytest.fixture
def occupied() -> Iterator[int]:
    """A port that something else holds."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def refused(*flags: str, folder: Path = ROOT) -> str:
    """What `pointsman quickstart` says in its one line, with exit code 2."""
    done: subprocess.CompletedProcess[str] = ended([str(POINTSMAN), "quickstart", *flags], folder)
    assert done.returncode == 2
    assert done.stdout == ""
    line, _, rest = done.stderr.partition("\n")
    assert rest == ""
    return line


@pytest.mark.parametrize("flag", ["--port", "--admin-port", "--emulator-port"])
def test_port_in_use_is_one_line(flag: str, occupied: int, tmp_path: Path) -> None:
    """The line names the port, the flag that takes another one and how make is given it; exit 2."""
    line = refused(*FREE, "--log", str(tmp_path / "log"), flag, str(occupied))
    assert f"can't listen on 127.0.0.1:{occupied} (address already in use); stop what holds it" in line
    assert f"choose another with {flag}" in line
    assert "make run ARGS='" in line
    assert f"{flag} " in line.partition("ARGS=")[2]


@pytest.mark.parametrize("flag", ["--port", "--admin-port", "--emulator-port", "--engine-port"])
@pytest.mark.parametrize("text", ["99999", "-1", "http", "1e4", "\N{SUPERSCRIPT TWO}"])
def test_a_port_that_is_none_is_wrong_usage(flag: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told before anything listens, by the flag's name: the system would take another port, or raise."""
    with pytest.raises(SystemExit) as stopped:
        main(["quickstart", f"{flag}={text}"])
    assert stopped.value.code == 2
    assert f"argument {flag}: {text!r} is not a port; take one from 0" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["emulator.yaml", "policy.yaml"])
def test_missing_file_is_one_line(missing: str, tmp_path: Path) -> None:
    """The line names the file; exit 2."""
    for name in {"emulator.yaml", "policy.yaml"} - {missing}:
        (tmp_path / name).write_bytes((ROOT / "examples" / "quickstart" / name).read_bytes())
    line = refused(*FREE, "--folder", str(tmp_path), "--log", str(tmp_path / "log"))
    assert f"{tmp_path / missing}: no such file" in line.lower()


def test_unwritable_directory_is_one_line(tmp_path: Path) -> None:
    """The line names what can't be written; exit 2. Not even root may write below a file."""
    (tmp_path / "file").write_text("not a directory")
    line = refused(*FREE, "--log", str(tmp_path / "file" / "requests.log"))
    assert str(tmp_path / "file") in line
    assert "run it where you may write" in line


def test_broken_policy_is_reported_in_full(tmp_path: Path) -> None:
    """Every problem has its line, as `pointsman check` says it; exit 2 and nothing runs."""
    (tmp_path / "emulator.yaml").write_bytes((ROOT / "examples" / "quickstart" / "emulator.yaml").read_bytes())
    (tmp_path / "policy.yaml").write_text("apiVersion: pointsman/v1\nendpoint: {}\n")
    flags = [*FREE, "--folder", str(tmp_path), "--log", str(tmp_path / "log")]
    done = ended([str(POINTSMAN), "quickstart", *flags], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path / 'policy.yaml'}:2" in done.stderr
    assert "endpoints" in done.stderr
