"""How a streamed answer is begun: with what comes in the head's turn of the loop, in one write."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

import pytest
from aiohttp import HttpVersion11

from backends.http.edge import ByteBudget, ClientGone, Exchange
from backends.http.inbound import Connection

from .test_edge import POST, closed, listening


class Written(asyncio.Transport):
    """What was written, a write by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        """Nothing is held."""


class Stays:
    """A listener that does not stop."""

    leaving = False


class Listening:
    """As much of a connection as an `Exchange` writes through."""

    _paused = False
    door = Stays()

    def __init__(self) -> None:
        self.transport = Written()
        self._loop = asyncio.get_running_loop()


class Asked:
    """A request whose body is empty: its head and its payload."""

    method, path, version, should_close = "POST", "/", HttpVersion11, False
    headers: Mapping[str, str] = {}

    def is_eof(self) -> bool:
        return True


def recorded() -> tuple[Exchange, list[bytes]]:
    """An exchange, and what it writes."""
    connection, asked = Listening(), Asked()
    exchange = Exchange(cast(Connection, connection), asked, asked, ByteBudget(1), 0.0)
    return exchange, connection.transport.writes


async def test_what_a_stream_begins_with_is_one_write() -> None:
    """The head waits for what comes in its turn of the loop; what comes later is written as it comes."""
    exchange, writes = recorded()
    exchange.start(200, "")
    exchange.put(b"one")
    exchange.put(b"two")
    assert writes == []
    await asyncio.sleep(0)
    exchange.put(b"three")
    if exchange.finish():
        await exchange.drained()
    begun, *later = writes
    assert begun.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n")
    assert later == [b"5\r\nthree\r\n", b"0\r\n\r\n"]


async def test_who_has_the_first_pieces_need_not_wait_for_the_end_of_the_turn() -> None:
    """`uncork` writes head and pieces at once, and what it has written is not written again when the turn ends."""
    exchange, writes = recorded()
    exchange.start(200, "")
    exchange.put(b"one")
    exchange.uncork()
    assert len(writes) == 1
    assert writes[0].endswith(b"\r\n\r\n3\r\none\r\n")
    await asyncio.sleep(0)
    exchange.put(b"two")
    assert writes[1:] == [b"3\r\ntwo\r\n"]


async def test_a_stream_that_is_there_is_one_write_with_its_end() -> None:
    """Nothing of it is written again when the turn ends."""
    exchange, writes = recorded()
    exchange.start(200, "")
    exchange.put(b"all")
    if exchange.finish():
        await exchange.drained()
    await asyncio.sleep(0)
    assert [each.partition(b"\r\n\r\n")[2] for each in writes] == [b"3\r\nall\r\n0\r\n\r\n"]


@pytest.mark.parametrize(("size", "writes"), [(0, 1), (64 * 1024, 1), (64 * 1024 + 1, 2)])
async def test_a_whole_answer_is_its_head_and_its_body(size: int, writes: int) -> None:
    """However long; a short one goes out in one write."""
    exchange, written = recorded()
    exchange.answer(200, "X-Own: 1\r\n", b"x" * size)
    assert len(written) == writes
    head, _, body = b"".join(written).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nX-Own: 1\r\nContent-Length: %d\r\n" % size)
    assert body == b"x" * size


async def test_nothing_is_said_to_a_client_that_is_leaving() -> None:
    """Its connection is about to close: what is written there is lost, so that nobody may count it as answered."""
    exchange, written = recorded()
    transport = exchange._connection.transport
    assert isinstance(transport, Written)
    transport.closing = True
    for speak in (lambda: exchange.answer(200, "", b"x"), lambda: exchange.start(200, ""), exchange.finish):
        with pytest.raises(ClientGone):
            speak()
    assert (written, exchange.started) == ([], False)


async def test_what_waits_for_the_end_of_the_turn_is_bounded() -> None:
    """A long beginning is written at once: only so can it be seen that the client does not keep up."""
    exchange, writes = recorded()
    exchange.start(200, "")
    for _ in range(3):
        exchange.put(b"x" * 40_000)
    assert [len(each) > 80_000 for each in writes] == [True, False]


async def test_the_head_of_a_stream_does_not_wait_for_its_first_piece() -> None:
    """Clients see that they were heard, however long a model thinks."""
    seen = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, "")
        await seen.wait()
        if exchange.finish():
            await exchange.drained()

    async with listening(handler) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Content-Length: 0\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        seen.set()
        assert (await reader.read()).endswith(b"0\r\n\r\n")
        writer.close()
        await closed(writer)


async def test_a_stream_that_breaks_at_once_is_begun_and_broken() -> None:
    """What was said is sent: a client that saw nothing at all would take it for a connection that failed."""
    exchange, writes = recorded()
    exchange.start(200, "")
    exchange.put(b"half")
    exchange.abort()
    assert writes[0].endswith(b"\r\n\r\n4\r\nhalf\r\n")
