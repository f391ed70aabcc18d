"""`make`: what a person types first works on a fresh copy, says what to do when it can't, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.checkout import READY, ROOT, Program, ended, listening, started, variables

slow = [pytest.mark.slow, pytest.mark.timeout(400)]
FREE = ["--port", "0", "--admin-port", "0", "--emulator-port", "0"]


def pasted(said: str, first: str, last: str) -> str:
    """The lines of a printed snippet."""
    lines = said.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(first))
    end = next(number for number, line in enumerate(lines) if number >= begin and line.endswith(last))
    return "\n".join(lines[begin : end + 1])


def ports(said: str) -> list[int]:
    """Every port of 127.0.0.1 that was printed."""
    return sorted({int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", said)})


def test_help_lists_every_target() -> None:
    """`make` alone says what there is."""
    listed = ended(["make"], ROOT).stdout
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert [line.split()[1] for line in listed.splitlines()] == targets


def test_ci_runs_all_tests() -> None:
    """.ci/run calls `make test`, which leaves no test out; `make test-fast` leaves the slow ones out."""
    assert "make test\n" in (ROOT / ".ci" / "run").read_text()
    all_tests = ended(["make", "--dry-run", "test"], ROOT).stdout.splitlines()[-1]
    fast = ended(["make", "--dry-run", "test-fast"], ROOT).stdout.splitlines()[-1]
    assert "pytest" in all_tests
    assert ' -m "' not in all_tests
    assert "not slow" in fast


def test_setup_refuses_an_old_python(tmp_path: Path) -> None:
    """One line names the remedy, and no environment is begun."""
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    done = ended(["make", "setup", f"PYTHON={old}"], tmp_path)
    assert done.returncode == 2
    assert f"make setup: {old} is older than 3.11; run `make setup PYTHON=" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_setup_without_ensurepip_says_so_and_leaves_no_half(tmp_path: Path) -> None:
    """Debian's Python makes half an environment and fails; once its package is there, setup has to begin anew."""
    bare = tmp_path / "python3"
    bare.write_text(
        "#!/bin/sh\n"
        '[ "$2" = venv ] || exit 0\n'
        'mkdir -p "$4/bin" && touch "$4/bin/python" && chmod +x "$4/bin/python"\n'
        "echo 'ensurepip is not available' >&2\n"
        "exit 1\n"
    )
    bare.chmod(0o755)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    done = ended(["make", "setup", f"PYTHON={bare}"], tmp_path)
    assert done.returncode == 2
    assert f"make setup: {bare} can't make an environment (above); Debian and Ubuntu: apt install" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_folder_that_can_not_be_written_is_one_line() -> None:
    """The remedy is named, and nothing is begun; as root the command runs as nobody, since root may write anywhere."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("Makefile", "requirements.lock", "pyproject.toml"):
            (folder / file).write_bytes((ROOT / file).read_bytes())
        folder.chmod(0o555)
        words = ["make", "run", "PYTHON=/usr/bin/python3"]
        nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(  # type: ignore[call-overload] # a user or none
            words, cwd=folder, env=variables(), capture_output=True, text=True, check=False, **nobody
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"make setup: {folder} is not writable: clone the project where you may write")
        assert sorted(path.name for path in folder.iterdir()) == ["Makefile", "pyproject.toml", "requirements.lock"]
        folder.chmod(0o755)


class TestFreshCheckout:
    """On a copy with nothing but what git carries."""

    pytestmark = slow

    def test_second_setup_does_nothing(self, checkout: Path) -> None:
        """What is installed is not installed again."""
        assert ended(["make", "setup"], checkout).stdout.replace("make: Nothing to be done for 'setup'.\n", "") == ""

    def test_run_says_where_each_model_goes(self, quickstart: Program) -> None:
        """The four endpoints of the quickstart are listed with their targets."""
        routes = re.findall(r"^  (\S+) +-> (\S+) \((\w+)\)", quickstart.said, flags=re.MULTILINE)
        assert routes == [
            ("inline", "inline-gpu", "endpoint"),
            ("blockgen/blockgen", "codegen-blockgen", "endpoint"),
            ("codegen-shared/blockgen", "codegen-blockgen", "endpoint"),
            ("apexguru", "apexguru-import", "bedrock"),
        ]

    def test_printed_boto3_snippet_works_when_pasted(self, quickstart: Program, tmp_path: Path) -> None:
        """It prints the model's words, with nothing set but what the snippet sets."""
        done = ended(["bash", "-c", pasted(quickstart.said, "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=", "EOF")], tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.split()) > 3

    def test_printed_curl_line_works_when_pasted(self, quickstart: Program, tmp_path: Path) -> None:
        """It prints headers that name the target, and the answer."""
        done = ended(["bash", "-c", pasted(quickstart.said, "curl ", "}'")], tmp_path)
        assert done.stdout.startswith("HTTP/1.1 200 OK")
        assert "x-pointsman-target: codegen-blockgen" in done.stdout
        assert '"chat.completion"' in done.stdout

    def test_printed_why_command_finds_the_request(self, quickstart: Program, checkout: Path, tmp_path: Path) -> None:
        """The request id of an answer leads to where the request went."""
        answer = ended(["bash", "-c", pasted(quickstart.said, "curl ", "}'")], tmp_path).stdout
        request = re.findall(r"(?i)^x-amzn-requestid: (\S+)", answer, flags=re.MULTILINE)[0]
        command = pasted(quickstart.said, f"  {checkout}", ".log").strip().replace("REQUEST_ID", request)
        done = ended(["bash", "-c", command], checkout)
        assert done.returncode == 0, done.stderr
        assert "codegen-blockgen" in done.stdout

    def test_interrupt_ends_all_of_it(self, checkout: Path) -> None:
        """After Ctrl-C no process is left and every printed port is free."""
        with started(["make", "run", f"ARGS={' '.join(FREE)}"], checkout, READY) as program:
            taken = ports(program.said)
            assert [listening(port) for port in taken] == [True] * 3
            program.interrupt()
            assert program.left() == []
            assert [listening(port) for port in taken] == [False] * 3


@pytest.mark.slow
def test_skipped_test_fails(tmp_path: Path) -> None:
    """A test that is skipped for a missing part fails the run, so that CI can't pass without it."""
    (tmp_path / "test_it.py").write_text("import pytest\n\n\ndef test_it():\n    pytest.skip('no GPU here')\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", str(tmp_path)]
    done = ended(command, tmp_path, more={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 1
    assert "no GPU here" in done.stdout
