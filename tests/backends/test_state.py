"""The shared state: leases that one holder has, tokens that only grow, documents that a late holder can't overwrite."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.state import SqliteStore, Store, StoreError, open_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'state.db'}")
    yield opened
    await opened.aclose()


async def test_lease_has_one_holder(store: Store) -> None:
    """Another gets none while it lasts; its holder renews it under the same token."""
    first = await store.take("warmer", "a", 100.0, 15.0)
    assert first is not None
    assert (first.holder, first.expires) == ("a", 115.0)
    assert await store.take("warmer", "b", 114.9, 15.0) is None
    renewed = await store.take("warmer", "a", 110.0, 15.0)
    assert renewed is not None
    assert (renewed.token, renewed.expires) == (first.token, 125.0)


async def test_every_new_holder_has_a_higher_token(store: Store) -> None:
    """Also one that had it before and lost it, so that its late writes can be told apart."""
    tokens = []
    for turn, holder in enumerate(["a", "b", "a", "a"]):
        lease = await store.take("warmer", holder, turn * 15.0, 15.0)
        assert lease is not None
        tokens.append(lease.token)
    assert tokens == sorted(set(tokens))


async def test_released_lease_can_be_taken_at_once(store: Store) -> None:
    """A proxy that ends in good order leaves no gap; releasing what is another's has no effect."""
    first = await store.take("warmer", "a", 100.0, 15.0)
    assert first is not None
    await store.release(first)
    second = await store.take("warmer", "b", 100.1, 15.0)
    assert second is not None
    assert second.token > first.token
    await store.release(first)
    assert await store.take("warmer", "c", 100.2, 15.0) is None


async def test_leases_have_names(store: Store) -> None:
    """One duty says nothing about another."""
    assert await store.take("warmer", "a", 0.0, 15.0) is not None
    assert await store.take("migrations", "b", 0.0, 15.0) is not None


async def test_late_holder_can_not_overwrite_its_successor(store: Store) -> None:
    """Fencing: a write with an older token changes nothing."""
    assert await store.read("warm/x") is None
    assert await store.write("warm/x", b"one", 1)
    assert await store.write("warm/x", b"two", 2)
    assert not await store.write("warm/x", b"late", 1)
    assert await store.read("warm/x") == b"two"
    assert await store.write("warm/x", b"three", 2)
    assert await store.read("warm/x") == b"three"


async def test_two_processes_share_a_file(tmp_path: Path) -> None:
    """Of many who ask at the same time exactly one gets the lease, and what one writes the other reads."""
    stores = [open_store(f"sqlite:///{tmp_path / 'state.db'}") for _ in range(4)]
    taken = await asyncio.gather(*(one.take("warmer", str(index), 0.0, 15.0) for index, one in enumerate(stores)))
    assert sum(lease is not None for lease in taken) == 1
    await stores[0].write("d", b"v", 1)
    assert await stores[1].read("d") == b"v"
    for one in stores:
        await one.aclose()


@pytest.mark.parametrize(
    "url", ["redis://x", "sqlite://host/x", "sqlite:///", "state.db", "sqlite:///x?mode=ro", "sqlite:///x#y"]
)
def test_url_that_names_no_store(url: str) -> None:
    """The message shows how to write it."""
    with pytest.raises(ValueError, match="write sqlite:///"):
        open_store(url)


async def test_store_that_can_not_be_opened(tmp_path: Path) -> None:
    """A folder that is not there is StoreError, which names the file."""
    with pytest.raises(StoreError, match=r"missing/state\.db"):
        SqliteStore(tmp_path / "missing" / "state.db")


async def test_store_of_another_version(tmp_path: Path) -> None:
    """A file with another schema is refused, not guessed at."""
    path = tmp_path / "state.db"
    await SqliteStore(path).aclose()
    database = sqlite3.connect(path)
    database.execute("UPDATE schema_version SET version = 99")
    database.commit()
    database.close()
    with pytest.raises(StoreError, match="another version"):
        SqliteStore(path)


async def test_store_that_breaks_is_told(tmp_path: Path) -> None:
    """A file that loses its tables under a running process is StoreError for every operation, and closing works."""
    path = tmp_path / "state.db"
    store = SqliteStore(path)
    database = sqlite3.connect(path)
    database.executescript("DROP TABLE leases; DROP TABLE documents;")
    database.close()
    with pytest.raises(StoreError, match="no such table"):
        await store.take("warmer", "a", 0.0, 15.0)
    with pytest.raises(StoreError, match="no such table"):
        await store.read("d")
    with pytest.raises(StoreError, match="no such table"):
        await store.write("d", b"", 1)
    await store.aclose()
