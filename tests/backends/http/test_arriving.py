"""Upstreams that fall silent: before the first piece, between pieces, and those that only seem silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from backends.http.arriving import READ_AHEAD, Answer
from backends.http.connection import Connection
from backends.http.transport import HttpTransport, TransportError

from .scripts import outgoing, scripted, send

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SHORT, LONG = 0.05, 30.0


async def received(transport: HttpTransport, url: str, first_byte: float, between: float) -> list[bytes]:
    """The pieces that came; raises what ended them."""
    request = replace(outgoing(url), first_byte=first_byte, between_chunks=between)
    answer = await send(transport, request)
    try:
        return [piece async for piece in answer.chunks()]
    finally:
        await answer.aclose()


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", HEAD], ids=["nothing", "half a head", "a head"])
async def test_a_first_piece_that_does_not_come_ends_the_wait(said: bytes, transport: HttpTransport) -> None:
    """A head is no answer yet: engines send it long before the first token."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await reader.read()
        await reader.read()

    async with scripted(script) as url:
        with pytest.raises(TransportError, match="silent for too long") as caught:
            await received(transport, url, SHORT, LONG)
    assert caught.value.timed_out
    assert caught.value.facts.retry_safe is None


async def test_a_stream_that_stops_between_pieces_ends_the_wait(transport: HttpTransport) -> None:
    """What had come is handed on, and then the silence is told."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"2\r\nok\r\n")
        await reader.read()
        await reader.read()

    async with scripted(script) as url:
        answer = await send(transport, replace(outgoing(url), first_byte=LONG, between_chunks=SHORT))
        pieces = answer.chunks()
        assert await anext(pieces) == b"ok"
        with pytest.raises(TransportError, match="silent for too long"):
            await anext(pieces)
        await answer.aclose()


class ByHand:
    """A loop's clock that stands until it is moved, and one timer that fires then."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: float | None = None
        self._look: Callable[[], None] | None = None
        self._soon: list[Callable[[], None]] = []

    def time(self) -> float:
        return self.now

    def create_future(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def call_at(self, due: float, look: Callable[[], None]) -> ByHand:
        self.due, self._look = due, look
        return self

    def cancel(self) -> None:
        self.due = self._look = None

    def call_soon(self, call: Callable[..., None], *given: object) -> None:
        self._soon.append(lambda: call(*given))

    def turn(self) -> None:
        """What is to be called soon is called."""
        calls, self._soon = self._soon, []
        for call in calls:
            call()

    def fire(self) -> None:
        """The timer fires."""
        assert self._look is not None
        look = self._look
        self.cancel()
        look()

    def pass_on(self, seconds: float) -> None:
        """Let `seconds` pass; the timer fires at its moment."""
        end = self.now + seconds
        while self.due is not None and self.due <= end:
            self.now = self.due
            self.fire()
            while self._soon:
                self.turn()
        self.now = end


class Socket(asyncio.Transport):
    """Takes what is written, and remembers what else was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nobody is there to read it."""

    def pause_reading(self) -> None:
        self.done.append("pause")

    def resume_reading(self) -> None:
        self.done.append("resume")

    def abort(self) -> None:
        self.done.append("abort")


def asked_by_hand() -> tuple[ByHand, Socket, Connection, Answer]:
    """A request on a connection without a network, whose upstream may be silent for ten seconds."""
    clock, socket = ByHand(), Socket()
    connection = Connection(cast("asyncio.AbstractEventLoop", clock), lambda _: None)
    connection.connection_made(socket)
    answer = connection.send(b"GET / HTTP/1.1\r\n\r\n", deadline=1000.0, first_byte=10.0, between=10.0)
    return clock, socket, connection, answer


async def test_a_trickle_that_is_quick_enough_is_let_through() -> None:
    """Each piece gives the next one the whole wait again, so a long answer is not cut off."""
    clock, socket, connection, answer = asked_by_hand()
    connection.data_received(HEAD)
    for _ in range(6):
        clock.pass_on(9)
        connection.data_received(b"2\r\nok\r\n")
        assert await answer.piece() == b"ok"
    assert socket.done == []
    clock.pass_on(10)
    assert socket.done == ["abort"]


async def test_what_came_while_the_loop_stood_still_is_read_before_anybody_is_called_silent() -> None:
    """uvloop's timers fire before sockets are read; an upstream is not blamed for a loop that did something else."""
    clock, socket, connection, answer = asked_by_hand()
    clock.now += 60
    clock.fire()
    clock.turn()
    connection.data_received(HEAD + b"2\r\nok\r\n")
    clock.turn()
    assert socket.done == []
    assert await answer.piece() == b"ok"
    clock.pass_on(10)
    assert socket.done == ["abort"]


async def test_a_reader_that_is_behind_is_not_an_upstream_that_is_silent() -> None:
    """While what has come waits for its reader nothing more is read, so nothing is known of the other side."""
    clock, socket, connection, answer = asked_by_hand()
    size = READ_AHEAD + 1
    connection.data_received(HEAD + b"%x\r\n" % size + b"x" * size)
    assert socket.done == ["pause"]
    clock.pass_on(39)  # a look was at 30, so the next one is a second from here
    assert len(await answer.piece()) == size
    clock.pass_on(9)
    assert socket.done == ["pause", "resume"]
    connection.data_received(b"\r\n2\r\nok\r\n")
    assert await answer.piece() == b"ok"
    clock.pass_on(10)
    assert socket.done == ["pause", "resume", "abort"]
    with pytest.raises(TransportError, match="silent for too long"):
        await answer.piece()


async def test_what_comes_behind_the_body_is_no_field_of_the_head(transport: HttpTransport) -> None:
    """A trailer decides nothing: not what an error is, and so not whether a request is sent again."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"2\r\nok\r\n0\r\nx-amzn-ErrorType: ThrottlingException\r\n\r\n")
        await reader.read()

    async with scripted(script) as url:
        answer = await send(transport, outgoing(url))
        assert await answer.read(100) == b"ok"
        assert answer.headers == (("Transfer-Encoding", "chunked"),)
        await answer.aclose()
