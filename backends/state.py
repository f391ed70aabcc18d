"""What the processes of a fleet share: who holds a duty, and small documents that its holder keeps.

One Protocol, `Store`, for every place that can hold it; here is the SQLite file, for processes of one machine. The
operations are those that a file, Valkey and S3's conditional writes can all do atomically on one key:

- A lease is held until it expires; taking one that has expired gives a new, higher token. Tokens are never used twice.
- A document is written with the token of the writer's lease and refused once somebody with a higher one has written it
  (fencing): a holder that was stopped for a while and does not know it has lost the duty can't overwrite its successor.

`wall` is seconds since 1970 as the caller's machine sees it: machines that share a store need clocks that agree to a
small part of a lease's period. Every failure to reach the store is StoreError; nothing on a request's path asks it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import unquote, urlsplit

T = TypeVar("T")

SCHEMA_VERSION = 1
BUSY = 2.0
"""Seconds that SQLite waits for another process's write; one takes a few milliseconds."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS leases (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, token INTEGER NOT NULL, value BLOB NOT NULL);
"""


class StoreError(Exception):
    """The store can't be reached or used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A duty that one holder has until `expires` (seconds since 1970)."""

    name: str
    holder: str
    token: int
    """Higher than that of every holder before."""
    expires: float


class Store(Protocol):
    """The fleet's shared state. Every method raises StoreError when the store can't be reached."""

    async def take(self, name: str, holder: str, wall: float, period: float) -> Lease | None:
        """The lease until `wall + period`: renewed if `holder` has it, taken if it has expired, else None."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give it up, so that another can take it at once; without effect when it is another's by now."""
        ...

    async def read(self, name: str) -> bytes | None:
        """The document of that name; None when there is none."""
        ...

    async def write(self, name: str, value: bytes, token: int) -> bool:
        """Replace the document; False, and nothing changes, when a holder with a higher token has written it."""
        ...

    async def aclose(self) -> None:
        """Let go of files and connections; nothing may be asked afterwards."""
        ...


def open_store(url: str) -> Store:
    """The store at `url`: `sqlite:///relative/path` or `sqlite:////absolute/path`.

    Raises:
        ValueError: the URL names no known kind of store, with the right way to write it.
        StoreError: it can't be opened.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if parts.scheme != "sqlite" or parts.netloc or not path or parts.query or parts.fragment:
        msg = f"{url!r} is not a store: write sqlite:///relative/path.db or sqlite:////absolute/path.db"
        raise ValueError(msg)
    return SqliteStore(Path(path))


class SqliteStore:
    """A file that processes of one machine share."""

    def __init__(self, path: Path) -> None:
        """Opens the file, and makes it when it is not there. Raises StoreError."""
        self._path = path
        # SQLite blocks: all its work is done in one thread of this store's own.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="pointsman-state")
        try:
            self._database = self._executor.submit(self._open).result()
        except (sqlite3.Error, StoreError) as error:
            self._executor.shutdown()
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
        token += not (alive and held == holder)
        lease = Lease(name, holder, token, wall + period)
        self._database.execute("REPLACE INTO leases VALUES (?, ?, ?, ?)", (name, holder, token, lease.expires))
        return lease

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
            database.execute(
                "INSERT INTO schema_version SELECT ? WHERE NOT EXISTS (SELECT 1 FROM schema_version)", (SCHEMA_VERSION,)
            )
            (version,) = database.execute("SELECT version FROM schema_version").fetchone()
        except BaseException:
            database.close()
            raise
        if version != SCHEMA_VERSION:
            database.close()
            msg = f"it was written by another version (schema {version}, not {SCHEMA_VERSION}); give a new file"
            raise StoreError(msg)
        return database

    async def _within(self, work: Callable[[], T], *, transaction: bool = True) -> T:
        """Do `work` in the store's thread, as one transaction. Raises StoreError."""

        def whole() -> T:
            if not transaction:
                return work()
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
        except sqlite3.Error as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> StoreError:
        return StoreError(f"{self._path}: {error}")
