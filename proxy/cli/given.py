"""What a person gave to a command, a value or a place for a file: used, or one line on how to go on."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from . import StartError

T = TypeVar("T")

LAST_PORT = 65_535


def usable(flag: str, read: Callable[[], T]) -> T:
    """What `read` gives. Raises StartError, which names `flag`, for a file or a value that cannot be used."""
    try:
        return read()
    except OSError as error:
        message = f"{flag}: cannot read {error.filename}: {error.strerror}; give the path of a file"
        raise StartError(message) from error
    except ValueError as error:
        message = f"{flag}: {error}"
        raise StartError(message) from error


def port(text: str) -> int:
    """A port. Raises what argparse tells as wrong usage, with the flag's name."""
    if not (text.isascii() and text.isdecimal() and int(text[:6]) <= LAST_PORT):
        message = f"{text!r} is not a port; take one from 0 (any free one) to {LAST_PORT}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def placed(flag: str, path: str | None) -> None:
    """Look, before long work, whether `write` of the same would have a folder. Raises StartError as that does."""
    if path is None:
        return
    try:
        os.stat(f"{Path(path).parent}/")  # a file in place of the folder is refused too
    except OSError as error:
        raise _no_place(flag, path, error) from error


def write(flag: str, path: str, text: str) -> None:
    """Write the file that `flag` names. Raises StartError where that cannot be."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise _no_place(flag, path, error) from error


def _no_place(flag: str, path: str, error: OSError) -> StartError:
    return StartError(f"{flag}: cannot write {path}: {error.strerror}; give a path in a folder that exists")
