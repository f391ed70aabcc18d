"""The scheduler's slices, asked of the kernel that runs the tests."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

ASKS = """
import ctypes, json, os, platform, threading
from proxy import slices

def told():
    number, place = slices.CALLS[platform.machine()][1], ctypes.create_string_buffer(slices.LAYOUT.size)
    assert ctypes.CDLL(None).syscall(number, 0, place, slices.LAYOUT.size, 0) == 0
    _, policy, _, nice, _, slice_, *_ = slices.LAYOUT.unpack(place.raw)
    return [policy, nice, slice_]

os.nice(3)
found = {"before": told()}
{before}
found["done"] = slices.shorten()
found["after"] = told()
beside = []
thread = threading.Thread(target=lambda: beside.append(told()))
thread.start()
thread.join()
found["thread"] = beside[0]
print(json.dumps(found))
"""


def asked(before: str = "") -> dict[str, object]:
    """What a process says of itself; it is one of its own, since what is asked cannot be taken back."""
    code = ASKS.replace("{before}", before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_this_thread_alone_has_short_slices() -> None:
    """Its own slice is the shortest or, before Linux 6.12, what it was; niceness and other threads' slices stay."""
    found = asked()
    usual = found["before"]
    assert isinstance(usual, list)
    assert found["done"] is True
    _, nice, _ = usual  # whatever the tests themselves were started with, and three more
    assert found["after"] in ([0, nice, 100_000], usual)
    assert found["thread"] == usual


def test_a_policy_that_someone_chose_stays() -> None:
    """A process that was started as a batch job is left as it is."""
    found = asked("os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)); found['before'] = told()")
    assert found["done"] is False
    assert found["after"] == found["before"]


@pytest.mark.parametrize("change", ["platform.machine = lambda: 'z80'", "platform.system = lambda: 'Darwin'"])
def test_elsewhere_nothing_is_asked(change: str) -> None:
    """On a system whose calls are not known: no call, and False."""
    code = f"import platform\nfrom proxy import slices\n{change}\nprint(slices.shorten())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
