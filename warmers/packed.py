"""Files that may be packed with gzip, read as if they were not: recorded traces, request logs that were rotated."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

_MAGIC: Final = b"\x1f\x8b"
"""The first bytes of every gzip member (RFC 1952, section 2.3.1)."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked as they are read. The name says nothing: what it begins with counts.

    Raises OSError when it cannot be opened. Reading raises EOFError or gzip.BadGzipFile where packed data is damaged.
    """
    with path.open("rb") as raw:
        if raw.peek(2)[:2] != _MAGIC:
            yield raw
            return
        with gzip.open(raw) as unpacked:
            yield unpacked  # type: ignore[misc]  # typeshed: GzipFile reads bytes but is declared no BinaryIO
