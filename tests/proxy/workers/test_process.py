"""A worker as a process: what it does without a supervisor."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("words", [(), ("3",)])
def test_without_a_line_to_a_supervisor_it_ends(words: tuple[str, ...]) -> None:
    """Standard input that is no socket is nobody to obey: one line, and no process that waits for ever."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "proxy.workers.process", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "a worker is started by its supervisor: run `pointsman serve --workers N`\n"
