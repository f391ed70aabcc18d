"""A worker as a process: what it holds, and what it does without a supervisor."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_it_holds_no_library_that_its_policy_may_not_need() -> None:
    """What some policies need takes up to 10 MB each, in each worker: it is imported with the first that does."""
    program = (
        "import sys; import proxy.workers.process;"
        "print({'boto3', 'botocore', 'jinja2', 'redis', 'requests', 'sqlite3', 'google.protobuf'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


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
