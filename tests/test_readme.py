"""The README's commands, run as they stand: in a fresh checkout, against what `make run` started."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.checkout import Program, ended

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

README = (Path(__file__).parent.parent / "README.md").read_text()
URL = "http://127.0.0.1:8080"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


LINES = [line.split("   #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
RUN_ELSEWHERE = {"make run", "make test"}
"""`make run` is the fixture, `make test` runs this very test."""


def url(program: Program) -> str:
    found: list[str] = re.findall(r"serving on (http://\S+?);", program.said)
    return found[0]


def test_lines_are_known() -> None:
    """Every line of a shell block is run by a test below, or is one of the two commands."""
    known = ("curl ", "export AWS_", ".venv/bin/pointsman ")
    assert [line for line in LINES if line not in RUN_ELSEWHERE and not line.startswith(known)] == []
    assert {*LINES} > RUN_ELSEWHERE


@pytest.mark.parametrize("program", blocks("python"))
def test_python_program_runs(program: str, checkout: Path, quickstart: Program, tmp_path: Path) -> None:
    """The program prints an answer and a stream, with the exported variables."""
    exports = [word for line in LINES if line.startswith("export ") for word in line.split()[1:]]
    variables = dict(export.replace(URL, url(quickstart)).split("=", 1) for export in exports)
    done = ended([str(checkout / ".venv/bin/python"), "-c", program], tmp_path, more=variables)
    assert (done.returncode, done.stderr) == (0, "")
    whole, _, stream = done.stdout.partition("\n")
    assert len(whole.split()) > 3
    assert stream.startswith("data: {")
    assert "data: [DONE]" in stream


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("curl ")])
def test_curl_line_runs(line: str, quickstart: Program, tmp_path: Path) -> None:
    """It prints the answer, and headers that say where the request went."""
    done = ended(["bash", "-c", line.replace(URL, url(quickstart))], tmp_path)
    assert done.stdout.startswith("HTTP/1.1 200 OK")
    assert "x-pointsman-target: inline-gpu" in done.stdout


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith(".venv/bin/pointsman ")])
def test_command_runs(line: str, checkout: Path) -> None:
    """It ends with 0 and says something."""
    done = ended(["bash", "-c", line], checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout
