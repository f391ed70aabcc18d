"""Shared state in a file: what is only the file's; the contract is in test_store.py."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from backends.state import Item, StoreError
from backends.state.sqlite import SqliteStore


async def test_store_that_can_not_be_opened(tmp_path: Path) -> None:
    """A folder that is not there is StoreError, which names the file."""
    with pytest.raises(StoreError, match=r"missing/state\.db"):
        SqliteStore(tmp_path / "missing" / "state.db")


async def test_file_that_is_only_to_be_opened(tmp_path: Path) -> None:
    """Where there is none, none is made; one that is there is opened."""
    path = tmp_path / "state.db"
    with pytest.raises(StoreError, match=r"state\.db: there is no such file: no proxy has ever looked"):
        SqliteStore(path, make=False)
    assert not path.exists()
    await SqliteStore(path).aclose()
    await SqliteStore(path, make=False).aclose()


def opened(folder: Path, together: Barrier) -> list[str]:
    """Runs in a process of its own: what came of opening files that others open in the same moment."""
    failures = []
    for number in range(60):
        together.wait(240)
        try:
            asyncio.run(SqliteStore(folder / f"{number}.db").aclose())
        except StoreError as error:
            failures.append(str(error))
    return failures


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_processes_that_start_together_make_one_file(tmp_path: Path) -> None:
    """Each opens it, whoever is first: none is told that it is locked."""
    processes = 6
    with multiprocessing.Manager() as manager:
        together = manager.Barrier(processes)
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            assert list(pool.map(opened, [tmp_path] * processes, [together] * processes)) == [[]] * processes


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced"])
async def test_file_that_is_taken_from_under_running_processes(how: str, tmp_path: Path) -> None:
    """All of them notice, and go on together in the file that is there now, which knows nothing of before."""
    path = tmp_path / "state.db"
    one, other = SqliteStore(path), SqliteStore(path)
    assert await one.swap("migrations", "x", b"before", 0)
    assert await other.items("migrations") == {"x": Item(1, b"before")}
    if how == "deleted":
        path.unlink()
    else:
        path.rename(tmp_path / "away.db")
    if how == "replaced":
        await SqliteStore(path).aclose()
    assert await one.items("migrations") == {}
    assert await one.swap("migrations", "x", b"after", 0)
    assert await other.items("migrations") == {"x": Item(1, b"after")}
    assert await other.swap("migrations", "x", b"later", 1)
    assert await one.items("migrations") == {"x": Item(2, b"later")}
    await one.aclose()
    await other.aclose()
    third = SqliteStore(path, make=False)
    assert await third.items("migrations") == {"x": Item(2, b"later")}
    await third.aclose()


async def test_folder_that_is_taken_from_under_a_running_process(tmp_path: Path) -> None:
    """The state is lost while there is no folder, at each operation, and is used again when there is one."""
    folder = tmp_path / "folder"
    folder.mkdir()
    store = SqliteStore(folder / "state.db")
    folder.rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(StoreError, match=r"state\.db: unable to open"):
            await store.items("migrations")
    folder.mkdir()
    assert await store.items("migrations") == {}
    await store.aclose()


async def test_file_that_only_looks_is_not_made_again(tmp_path: Path) -> None:
    """A command that may make none says that it is gone."""
    path = tmp_path / "state.db"
    await SqliteStore(path).aclose()
    store = SqliteStore(path, make=False)
    path.unlink()
    with pytest.raises(StoreError, match="there is no such file"):
        await store.items("migrations")
    await store.aclose()
    assert not path.exists()


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
