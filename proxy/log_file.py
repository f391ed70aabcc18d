"""A log file that may be moved away while it is written to, as logs are rotated."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import BinaryIO

log = logging.getLogger("pointsman.server")


class LogFile:
    """What is appended to the file at `path`: where that is not there any more, or another one, it is begun anew.

    So a log can be renamed by whoever rotates it, without a word to this process. Nothing is lost: what is written
    between the renaming and the next look stands at the end of the renamed file. While no file can be opened there, the
    old one is written on, which is said once: whoever deletes it deletes what comes.
    """

    __slots__ = ("_path", "_stream", "_told")

    def __init__(self, path: Path) -> None:
        """Raises OSError where it can't be opened."""
        self._path = path
        self._stream = _opened(path)
        self._told = False

    def stream(self) -> BinaryIO:
        """Where to write now; valid until the next call."""
        try:
            if not self._moved():
                self._told = False
                return self._stream
            fresh = _opened(self._path)
        except OSError as error:
            if not self._told:
                self._told = True
                text = "--log %s can't be begun anew: %s; lines go on to the old file, wherever that was moved"
                log.warning(text, self._path, error.strerror or error)
            return self._stream
        except ValueError:  # it was closed: whoever writes hears so
            return self._stream
        self._told = False
        self._stream.close()
        self._stream = fresh
        return fresh

    def close(self) -> None:
        """Nothing more is written."""
        self._stream.close()

    def _moved(self) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(self._stream.fileno()))


def _opened(path: Path) -> BinaryIO:
    # Unbuffered: a buffer is emptied once more when it is closed, which fails on a full disk, and waits for a reader.
    return path.open("ab", buffering=0)
