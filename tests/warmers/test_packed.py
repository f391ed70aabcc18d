"""Files that may be packed."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from warmers.packed import opened


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo\n"])
def test_packed_or_not_it_reads_alike(tmp_path: Path, content: bytes) -> None:
    """Whatever the name says; an empty file is an empty file."""
    plain, packed = tmp_path / "plain.gz", tmp_path / "packed.txt"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    for path in (plain, packed):
        with opened(path) as source:
            assert source.read() == content


def test_damage_shows_when_it_is_read(tmp_path: Path) -> None:
    """Half a packed file is no whole one."""
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b"x" * 1000)[:-9])
    with opened(path) as source, pytest.raises(EOFError):
        source.read()
