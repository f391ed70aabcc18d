"""Shared state in a file: what is only the file's; the contract is in test_store.py."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from backends.state import Item, SqliteStore, StoreError


async def test_store_that_can_not_be_opened(tmp_path: Path) -> None:
    """A folder that is not there is StoreError, which names the file."""
    with pytest.raises(StoreError, match=r"missing/state\.db"):
        SqliteStore(tmp_path / "missing" / "state.db")


async def test_file_that_is_only_to_be_opened(tmp_path: Path) -> None:
    """Where there is none, none is made; one that is there is opened."""
    path = tmp_path / "state.db"
    with pytest.raises(StoreError, match=r"no file .*state\.db: no proxy has ever looked"):
        SqliteStore(path, make=False)
    assert not path.exists()
    await SqliteStore(path).aclose()
    await SqliteStore(path, make=False).aclose()


async def test_file_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    """A file that knows leases and documents only keeps them, and has groups from then on."""
    path = tmp_path / "state.db"
    database = sqlite3.connect(path)
    database.executescript(
        "CREATE TABLE schema_version (version INTEGER NOT NULL); INSERT INTO schema_version VALUES (1);"
        "CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL,"
        " expires REAL NOT NULL);"
        "CREATE TABLE documents (name TEXT PRIMARY KEY, token INTEGER NOT NULL, value BLOB NOT NULL);"
        "INSERT INTO documents VALUES ('warm/x', 7, x'6f6e65');"
    )
    database.close()
    store = SqliteStore(path)
    assert await store.read("warm/x") == b"one"
    assert not await store.write("warm/x", b"late", 6)
    assert await store.swap("migrations", "x", b"{}", 0)
    assert await store.items("migrations") == {"x": Item(1, b"{}")}
    await store.aclose()


async def test_store_that_breaks_is_told(tmp_path: Path) -> None:
    """A file that loses its tables under a running process is StoreError for every operation, and closing works."""
    path = tmp_path / "state.db"
    store = SqliteStore(path)
    database = sqlite3.connect(path)
    database.executescript("DROP TABLE leases; DROP TABLE documents; DROP TABLE items;")
    database.close()
    with pytest.raises(StoreError, match="no such table"):
        await store.take("warmer", "a", 0.0, 15.0)
    with pytest.raises(StoreError, match="no such table"):
        await store.read("d")
    with pytest.raises(StoreError, match="no such table"):
        await store.write("d", b"", 1)
    with pytest.raises(StoreError, match="no such table"):
        await store.swap("g", "n", b"", 1)
    await store.aclose()
