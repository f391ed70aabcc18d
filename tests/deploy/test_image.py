"""The image's file, read: it copies what is there, and its command is the one that SageMaker gives."""

from __future__ import annotations

import json
import re
from pathlib import Path

from proxy.cli import COMMANDS
from proxy.flags import FLAGS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "container"
LINES = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ").splitlines()


def instructions(word: str) -> list[str]:
    """What stands behind an instruction, comments left out."""
    return [line.split(" ", 1)[1].strip() for line in LINES if line.startswith(word + " ")]


def test_what_it_copies_is_there_and_in_the_context() -> None:
    """Each source exists, and the ignore file lets it in; the product's packages are all copied."""
    let_in = {
        line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    }
    sources = {word for copy in instructions("COPY") if "--from" not in copy for word in copy.split()[:-1]}
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert sources == let_in
    packages = re.search(r"packages = \[(.*)\]", (ROOT / "pyproject.toml").read_text())
    assert packages is not None
    assert set(json.loads(f"[{packages[1]}]")) <= sources


def test_signals_reach_the_process() -> None:
    """Exec form, so that SIGTERM is not a shell's; and the argument is the one that SageMaker gives."""
    (entry,), (command,) = instructions("ENTRYPOINT"), instructions("CMD")
    assert json.loads(entry) == ["pointsman"]
    (word,) = json.loads(command)
    assert word in COMMANDS


def test_its_variables_are_ours() -> None:
    """Each POINTSMAN_ variable of the folder is a flag's."""
    text = "".join((FOLDER / name).read_text() for name in ("Dockerfile", "README.md"))
    known = {flag.variable for flag in FLAGS}
    assert set(re.findall(r"POINTSMAN_[A-Z_]+[A-Z]", text)) <= known
