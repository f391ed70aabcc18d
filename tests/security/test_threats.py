"""docs/security.md names tests that exist, for every threat."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()


def rows() -> list[list[str]]:
    """The cells of the table of threats."""
    section = PAGE.partition("## Threats")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_each_threat_has_a_test_that_exists() -> None:
    """A test that is renamed or deleted takes its line's promise with it, and this fails."""
    known = {
        node.name
        for file in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for row in rows():
        named = re.findall(r"`(test_\w+)`", row[-1])
        assert named, row
        assert [name for name in named if name not in known] == []


def test_stride_is_complete() -> None:
    """Each of the six kinds is there."""
    kinds = re.findall(r"\*\*([\w ]+)\*\*", "\n".join(row[0] for row in rows()))
    assert kinds == [
        "Spoofing",
        "Tampering",
        "Repudiation",
        "Information disclosure",
        "Denial of service",
        "Elevation of privilege",
    ]
