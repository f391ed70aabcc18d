"""One connection to an upstream: what ends an answer, what bounds it, and when the connection is used again."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from backends.http.arriving import READ_AHEAD, Answer
from backends.http.connection import AT_ONCE, FIELD_LIMIT, HEAD_LIMIT, UNREAD, Connection
from backends.http.transport import HttpTransport, Outgoing, TransportError

from .scripts import answering, close_after_request, outgoing, read, scripted, send

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"ok", id="interim"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end", id="until close"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n", b"", id="empty until close"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", id="no content"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", b"ok", id="trailer"
        ),
        pytest.param(CHUNKED.replace(b"chunked", b"Chunked") + b"2\r\nok\r\n0\r\n\r\n", b"ok", id="in other words"),
        pytest.param(CHUNKED.replace(b"chunked", b"\tchunked  ") + b"0\r\n\r\n", b"", id="space around a value"),
    ],
)
async def test_an_answer_ends_where_http_says(answer: bytes, body: bytes, transport: HttpTransport) -> None:
    """By its length, its last chunk, its status, or the connection's end; interim answers are passed over."""
    async with scripted(answering(answer)) as url:
        assert await read(transport, outgoing(url)) == body


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"a" * (HEAD_LIMIT + 1), id="one endless field"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (FIELD_LIMIT + 1) + b"\r\n", id="too many fields"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", id="two lengths"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", id="length and chunks"
        ),
        pytest.param(
            CHUNKED.replace(b"chunked", b"gzip, chunked") + b"2\r\nok\r\n0\r\n\r\n", id="a coding beside chunks"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", id="a coding without chunks"),
        pytest.param(CHUNKED.replace(b"chunked", b"chunked\t") + b"0\r\n\r\n", id="a tab behind a coding"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", id="negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", id="space in a name"),
    ],
)
async def test_what_is_not_strict_http_is_refused(answer: bytes, transport: HttpTransport) -> None:
    """Leniency here is how answers of one client reach another; the limits bound what a head may cost."""
    async with scripted(answering(answer)) as url:
        with pytest.raises(TransportError) as caught:
            await read(transport, outgoing(url))
    assert caught.value.facts.retry_safe is None


@pytest.mark.parametrize("status", [b"000", b"099"])
async def test_an_answer_without_a_status_is_not_waited_for(status: bytes, transport: HttpTransport) -> None:
    """It is no interim answer, behind which the real one would come."""
    async with scripted(answering(b"HTTP/1.1 " + status + b" Nothing\r\nContent-Length: 2\r\n\r\nok")) as url:
        with pytest.raises(TransportError) as caught:
            await read(transport, outgoing(url))
    assert caught.value.cause == "the answer is not valid HTTP/1.1"


