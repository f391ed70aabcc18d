"""How a worker begins: with the standard library alone, and nothing of ours in the customer's way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

GUEST = Path(__file__).parents[4] / "proxy" / "handlers" / "guest"


@pytest.mark.parametrize("file", sorted(GUEST.glob("*.py")), ids=lambda file: file.name)
def test_guest_needs_the_standard_library_only(file: Path) -> None:
    """It runs in an environment that has the customer's packages and none of ours."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= set(sys.stdlib_module_names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 1 or (node.module or "").partition(".")[0] in sys.stdlib_module_names


@pytest.mark.slow
def test_start_in_a_bare_interpreter() -> None:
    """The package is loaded under a name of its own; neither it nor its folder is importable otherwise."""
    code = f"""
import runpy, sys
sys.argv = ["start.py"]
try:
    runpy.run_path({str(GUEST / "start.py")!r}, run_name="__main__")
except ValueError as error:
    print(error)
print(sorted(name for name in sys.modules if name.startswith("pointsman_guest"))[0])
print([path for path in sys.path if "handlers" in path], "worker" in sys.modules, "pydantic" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    lines = told.stdout.splitlines()
    assert lines[0].startswith("not enough values to unpack")
    assert lines[1:] == ["pointsman_guest", "[] False False"]
