"""Connections of clients when the listener stops: told to go, and not cut off; and what they read ahead.

Other limits: test_edge.py."""

from __future__ import annotations

import asyncio
import socket

import pytest

from backends.http.acceptor import Alone
from backends.http.edge import Answer, ByteBudget, Exchange, Listener
from backends.http.inbound import Handler, Server
from backends.http.limits import LIMITS


async def answer(exchange: Exchange) -> None:
    await exchange.reply(Answer(200, (), b"ok"))


def malformed(status: int, what: str) -> Answer:
    return Answer(status, (), what.encode())


REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


async def listened(drain: float) -> tuple[Listener, socket.socket, socket.socket]:
    """A listener over a socket that another holds as well."""
    held = socket.create_server(("127.0.0.1", 0))
    listener = Listener(answer, malformed, ByteBudget(1024), drain=drain)
    mine = held.dup()
    await listener.adopt([mine], Alone())
    return listener, held, mine


async def head(reader: asyncio.StreamReader) -> bytes:
    found = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(2)
    return found.lower()


async def test_a_kept_connection_gets_one_more_answer_that_says_it_is_the_last() -> None:
    """A client that sends its next request while the listener stops loses nothing, and goes elsewhere afterwards."""
    listener, held, _ = await listened(30.0)
    reader, writer = await asyncio.open_connection(*held.getsockname())
    writer.write(REQUEST)
    assert b"connection: close" not in await head(reader)
    stopping = asyncio.ensure_future(listener.stop())
    await asyncio.sleep(0)
    writer.write(REQUEST)
    assert b"connection: close" in await head(reader)
    assert await reader.read() == b""
    async with asyncio.timeout(15):  # it does not wait for longer than there are connections
        await stopping
    writer.close()
    held.close()


async def test_an_idle_connection_is_closed_in_the_end() -> None:
    """A client that keeps a connection and says nothing does not hold the process."""
    listener, held, mine = await listened(1.0)
    reader, writer = await asyncio.open_connection(*held.getsockname())
    writer.write(REQUEST)
    await head(reader)
    assert listener.connections == 1
    await listener.stop()
    assert await reader.read() == b""
    assert (listener.connections, mine.fileno()) == (0, -1)
    writer.close()
    held.close()


async def test_a_listener_without_connections_stops_at_once() -> None:
    """There is nobody to be polite to."""
    listener, held, _ = await listened(30.0)
    async with asyncio.timeout(15):
        await listener.stop()
    held.close()


async def test_stopping_answers_whoever_waits_in_the_queue() -> None:
    """A connection that nobody has accepted yet was let in by the system, and its request is on its way."""
    listener = Listener(answer, malformed, ByteBudget(1000), drain=5.0)
    port = await listener.start("127.0.0.1", 0)
    waiting = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(3)]
    for client in waiting:
        client.sendall(REQUEST)
    await listener.stop()
    for client in waiting:
        with client, client.makefile("rb") as said:
            assert said.read().endswith(b"ok")