@pytest.mark.parametrize("begun", [b"2\r\nok\r\n0\r\nX: ", b"2;x="], ids=["trailer", "words about a chunk"])
async def test_what_stands_between_and_behind_chunks_is_bounded(begun: bytes, transport: HttpTransport) -> None:
    """As a head is: nobody waits for its end, or keeps what has no use."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(CHUNKED + begun)(reader, writer)
        while True:
            writer.write(b"a" * 10_000)
            await writer.drain()

    async with scripted(endless) as url:
        with pytest.raises(TransportError, match="is longer than") as caught:
            await read(transport, outgoing(url))
    assert caught.value.facts.retry_safe is None


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK + OK, id="bytes after the answer"),
        pytest.param(OK.replace(b"Content", b"Connection: close\r\nContent"), id="connection: close"),
        pytest.param(OK.replace(b"1.1", b"1.0"), id="HTTP/1.0"),
        pytest.param(
            CHUNKED.replace(b"1.1", b"1.0").replace(b"Tr", b"Connection: keep-alive\r\nTr") + b"2\r\nok\r\n0\r\n\r\n",
            id="chunks of HTTP/1.0",
        ),
    ],
)
async def test_a_connection_in_doubt_is_not_used_again(answer: bytes, transport: HttpTransport) -> None:
    """The next request gets a connection of its own, and so its own answer."""
    connections = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answering(answer)(reader, writer)
        await reader.read()

    async with scripted(script) as url:
        for _ in range(2):
            assert await read(transport, outgoing(url)) == b"ok"
    assert connections == 2


async def test_a_connection_whose_request_is_not_out_yet_is_not_used_again(transport: HttpTransport) -> None:
    """An answer that comes early is taken; what would have to queue behind the rest of its request goes elsewhere."""
    connections = 0

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.read()

    async with scripted(early) as url:
        for _ in range(2):
            assert await read(transport, outgoing(url, b"x" * 20_000_000)) == b"ok"
    assert connections == 2


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\n\r\nok", b""], ids=["an answer", "none"])
async def test_an_end_counts_though_the_request_is_not_out(answer: bytes, transport: HttpTransport) -> None:
    """Who says no more and takes no more keeps the connection: what was said is the answer, and nothing is none."""
    over = asyncio.Event()

    async def ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is one that can
        writer.write(answer)
        writer.write_eof()
        await over.wait()

    async with scripted(ends) as url, asyncio.timeout(60):
        asking = read(transport, outgoing(url, b"x" * 20_000_000))
        if answer:
            assert await asking == b"ok"
        else:
            with pytest.raises(TransportError, match="broke before the answer began"):
                await asking
        over.set()


async def test_what_stands_behind_a_value_is_none_of_it(transport: HttpTransport) -> None:
    """A type is looked up as it is meant, whatever spaces a server leaves behind it."""
    async with scripted(answering(OK.replace(b"Content", b"X-Type: Throttling  \r\nContent"))) as url:
        answer = await send(transport, outgoing(url))
        assert answer.header("x-type") == "Throttling"
        await answer.aclose()


async def test_an_idle_connection_that_ended_is_not_used_again(transport: HttpTransport) -> None:
    """A server that closes between two requests costs a new connection, not a lost request."""
    connections = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answering(OK)(reader, writer)

    async with scripted(once) as url:
        assert await read(transport, outgoing(url)) == b"ok"
        async with asyncio.timeout(60):
            while not all(connection.closed for connection in transport._made):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
        assert await read(transport, outgoing(url)) == b"ok"
    assert connections == 2


async def test_an_idle_connection_is_closed_in_time() -> None:
    """The pool lets go before common servers do."""
    transport = HttpTransport(keepalive=0.05)
    ended = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(OK)(reader, writer)
        assert await reader.read() == b""
        ended.set()

    async with scripted(script) as url:
        assert await read(transport, outgoing(url)) == b"ok"
        await ended.wait()
    await transport.aclose()


async def test_a_slow_reader_bounds_what_is_read_ahead(transport: HttpTransport) -> None:
    """The upstream is held back by the sockets' buffers and READ_AHEAD, and goes on when the reader does."""
    sent = 0
    stalled = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await close_after_request(reader, writer)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 33554432\r\n\r\n")
        loop = asyncio.get_running_loop()
        for _ in range(512):
            writer.write(b"x" * 65536)
            alarm = loop.call_later(0.2, stalled.set)
            await writer.drain()
            alarm.cancel()
            sent += 65536

    async with scripted(flood) as url:
        answer = await send(transport, outgoing(url))
        await stalled.wait()
        assert isinstance(answer, Answer)
        held = answer._waiting_bytes
        assert held <= READ_AHEAD + 256 * 1024, "one read of the socket may pass the mark"
        assert sent < 33554432
        assert sum([len(piece) async for piece in answer.chunks()]) == 33554432
        await answer.aclose()


@pytest.mark.parametrize("value", ["a\r\nInjected: b", "a\nb", "a\rb", "a\0b"])
async def test_a_field_can_not_smuggle_another(value: str, transport: HttpTransport) -> None:
    """A line break in a value is refused before anything is sent."""
    seen: list[bytes] = []
    async with scripted(answering(OK, seen)) as url:
        with pytest.raises(TransportError, match="line break") as caught:
            await send(transport, Outgoing("POST", url, (("X", value),), b""))
    assert (seen, caught.value.sent) == ([], False)


@pytest.mark.parametrize("url", ["ftp://h/", "nonsense", "http://"])
async def test_an_address_that_is_none_is_refused(url: str, transport: HttpTransport) -> None:
    """Nothing is sent, and the cause says what is wrong."""
    with pytest.raises(TransportError, match="not an http or https address"):
        await send(transport, Outgoing("POST", url, (), b""))


