"""Shared state in Valkey: what is only the server's; the contract is in test_store.py."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from redis import Redis

from backends.state import Item, StoreError
from backends.state.valkey import ValkeyStore
from tests.stores import Valkey, valkey


@pytest.fixture
def server() -> Iterator[Valkey]:
    with valkey() as started:
        yield started


async def test_server_that_goes_and_comes_back(server: Valkey) -> None:
    """While it is away every call is StoreError that names it; once it is back the same store works again."""
    store = ValkeyStore(server.url, "fleet")
    assert await store.swap("migrations", "x", b"one", 0)
    server.stop()
    for _ in range(2):
        with pytest.raises(StoreError, match=rf"127\.0\.0\.1:{server.port}"):
            await store.items("migrations")
    server.start()
    assert await store.items("migrations") == {}
    assert await store.swap("migrations", "x", b"two", 0)
    assert await store.items("migrations") == {"x": Item(1, b"two")}
    await store.aclose()


async def test_server_that_answers_nothing() -> None:
    """A call ends after `PATIENCE` with an error; nobody waits for ever for a server that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = ValkeyStore(f"redis://127.0.0.1:{port}", "fleet", patience=0.05)
        with pytest.raises(StoreError, match=f"{port}: .+"):
            await store.items("migrations")
        await store.aclose()


async def test_server_that_was_never_there() -> None:
    """A proxy starts all the same: only the first call says so."""
    store = ValkeyStore("redis://127.0.0.1:1", "fleet")
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1"):
        await store.items("migrations")
    await store.aclose()


class Name:
    """A name that leads to one server or another, as that of a managed primary does: who is connected stays there."""

    def __init__(self, server: Valkey) -> None:
        self.server = server
        self.url = ""
        self._lines = set[asyncio.Task[None]]()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Name]:
        listener = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            listener.close()
            await asyncio.gather(*self._lines)

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, away = await asyncio.open_connection("127.0.0.1", self.server.port)
        lines = [asyncio.ensure_future(_passed(reader, away)), asyncio.ensure_future(_passed(there, writer))]
        self._lines.update(lines)
        await asyncio.gather(*lines)


async def _passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65_536):
        writer.write(piece)
    writer.close()


async def test_after_a_failover_the_new_primary_is_asked(server: Valkey) -> None:
    """The old one is a replica now and keeps its connections: one call is refused, the next finds who took over."""
    with valkey() as successor:
        async with Name(server).listening() as name:
            store = ValkeyStore(name.url, "fleet")
            assert await store.take("warmer", "a", 100.0, 15.0) is not None
            name.server = successor
            server.tell("REPLICAOF 127.0.0.1 1")  # where nobody is: a replica all the same, that copies nothing
            with pytest.raises(StoreError, match="is a replica that takes no writes"):
                await store.take("warmer", "a", 105.0, 15.0)
            assert await store.take("warmer", "a", 110.0, 15.0) is not None
            await store.aclose()


async def test_prefixes_are_apart(server: Valkey) -> None:
    """Two fleets on one server do not see each other."""
    one, two = ValkeyStore(server.url, "one"), ValkeyStore(server.url, "two")
    await one.put("audit", "a", b"")
    assert await two.items("audit") == {}
    await one.aclose()
    await two.aclose()


async def test_password_is_in_no_message() -> None:
    """Not even when the server refuses it."""
    with valkey("--requirepass", "right") as locked:
        store = ValkeyStore(locked.url.replace("//", "//:wrong@"), "fleet")
        with pytest.raises(StoreError, match=r"WRONGPASS|password") as refused:
            await store.items("migrations")
        assert "wrong@" not in str(refused.value)
        await store.aclose()
        store = ValkeyStore(locked.url.replace("//", "//:right@"), "fleet")
        assert await store.items("migrations") == {}
        await store.aclose()


async def test_what_others_have_written_there(server: Valkey) -> None:
    """An item that is none of ours is StoreError that names its group."""
    store, other = ValkeyStore(server.url, "fleet"), Redis.from_url(server.url)
    await store.put("uses", "x", b"one")
    other.hset("fleet:items:uses", "y", "garbage")
    with pytest.raises(StoreError, match="what is in items:uses was not written by pointsman"):
        await store.items("uses")
    other.close()
    await store.aclose()
