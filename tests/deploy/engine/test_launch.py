"""A program that is launched ends when its parent is gone."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import suppress

from tests.checkout import ROOT

LAUNCH = str(ROOT / "deploy" / "engine" / "launch.py")


def test_program_ends_with_a_parent_that_is_killed() -> None:
    """A parent that ends without a word takes the program along: what the program held is closed."""
    parent = (
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, {LAUNCH!r}, str(os.getpid()), sys.executable, '-c',"
        " 'import sys; print(1, flush=True); sys.stdin.read()'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -9
    with suppress(ProcessLookupError):  # gone already, and nobody's zombie
        child = os.pidfd_open(int(done.stdout))
        try:
            assert select.select([child], [], [], 15.0)[0] == [child]
        finally:
            os.close(child)


def test_program_does_not_start_without_its_parent() -> None:
    """A parent that went before the kernel was asked is noticed."""
    done = subprocess.run([sys.executable, LAUNCH, str(os.getpid() + 1), "true"], check=False)
    assert done.returncode == 1