@pytest.mark.parametrize("size", [0, 2, READ_AHEAD + 1])
async def test_a_connection_whose_answer_was_taken_at_once_reads_the_next(size: int, transport: HttpTransport) -> None:
    """Also after one that was long enough to hold the sender back: the same connection, and its answer arrives."""
    ports: list[object] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for body in (b"x" * size, b"ok"):
            await reader.readuntil(b"\r\n\r\n")
            ports.append(writer.get_extra_info("peername"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with scripted(script) as url, asyncio.timeout(60):
        incoming = await send(transport, outgoing(url))
        while (body := incoming.at_hand(1 << 30)) is None:  # noqa: ASYNC110 - nothing tells that it has arrived
            await asyncio.sleep(0)
        assert body == b"x" * size
        assert await read(transport, outgoing(url)) == b"ok"
    assert len(ports) == 2
    assert len(set(ports)) == 1


async def test_an_answer_that_was_released_is_given_nothing_of_the_next_one(transport: HttpTransport) -> None:
    """Both come over one connection, and what a careless reader asks of the first is not the second's body."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none", OK):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            writer.write(answer)

    async with scripted(script) as url:
        first = await send(transport, outgoing(url))
        assert await first.read(100) == b"one"
        await first.aclose()
        second = await send(transport, outgoing(url))
        assert await first.piece() == b""
        assert await second.read(100) == b"ok"
        await second.aclose()


async def test_what_came_before_a_break_of_the_framing_is_read_first(transport: HttpTransport) -> None:
    """Pieces and garbage that arrive together: the pieces are handed on, and then the failure."""
    async with scripted(answering(CHUNKED + b"2\r\nok\r\nzz\r\n")) as url:
        answer = await send(transport, outgoing(url))
        assert await answer.piece() == b"ok"
        with pytest.raises(TransportError, match="not valid HTTP"):
            await answer.piece()
        await answer.aclose()


async def test_the_kernel_keeps_little_of_an_answer_that_is_not_read() -> None:
    """It would keep megabytes, for each client that is slow; it counts what it is told twice (socket(7))."""
    loop = asyncio.get_running_loop()
    async with scripted(answering(OK)) as url:
        port = int(url.rsplit(":", 1)[1].rstrip("/"))
        _, made = await loop.create_connection(lambda: Connection(loop, lambda _: None), "127.0.0.1", port)
        with socket.socket(fileno=os.dup(made.fileno())) as same:
            assert same.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 2 * UNREAD
        made.abort()


async def test_who_waits_for_the_end_is_told_of_it_when_garbage_comes_with_it(transport: HttpTransport) -> None:
    """The last chunk and bytes that nobody asked for in one read: the answer is whole, and its connection is closed."""
    head_read = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(CHUNKED)(reader, writer)
        await head_read.wait()
        writer.write(b"0\r\n\r\nHTTP/1.1 200 OK\r\n")
        assert await reader.read() == b""

    async with scripted(script) as url, asyncio.timeout(60):
        answer = await send(transport, outgoing(url))
        waiting = asyncio.create_task(answer.read(100))
        await asyncio.sleep(0)
        head_read.set()
        assert await waiting == b""
        await answer.aclose()


GOOD_BYE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"


@pytest.mark.parametrize(
    ("idle", "answer", "taken"),
    [
        pytest.param(0.0, GOOD_BYE, False, id="the end of a connection that was idle"),
        pytest.param(0.0, GOOD_BYE.replace(b"close", b"keep-alive"), True, id="which goes on"),
        pytest.param(0.0, GOOD_BYE.replace(b"408", b"503"), True, id="another status"),
        pytest.param(AT_ONCE + 1, GOOD_BYE, True, id="after so long that something may have run"),
        pytest.param(None, GOOD_BYE, True, id="of a connection that is new"),
    ],
)
async def test_a_408_that_ends_an_idle_connection_answers_nothing(
    idle: float | None, answer: bytes, taken: bool
) -> None:
    """It says that no request came for too long, though one was on its way, which has then surely not run."""
    loop = asyncio.get_running_loop()

    def freed(connection: Connection) -> None:
        connection.idle_since = loop.time() - (idle or 0.0)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for said in [answer] if idle is None else [OK, answer]:
            await answering(said)(reader, writer)

    async with scripted(script) as url, asyncio.timeout(60):
        port = int(url.rsplit(":", 1)[1])
        _, made = await loop.create_connection(lambda: Connection(loop, freed), "127.0.0.1", port)
        asked = b"POST / HTTP/1.1\r\n\r\nhi"
        if idle is not None:
            before = made.send(asked, loop.time() + 60)
            assert await before.read(100) == b"ok"
            await before.aclose()
        arriving = made.send(asked, loop.time() + 60)
        if taken:
            await arriving.head
            assert (arriving.status, await arriving.read(100)) == (int(answer.split()[1]), b"no")
        else:
            with pytest.raises(TransportError, match="gave up waiting") as caught:
                await arriving.head
            assert (caught.value.sent, made.closed) == (False, True)
        arriving.free()
