"""Which interpreter the engine's environment is made with, and whether this machine can have one at all."""

from __future__ import annotations

import platform
import shutil
import sys

from .environment import EnvironmentFailedError, release_of

ENGINE_RELEASE = (3, 11)
"""The Python that the lock is for: PyTorch's wheel has one hash, that of its build for CPython 3.11 on x86-64."""


def engine_python(own: tuple[int, ...] = sys.version_info[:2], machine: tuple[str, str] | None = None) -> str:
    """An interpreter that the engine's environment can be made with: our own, or `python3.11` on the search path.

    Raises EnvironmentFailedError when this machine can't have one; `machine` is the system and the processor.
    """
    system, processor = machine or (platform.system(), platform.machine())
    wanted = ".".join(str(number) for number in ENGINE_RELEASE)
    if (system, processor) != ("Linux", "x86_64"):
        msg = f"real vLLM on a CPU is locked for Linux on x86_64, and this is {system} on {processor}; use `make run`"
        raise EnvironmentFailedError(msg)
    if own == ENGINE_RELEASE:
        return sys.executable
    found = shutil.which(f"python{wanted}")
    if found is not None and _runs(found, wanted):
        return found
    have = ".".join(str(number) for number in own)
    msg = f"real vLLM is locked for Python {wanted}; this is {have}: put python{wanted} on the search path"
    raise EnvironmentFailedError(msg)


def _runs(python: str, wanted: str) -> bool:
    """Whether it is what it is called; version managers leave names on the search path with nothing behind them."""
    try:
        return release_of(python).startswith(f"{wanted}.")
    except EnvironmentFailedError:
        return False
