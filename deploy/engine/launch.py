"""Become a program that ends with its parent: `launch.py PARENT PROGRAM [ARGUMENT...]`.

An engine holds gigabytes. Whoever starts one ends it, but may itself be killed; so the kernel is asked to send SIGTERM
to the engine when its parent (PARENT, a process id) is gone. Linux only, standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl(2): it outlives the execve(2) below."""


def main(arguments: list[str]) -> None:
    """Ask, look whether the parent went in the meantime, and become the program."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    parent, *program = arguments
    if os.getppid() != int(parent):
        sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606 - becoming that program is what this one is for


if __name__ == "__main__":
    main(sys.argv[1:])
