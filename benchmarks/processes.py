"""Processes that a measurement starts: none sees the user's AWS settings, and all end with their block."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import AnyStr

from . import machine

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDBENCHMARK", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}


def environment() -> dict[str, str]:
    """This process's environment, with fixed credentials and nothing else that AWS's SDKs, we or OpenTelemetry read."""
    foreign = ("AWS_", "POINTSMAN_", "OTEL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | CREDENTIALS | {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


@contextmanager
def process(command: list[str], patience: float = 10.0, *, errors: bool = True) -> Iterator[subprocess.Popen[str]]:
    """A child with pipes; it has `patience` seconds to end with the block. `errors`: its standard error is ours."""
    child = subprocess.Popen(
        command,
        cwd=machine.ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if errors else subprocess.DEVNULL,
        text=True,
    )
    with child, ended(child, patience):  # the former closes the pipes
        yield child


@contextmanager
def ended(child: subprocess.Popen[AnyStr], patience: float = 10.0) -> Iterator[None]:
    """End the child with the block: SIGTERM, and SIGKILL after so many seconds."""
    try:
        yield
    finally:
        child.terminate()
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def printed(child: subprocess.Popen[str]) -> str:
    """The next line of what it prints: who prints one is ready. Raises SystemExit where it ended instead."""
    text = child.stdout.readline() if child.stdout else ""
    if not text:
        raise SystemExit(f"{child.args!r} did not start")
    return text
