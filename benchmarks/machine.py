"""What a measurement needs of the machine: CPU time of a process, cores to pin to, facts for the record."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of a process, all its threads, since it began."""

    ran: float
    """User and system time."""
    waited: float
    """Ready to run, but something else had the core; 0 where the kernel does not tell."""


def cpu(pid: int) -> Cpu:
    """From schedstat, in nanoseconds, else from stat, in steps of 10 ms."""
    try:
        tasks = [(task / "schedstat").read_text().split() for task in Path(f"/proc/{pid}/task").iterdir()]
        return Cpu(sum(int(task[0]) for task in tasks) / 1e9, sum(int(task[1]) for task in tasks) / 1e9)
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return Cpu((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), 0.0)


def pin(pid: int, cores: set[int]) -> bool:
    """Keep a process on `cores`; False where the machine does not allow it."""
    try:
        os.sched_setaffinity(pid, cores)
    except (AttributeError, OSError):
        return False
    return True


@contextmanager
def preferred(pids: Iterable[int]) -> Iterator[bool]:
    """All threads of these processes run before any ordinary one while the block lasts; False where not allowed.

    Only for what leaves its core idle most of the time: nothing else runs while they do. What they start meanwhile is
    ordinary.
    """
    threads = [int(task.name) for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    try:
        for thread in threads:
            os.sched_setscheduler(thread, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        allowed = True
    except OSError:
        allowed = False
    try:
        yield allowed
    finally:
        for thread in threads:
            with suppress(OSError):  # it ended
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def split_cores() -> tuple[set[int], set[int]] | None:
    """A core for the proxy and one for client and target; None on a machine with one core."""
    cores = sorted(os.sched_getaffinity(0))
    return ({cores[0]}, {cores[-1]}) if len(cores) > 1 else None


def facts() -> dict[str, str]:
    """The machine and the releases that matter, and how busy it was when asked."""
    return {
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("pointsman", "aiohttp", "uvloop", "boto3")},
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str:
    """Short hash of the checkout, with `-dirty` when what is measured differs from it."""
    try:
        known = _git("rev-parse", "--short", "HEAD")
        changed = _git(
            "status", "--porcelain", "--", "policies", "backends", "warmers", "deploy", "proxy", "benchmarks/*.py"
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return known + ("-dirty" if changed else "")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def progress(what: str, kept: int, rounds: int, began: float, now: float) -> None:
    """One line on standard error after each round: how many of `rounds` are kept, and how long the rest takes.

    One round more was asked since `began`: the one that warms up.
    """
    left = (now - began) / (kept + 1) * (rounds - kept)
    more = f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min"
    print(f"{what}: round {kept} of {rounds}, about {more} more", file=sys.stderr, flush=True)
