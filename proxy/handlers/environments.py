"""A virtual environment for a handler's requirements.txt: built once, found again by what it holds.

Its folder is named after the hash of the file and of the interpreter, so that handlers with the same requirements share
one, and a changed file never meets the packages of the old. It counts as complete only with its marker; what a builder
left half done is built anew. Safe for several processes at once. Nothing of ours is in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import logging
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import LoadError

log = logging.getLogger("pointsman.handlers")

BUILD_SECONDS = 900.0
"""Bound of one installation."""
COMPLETE = ".complete"
LONGEST_OUTPUT = 4000
"""Characters of the installer's words that are kept: its end."""


def environment_of(requirements: Path, cache: Path) -> Path:
    """Where the environment of this requirements.txt is, or will be."""
    source = f"{platform.python_version()} {platform.machine()}\n".encode() + requirements.read_bytes()
    return cache / hashlib.sha256(source).hexdigest()[:24]


def build(requirements: Path, cache: Path, variables: Mapping[str, str]) -> str:
    """The interpreter of the environment, built now if need be. Blocks, for minutes perhaps. Raises LoadError."""
    try:
        folder = environment_of(requirements, cache)
        python = folder / "bin" / "python"
        if (folder / COMPLETE).exists():
            return str(python)
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(folder.with_suffix(".lock")):
            if not (folder / COMPLETE).exists():
                _install(folder, requirements, variables)
    except OSError as error:
        message = (
            f"{requirements}: no environment can be built in {cache}: {error.strerror}; name another folder in "
            "POINTSMAN_HANDLER_CACHE"
        )
        raise LoadError(message) from error
    return str(python)


def _install(folder: Path, requirements: Path, variables: Mapping[str, str]) -> None:
    log.info("building an environment for %s (this may take minutes)", requirements)
    shutil.rmtree(folder, ignore_errors=True)
    # An own pip saves the seconds that ensurepip takes; an image without one pays them.
    has_pip = importlib.util.find_spec("pip") is not None
    _run([sys.executable, "-m", "venv", *(["--without-pip"] if has_pip else []), str(folder)], requirements, variables)
    python = str(folder / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python] if has_pip else [python, "-m", "pip"]
    options = ["install", "--quiet", "--disable-pip-version-check", "--no-input", "-r", str(requirements)]
    _run([*pip, *options], requirements, variables)
    (folder / COMPLETE).touch()
    log.info("the environment for %s is ready", requirements)


def _run(command: list[str], requirements: Path, variables: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, on a file that the policy names
            command,
            cwd=requirements.parent,  # ./local_wheels/... is meant from there
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        message = f"{requirements}: not installed within {BUILD_SECONDS:.0f} s"
        raise LoadError(message) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-LONGEST_OUTPUT:]
        message = f"{requirements}: its packages can't be installed:\n{said}"
        raise LoadError(message)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
