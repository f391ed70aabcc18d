"""Shared state in a SQLite file, for the processes of one machine.

Every operation is one transaction, so that processes that write at the same time follow one another. The file must lie
on a disk of the machine: SQLite's locks do not hold over NFS.

A file that was deleted, moved or replaced under a running process is noticed at the next operation, which opens what is
there now: else each process would agree with itself, in a file that nobody else sees.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from .store import SCHEMA_VERSION, Item, Lease, StoreError, next_token

T = TypeVar("T")

BUSY = 5.0
"""Seconds that SQLite waits for another process's write; one takes milliseconds, and longer where that process stalls
in the middle of it."""
TRIES = 100
"""Processes that may set a new file's journal before this one."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS leases (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, token INTEGER NOT NULL, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS items (
    folder TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (folder, name));
"""


class SqliteStore:
    """A file that processes of one machine share."""

    def __init__(self, path: Path, *, make: bool = True) -> None:
        """Opens the file, and makes it when it is not there, unless `make` says not to. Raises StoreError."""
        self._path = path
        self._make = make
        self._opened: tuple[int, int] | None = None
        # SQLite blocks: all its work is done in one thread of this store's own.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="pointsman-state")
        try:
            self._database = self._executor.submit(self._open).result()
        except (sqlite3.Error, StoreError) as error:
            self._executor.shutdown()
            if "unable to open" in str(error):
                msg = f"{error}; is its folder there, and may this user write to it?"
                raise self._lost(OSError(msg)) from error
            raise self._lost(error) from error

    async def take(self, name: str, holder: str, wall: float, period: float) -> Lease | None:
        """See `Store.take`."""
        return await self._within(lambda: self._take(name, holder, wall, period))

    async def release(self, lease: Lease) -> None:
        """See `Store.release`."""
        sql = "UPDATE leases SET expires = 0 WHERE name = ? AND holder = ? AND token = ?"
        await self._within(lambda: self._database.execute(sql, (lease.name, lease.holder, lease.token)))

    async def read(self, name: str) -> bytes | None:
        """See `Store.read`."""
        sql = "SELECT value FROM documents WHERE name = ?"
        row = await self._within(lambda: self._database.execute(sql, (name,)).fetchone())
        return bytes(row[0]) if row is not None else None

    async def write(self, name: str, value: bytes, token: int) -> bool:
        """See `Store.write`."""
        sql = (
            "INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE "
            "SET token = excluded.token, value = excluded.value WHERE excluded.token >= documents.token"
        )
        changed = await self._within(lambda: self._database.execute(sql, (name, token, value)).rowcount)
        return changed == 1

    async def items(self, group: str) -> Mapping[str, Item]:
        """See `Store.items`."""
        sql = "SELECT name, version, value FROM items WHERE folder = ?"
        rows = await self._within(lambda: self._database.execute(sql, (group,)).fetchall())
        return {name: Item(version, bytes(value)) for name, version, value in rows}

    async def swap(self, group: str, name: str, value: bytes, version: int) -> bool:
        """See `Store.swap`."""
        new = "INSERT INTO items VALUES (:folder, :name, 1, :value) ON CONFLICT DO NOTHING"
        old = (
            "UPDATE items SET version = version + 1, value = :value "
            "WHERE folder = :folder AND name = :name AND version = :version"
        )
        values = {"folder": group, "name": name, "value": value, "version": version}
        changed = await self._within(lambda: self._database.execute(old if version else new, values).rowcount)
        return changed == 1

    async def put(self, group: str, name: str, value: bytes) -> None:
        """See `Store.put`."""
        sql = "REPLACE INTO items VALUES (?, ?, 0, ?)"
        await self._within(lambda: self._database.execute(sql, (group, name, value)))

    async def drop(self, group: str, name: str) -> None:
        """See `Store.drop`."""
        sql = "DELETE FROM items WHERE folder = ? AND name = ?"
        await self._within(lambda: self._database.execute(sql, (group, name)))

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        try:
            await self._within(self._database.close, transaction=False)
        finally:
            self._executor.shutdown()

    def _take(self, name: str, holder: str, wall: float, period: float) -> Lease | None:
        row = self._database.execute("SELECT holder, token, expires FROM leases WHERE name = ?", (name,)).fetchone()
        held, token, expires = row if row is not None else ("", 0, 0.0)
        alive = wall < expires
        if alive and held != holder:
            return None
        token = token if alive else next_token(token, wall)
        lease = Lease(name, holder, token, wall + period)
        self._database.execute("REPLACE INTO leases VALUES (?, ?, ?, ?)", (name, holder, token, lease.expires))
        return lease

    def _same_file(self) -> None:
        """Opens the file anew where it is no longer the one that was opened; one that is gone is made, and empty."""
        if self._opened is not None and self._opened == _file(self._path):
            return
        self._opened = None
        # SQLite sees at closing that the file has moved, and leaves the journal of the one in its place alone.
        self._database.close()
        self._database = self._open()

    def _open(self) -> sqlite3.Connection:
        if not self._make and not self._path.exists():
            msg = "there is no such file: no proxy has ever looked at this state; is it the fleet's --state?"
            raise StoreError(msg)
        database = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None)
        try:
            _write_ahead(database)
            database.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
            database.execute(
                "INSERT INTO schema_version SELECT ? WHERE NOT EXISTS (SELECT 1 FROM schema_version)", (SCHEMA_VERSION,)
            )
            # An older version's tables are all here and unchanged: a new one only added some.
            database.execute("UPDATE schema_version SET version = ? WHERE version < ?", (SCHEMA_VERSION,) * 2)
            (version,) = database.execute("SELECT version FROM schema_version").fetchone()
        except BaseException:
            database.close()
            raise
        if version != SCHEMA_VERSION:
            database.close()
            msg = f"a newer version has written it (schema {version}, not {SCHEMA_VERSION}); give a new file"
            raise StoreError(msg)
        self._opened = _file(self._path)
        return database

    async def _within(self, work: Callable[[], T], *, transaction: bool = True) -> T:
        """Do `work` in the store's thread, as one transaction. Raises StoreError."""

        def whole() -> T:
            if not transaction:
                return work()
            self._same_file()
            self._database.execute("BEGIN IMMEDIATE")
            try:
                done = work()
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
            return done

        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, whole)
        except (sqlite3.Error, StoreError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> StoreError:
        return StoreError(f"{self._path}: {error}")


def _write_ahead(database: sqlite3.Connection) -> None:
    """Processes that are started together all find a new file. Only one at a time can set its journal, and SQLite does
    not wait for that one here, as it does for one that writes: so an empty write waits for it."""
    for left in reversed(range(TRIES)):
        try:
            database.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or not left:
                raise
            database.executescript("BEGIN IMMEDIATE;COMMIT;")
        else:
            return


def _file(path: Path) -> tuple[int, int] | None:
    """Which file a path leads to now; None: to none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
