"""Virtual environments for test parts that must not share one with the product: SDKs of several releases, real vLLM.

Strategy: one hashed lock per environment (`tests/clients/NAME.lock`), installed once into a folder whose name holds the
hash of the lock and of the interpreter, so that an environment is either complete and exactly the lock, or absent.
Cached under `$POINTSMAN_ENV_CACHE` (default `~/.cache/pointsman/envs`), shared by all checkouts; safe for several
builders at once. What cannot be built is an error, never a skip. `python -m tests.environments [NAME...]` builds in
advance.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

LOCKS = Path(__file__).parent / "clients"
NAMES = ("boto3-newest", "boto3-1.43", "aiobotocore", "awscli", "vllm")
COMPLETE = ".complete"
BUILD_SECONDS = 900.0
"""Bound for one installation; vLLM, the largest (2.5 GB), takes 76 s on two cores."""

Say = Callable[[str], None]


class EnvironmentFailedError(Exception):
    """An environment could not be built; the message names the lock and what the installer said."""


def cache_root() -> Path:
    """Where environments and made models are kept between runs."""
    return Path(os.environ.get("POINTSMAN_ENV_CACHE") or Path.home() / ".cache" / "pointsman" / "envs")


def environment(name: str, *, say: Say | None = None, locks: Path = LOCKS, cache: Path | None = None) -> Path:
    """The python of environment `name`, built now if its lock has not been built on this machine before.

    Raises:
        EnvironmentFailedError: there is no such lock, or the installer failed.
    """
    lock = locks / f"{name}.lock"
    if not lock.exists():
        known = ", ".join(sorted(path.stem for path in locks.glob("*.lock")))
        raise EnvironmentFailedError(f"no lock {lock}; there are: {known}")
    folder = (cache or cache_root()) / f"{name}-{fingerprint(lock)}"
    python = folder / "bin" / "python"
    if not (folder / COMPLETE).exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder.with_name(f"{folder.name}.flock")):
            if not (folder / COMPLETE).exists():
                _build(folder, lock, say or _silent)
    return python


def fingerprint(lock: Path) -> str:
    """16 hex digits that change with the lock's content, the interpreter's release and the machine's architecture."""
    source = f"{platform.python_version()} {platform.machine()}\n".encode() + lock.read_bytes()
    return hashlib.sha256(source).hexdigest()[:16]


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the file lock `path`; waits for whoever holds it, in this process or another."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(folder: Path, lock: Path, say: Say) -> None:
    # A virtual environment cannot be moved after it is made (scripts name their interpreter), so it is built in place
    # and counts only with its marker; what an earlier builder left half done goes first.
    packages = sum(line[:1].isalnum() for line in lock.read_text().splitlines())
    say(f"environments: building {folder.name} ({packages} packages)")
    shutil.rmtree(folder, ignore_errors=True)
    _run(lock, [sys.executable, "-m", "venv", "--without-pip", str(folder)])
    if packages:
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
        _run(lock, [*pip, "--disable-pip-version-check", "--require-hashes", "--no-deps", "-r", str(lock)])
    (folder / COMPLETE).touch()
    say(f"environments: {folder.name} is ready")


def _run(lock: Path, command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise EnvironmentFailedError(
            f"{lock}: not installed after {BUILD_SECONDS:.0f} s: {' '.join(command)}"
        ) from None
    if done.returncode:
        raise EnvironmentFailedError(f"{lock}: {' '.join(command)} failed:\n{done.stderr[-4000:]}")


def _silent(line: str) -> None:
    """Progress that nobody asked for."""


if __name__ == "__main__":
    for wanted in sys.argv[1:] or NAMES:
        print(environment(wanted, say=print))
