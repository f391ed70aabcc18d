"""Chat templates that a policy names: read beside it, and tried out before the policy is put in force."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

LARGEST = 1024 * 1024
"""Bytes; what is larger is the wrong file."""


def template_stamp(folder: Path) -> Callable[[str], str]:
    """Gives what differs when a template has changed, or has come or gone: its inode, size and time of change."""

    def stamp(name: str) -> str:
        try:
            status = (folder / name).stat()
        except (OSError, ValueError):
            return "none"
        return f"{status.st_ino}.{status.st_size}.{status.st_mtime_ns}"

    return stamp


def template_reader(folder: Path) -> Callable[[str], str]:
    """Reads a template by its path as written in a policy; a relative one starts at `folder`.

    The reader raises OSError for a file that cannot be read, ValueError for one that is no usable template.
    """

    def read(name: str) -> str:
        with (folder / name).open("rb") as file:
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            message = f"is larger than {LARGEST // 1024} KiB; that is not a chat template"
            raise ValueError(message)
        try:
            text = raw.decode(
                "utf-8-sig"
            )  # the mark that some editors put first would be the first word of each prompt
        except UnicodeDecodeError as error:
            message = f"is not UTF-8 at byte {error.start}"
            raise ValueError(message) from error
        from backends.wire.dialects.templates import template_problem  # late: see Translation

        problem = template_problem(text)
        if problem is not None:
            raise ValueError(problem)
        return text

    return read
