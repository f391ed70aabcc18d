"""A worker that stands, and its supervisor is gone."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from proxy.workers.orphan import CODE

from .serving import LONGEST_WAIT

pytestmark = pytest.mark.slow

STANDS = """
from proxy.workers.orphan import leave_after
leave_after(0, 0.05)
print("stands", flush=True)
while True:
    pass
"""


def test_a_worker_that_stands_does_not_outlive_its_supervisor() -> None:
    """It goes on while the line is open, and ends when the time for draining is over."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", STANDS], stdin=theirs.fileno(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"stands\n"
        ours.sendall(b"what it does not read")
        assert process.poll() is None
        ours.close()
        assert process.wait(LONGEST_WAIT) == CODE
        assert b"the supervisor is gone" in process.stderr.read()