async def test_an_aborted_answer_is_reset_where_its_end_would_be_the_connections() -> None:
    """HTTP/1.0 knows no chunks, so a client, or nginx as it is set up by default, takes a plain end for the body's."""

    async def breaks(exchange: Exchange) -> None:
        exchange.start(200, "")
        exchange.put(b"half of it")
        exchange.abort()

    listener = Listener(breaks, malformed, ByteBudget(1024), drain=1.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", await listener.start("127.0.0.1", 0))
    writer.write(REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"))
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    await listener.stop()


async def test_who_is_cut_off_at_the_end_is_told_so_and_its_time_is_given_once() -> None:
    """Without time to drain at once, and not after as much once more; its handler has a last word."""
    begun = asyncio.Event()

    async def never(exchange: Exchange) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert exchange.connected
            exchange.answer(503, "", b"cut off")
            raise

    listener = Listener(never, malformed, ByteBudget(1024), drain=0.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", await listener.start("127.0.0.1", 0))
    writer.write(REQUEST)
    await begun.wait()
    await listener.stop()
    assert (await reader.read()).endswith(b"\r\n\r\ncut off")
    writer.close()


async def stopped_within(
    stream: Handler, begun: asyncio.Event, drain: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, asyncio.Future[None]]:
    """A client whose stream has begun at a listener that is stopping since, and the end of that."""
    listener = Listener(stream, malformed, ByteBudget(1024), drain=drain)
    port = await listener.start("127.0.0.1", 0)
    idle, closing = await asyncio.open_connection("127.0.0.1", port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    await begun.wait()
    stopping = asyncio.ensure_future(listener.stop())
    assert await idle.read() == b""  # closed, as all that were idle
    closing.close()
    return reader, writer, stopping


@pytest.mark.parametrize("together", [True, False])
async def test_who_asks_after_a_stream_that_ended_while_the_listener_stops_is_answered(together: bool) -> None:
    """Its head had said nothing of an end: the next request may have come with the first, or be on its way."""
    begun, ends = asyncio.Event(), asyncio.Event()

    async def stream(exchange: Exchange) -> None:
        if begun.is_set():
            await answer(exchange)
            return
        begun.set()
        exchange.start(200, "")
        exchange.put(b"first")
        await ends.wait()
        exchange.put(b"last")
        exchange.finish()

    reader, writer, stopping = await stopped_within(stream, begun, drain=20.0)
    if together:
        writer.write(REQUEST)
    ends.set()
    assert b"connection: close" not in (await reader.readuntil(b"last\r\n0\r\n\r\n")).lower()
    if not together:
        writer.write(REQUEST)
    assert b"connection: close" in await head(reader)
    assert await reader.read() == b""
    await stopping
    writer.close()


async def test_a_client_that_asks_no_more_after_such_a_stream_does_not_hold_the_process() -> None:
    """Its connection is closed a moment later."""
    begun, ends = asyncio.Event(), asyncio.Event()

    async def stream(exchange: Exchange) -> None:
        begun.set()
        exchange.start(200, "")
        await ends.wait()
        exchange.put(b"last")
        exchange.finish()

    reader, writer, stopping = await stopped_within(stream, begun, drain=600.0)
    ends.set()
    async with asyncio.timeout(60):
        assert (await reader.read()).endswith(b"0\r\n\r\n")
        await stopping
    writer.close()


async def test_who_is_still_sending_when_the_listener_stops_is_answered() -> None:
    """Also after connections without a request were closed: an upload may take as long as the drain."""
    begun = asyncio.Event()

    async def echo(exchange: Exchange) -> None:
        begun.set()
        body = await exchange.read_body(1024, asyncio.get_running_loop().time() + 60.0)
        await exchange.reply(Answer(200, (), body))

    listener = Listener(echo, malformed, ByteBudget(1024), drain=9.0)
    port = await listener.start("127.0.0.1", 0)
    idle, closing = await asyncio.open_connection("127.0.0.1", port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nfirst")
    await begun.wait()
    stopping = asyncio.ensure_future(listener.stop())
    assert await idle.read() == b""
    writer.write(b" last")
    assert (await reader.read()).endswith(b"\r\n\r\nfirst last")
    await stopping
    closing.close()
    writer.close()


class Line(asyncio.Transport):
    """A transport that only remembers."""

    def __init__(self) -> None:
        super().__init__()
        self._reads = True
        self.written = b""
        self.answered = asyncio.Event()

    def pause_reading(self) -> None:
        self._reads = False

    def resume_reading(self) -> None:
        self._reads = True

    def is_reading(self) -> bool:
        return self._reads

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        self.answered.set()

    def close(self) -> None:
        """Nothing is to be closed."""


def upload(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size


async def test_bodies_are_read_ahead_within_bounds() -> None:
    """No budget knows of a body before its turn: beyond a few the connection is not read, until their turn comes."""
    held, begun = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def waits(exchange: Exchange) -> None:
        body = await exchange.read_body(200_000, asyncio.get_running_loop().time() + 60.0)
        begun.release()
        await held.acquire()
        await exchange.reply(Answer(200, (), b"%d" % len(body)))

    connection, line = Server(waits, malformed, ByteBudget(200_000), LIMITS)(), Line()
    connection.connection_made(line)
    connection.data_received(upload(1) + upload(30_000))
    await begun.acquire()
    connection.data_received(upload(30_000))
    assert line.is_reading()
    connection.data_received(upload(100_000)[:20_000])
    assert not line.is_reading()
    held.release()
    await begun.acquire()
    assert line.is_reading()  # 50,000 bytes wait now
    connection.data_received(upload(100_000)[20_000:])
    assert not line.is_reading()
    for _ in range(2):
        held.release()
        await begun.acquire()
    assert line.is_reading()
    held.release()
    while not line.written.endswith(b"\r\n\r\n100000"):
        line.answered.clear()
        await line.answered.wait()
    connection.connection_lost(None)
