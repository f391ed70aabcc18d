"""What owners have left, in memory that processes share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import owners as module
from backends.owners import Owners, new_memory
from policies.quotas import Quota, Rate, full, refilled, taken, wait_for

SIX = Quota("us", requests=Rate(6.0, 60.0))


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = new_memory()
    yield descriptor
    os.close(descriptor)


def rounded(over: tuple[str, float] | None) -> tuple[str, float] | None:
    """To the microsecond."""
    return None if over is None else (over[0], round(over[1], 6))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from(["us", "them"]), st.floats(0, 20), st.integers(0, 200)),
        max_size=40,
    )
)
def test_several_are_as_one(steps: list[tuple[int, str, float, int]]) -> None:
    """Whoever is asked, an owner is admitted exactly when one bucket for all of it would have had it; none is mixed up
    with another's."""
    requests, tokens, now = Rate(6.0, 60.0), Rate(600.0, 60.0), 1000.0
    quotas = {name: Quota(name, requests, tokens) for name in ("us", "them")}
    buckets = {name: (full(requests, now), full(tokens, now)) for name in quotas}
    descriptor = new_memory()
    processes = Owners(descriptor), Owners(descriptor)
    for which, name, passed, used in steps:
        now += passed
        left, owed = (refilled(*each, now) for each in zip(buckets[name], (requests, tokens), strict=True))
        debt, wait = wait_for(owed, tokens, 0.0), wait_for(left, requests, 1.0)
        found = rounded(processes[which].admit(quotas[name], now))
        if debt > 0 or wait > 0:
            assert found == rounded(("tokens", debt) if debt > 0 else ("requests", wait))
        else:
            assert found is None
            processes[1 - which].charge(quotas[name], used, now)
            left, owed = taken(left, 1.0), taken(owed, used)
        buckets[name] = left, owed
    os.close(descriptor)


def test_a_quota_that_is_new_begins_full(memory: int) -> None:
    """A reload may grant tokens where there were requests alone, and take them back; neither is owed for before."""
    table = Owners(memory)
    for _ in range(5):
        assert table.admit(SIX, 100.0) is None
    both = Quota("us", SIX.requests, Rate(10.0, 60.0))
    assert table.admit(both, 100.0) is None
    table.charge(both, 15, 100.0)
    assert rounded(table.admit(both, 100.0)) == ("tokens", 30.0)
    assert rounded(table.admit(SIX, 100.0)) == ("requests", 10.0)
    assert table.admit(SIX, 110.0) is None
    assert table.admit(Quota("us"), 110.0) is None


def test_a_row_that_is_full_gives_up_who_asked_for_longest_ago(memory: int) -> None:
    """Memory is bounded: of a seventeenth owner in a row of sixteen, the first one's quota begins anew."""
    table, row = Owners(memory), module._place("us")[0]
    names = (f"o-{number}" for number in range(100_000))
    alike = [name for name in names if module._place(name)[0] == row][: module._WAYS]
    for number, name in enumerate(["us", *alike]):
        for _ in range(6):
            assert table.admit(Quota(name, SIX.requests), 100.0 + number / 100) is None
    assert table.admit(Quota(alike[0], SIX.requests), 101.0) is not None
    assert table.admit(SIX, 101.0) is None


TAKES = """
import sys
from backends.owners import Owners
from policies.quotas import Quota, Rate
table, admitted = Owners(int(sys.argv[1])), 0
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5000):
    admitted += table.admit(Quota("us", Rate(4000.0, 1e9)), 1.0) is None
print(admitted, flush=True)
"""
HOLDS = """
import fcntl, sys
from backends.owners import SIZE
fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX, SIZE, 0)
print("ready", flush=True)
sys.stdin.readline()
"""


def other(code: str, memory: int) -> subprocess.Popen[str]:
    """A process that has the memory as well, ready."""
    line = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(memory)], stdin=line, stdout=line, text=True, pass_fds=[memory]
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_processes_that_ask_at_once_get_no_more_than_there_is(memory: int) -> None:
    """Two that ask as fast as they can are admitted four thousand times together."""
    both = [other(TAKES, memory) for _ in range(2)]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert sum(int(process.communicate()[0]) for process in both) == 4000


@pytest.mark.slow
def test_a_process_that_stands_still_keeps_nobody_waiting(memory: int) -> None:
    """Stopped with an entry locked, it is not waited for; killed, the lock is gone with it."""
    table, holder = Owners(memory), other(HOLDS, memory)
    holder.send_signal(signal.SIGSTOP)
    for _ in range(6):
        assert table.admit(SIX, 100.0) is None
    assert table.admit(SIX, 100.0) is not None
    assert not table._lock(0)
    holder.kill()
    holder.communicate()
    assert table._lock(0)
