"""A worker as a process: what it holds, and what it does without a supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .serving import policy_of, served

pytestmark = pytest.mark.slow

NOSY = """
import os
from pathlib import Path
held = [os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
Path(__file__).with_name(f"held-{os.getppid()}").write_text("\\n".join(held))
def before(call):
    return None
"""


def test_it_holds_no_library_that_its_policy_may_not_need() -> None:
    """What some policies need takes up to 10 MB each, in each worker: it is imported with the first that does."""
    program = (
        "import sys; import proxy.workers.process;"
        "print({'boto3', 'botocore', 'jinja2', 'redis', 'requests', 'sqlite3', 'google.protobuf'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_handlers_process_has_nothing_of_its_worker(tmp_path: Path) -> None:
    """Neither the port, which it could hold when all of us are gone, nor the line to the supervisor, nor memory that
    workers share; also where it is loaded before its worker serves."""
    (tmp_path / "model.py").write_text(NOSY)
    policy = policy_of(9).replace("owner: us", "owner: us, handler: {path: model.py, run: process}")
    with served(tmp_path, policy) as running:
        pids = running.pids()
        for pid in pids:
            worker = {os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()}
            handler = set((tmp_path / f"held-{pid}").read_text().splitlines())
            both = {each for each in worker & handler if each.startswith(("socket:", "/memfd:"))}
            assert not both, f"{both} of {pids}"


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
