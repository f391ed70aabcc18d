"""The edge on real sockets: limits, budget, drain, clients that leave, and bytes that are no HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from backends.http.edge import (
    Answer,
    BodyTooLarge,
    BodyTooSlow,
    BudgetSpent,
    ByteBudget,
    Exchange,
    Listener,
)

OPEN = b"POST /a%20b?x HTTP/1.1\r\nHost: h\r\n"
POST = OPEN + b"Connection: close\r\n"


def malformed(status: int, what: str) -> Answer:
    return Answer(status, (("X-What", what),), b"typed")


@asynccontextmanager
async def listening(
    handler: Callable[[Exchange], Awaitable[None]], budget: ByteBudget | None = None, drain: float = 5.0
) -> AsyncIterator[tuple[int, Listener]]:
    listener = Listener(handler, malformed, budget or ByteBudget(1 << 20), drain=drain)
    port = await listener.start("127.0.0.1", 0)
    try:
        yield port, listener
    finally:
        await listener.stop()


async def talk(port: int, *pieces: bytes) -> bytes:
    """Send raw bytes and return all that comes back until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    try:
        return await reader.read()
    finally:
        writer.close()
        await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def deadline(seconds: float = 60.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def echo(exchange: Exchange) -> None:
    body = await exchange.read_body(1 << 16, deadline())
    await exchange.reply(Answer(200, (("X-Path", exchange.raw_path),), body))


async def test_a_request_reaches_the_handler_as_it_was_sent() -> None:
    """Path, query, header case and opaque header bytes arrive unchanged, and so does the body."""
    seen: list[Exchange] = []

    async def handler(exchange: Exchange) -> None:
        seen.append(exchange)
        await echo(exchange)

    async with listening(handler) as (port, _):
        answer = await talk(port, POST, b"X-MiXed: \xc3\xa9\xff\r\nX-Empty:\r\nContent-Length: 3\r\n\r\n\x00\xffz")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n\x00\xffz")
    assert seen[0].raw_path == "/a%20b?x"
    assert ("X-MiXed", b"\xc3\xa9\xff".decode("utf-8", "surrogateescape")) in seen[0].headers
    assert ("X-Empty", "") in seen[0].headers


async def test_the_server_does_not_name_its_insides() -> None:
    """Neither aiohttp nor Python nor a version is in the answer's head."""
    async with listening(echo) as (port, _):
        answer = await talk(port, POST, b"Content-Length: 0\r\n\r\n")
    assert b"Server: pointsman\r\n" in answer
    assert b"aiohttp" not in answer


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"Content-Length: 70000\r\n\r\n", id="declared"),
        pytest.param(b"Content-Length: " + b"0" * 5000 + b"70000\r\n\r\n", id="declared at length"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n11170\r\n" + b"x" * 70000 + b"\r\n0\r\n\r\n", id="chunked"),
    ],
)
async def test_a_body_over_the_limit_is_refused(sent: bytes) -> None:
    """BodyTooLarge comes from the declared length before a byte is read, or from the count where none is declared."""
    refused: list[int] = []

    async def handler(exchange: Exchange) -> None:
        try:
            await exchange.read_body(1 << 16, deadline())
        except BodyTooLarge as error:
            refused.append(error.limit)
        await exchange.reply(Answer(413, (), b""))

    async with listening(handler) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + sent)
        answer = await reader.readline()
        writer.close()
        await closed(writer)
    assert answer.startswith(b"HTTP/1.1 413")
    assert refused == [1 << 16]


async def test_a_body_that_is_only_declared_keeps_nobody_out() -> None:
    """What has not come is not held: the budget is taken as bytes arrive, and asked before the first of them."""
    budget, asked = ByteBudget(100), asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        asked.set()
        try:
            body = await exchange.read_body(1000, deadline())
        except BudgetSpent:
            body = b"spent"
        await exchange.reply(Answer(200, (), body))

    async with listening(handler, budget) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Content-Length: 90\r\n\r\n")
        await asked.wait()
        assert (await talk(port, POST + b"Content-Length: 80\r\n\r\n" + b"x" * 80)).endswith(b"x" * 80)
        other, declaring = await asyncio.open_connection("127.0.0.1", port)
        declaring.write(POST + b"Content-Length: 101\r\n\r\n")
        await other.readuntil(b"spent")
        declaring.close()
        writer.write(b"y" * 60)
        async with asyncio.timeout(20):  # for them to arrive: then there is room for 40 and no more
            while not (await talk(port, POST + b"Content-Length: 41\r\n\r\n" + b"x" * 41)).endswith(b"spent"):
                pass
        assert (await talk(port, POST + b"Content-Length: 40\r\n\r\n" + b"x" * 40)).endswith(b"x" * 40)
        writer.write(b"y" * 30)
        assert (await reader.readuntil(b"y" * 90)).startswith(b"HTTP/1.1 200")
        writer.close()
        await closed(writer)


@pytest.mark.parametrize("framing", ["declared", "chunked"])
async def test_the_budget_binds_all_requests_together_and_is_given_back(framing: str) -> None:
    """While one body fills the budget another is refused; once it is answered there is room again."""
    budget = ByteBudget(100)
    refusals = 0
    hold, held = asyncio.Event(), asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        nonlocal refusals
        try:
            await exchange.read_body(1000, deadline())
        except BudgetSpent:
            refusals += 1
        else:
            held.set()
            await hold.wait()
        await exchange.reply(Answer(200, (), b""))

    if framing == "declared":
        request = POST + b"Content-Length: 80\r\n\r\n" + b"x" * 80
    else:
        request = POST + b"Transfer-Encoding: chunked\r\n\r\n50\r\n" + b"x" * 80 + b"\r\n0\r\n\r\n"
    async with listening(handler, budget) as (port, _), asyncio.TaskGroup() as group:
        group.create_task(talk(port, request))
        await held.wait()
        await talk(port, request)
        assert (refusals, budget.used) == (1, 80)
        hold.set()
    assert budget.used == 0


async def test_a_body_that_does_not_arrive_ends_at_the_deadline() -> None:
    """A client that promises bytes and sends none holds a request no longer than its deadline."""
    gone = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        try:
            await exchange.read_body(1000, deadline(0.05))
        except BodyTooSlow:
            gone.set()
            raise

    async with listening(handler) as (port, _):
        answer = await talk(port, POST, b"Content-Length: 10\r\n\r\nhalf")
    assert gone.is_set()
    assert answer == b""


async def test_a_body_that_is_too_slow_may_be_told_so_and_its_connection_ends() -> None:
    """The answer says that it is the last, and what comes later of the body is no request."""

    async def handler(exchange: Exchange) -> None:
        try:
            await exchange.read_body(1000, deadline(0.05))
        except BodyTooSlow:
            await exchange.reply(Answer(408, (), b"late"))

    async with listening(handler) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Content-Length: 100\r\n\r\nhalf")
        said = await reader.readuntil(b"late")
        writer.write(b"x" * 96 + POST + b"Content-Length: 0\r\n\r\n")
        rest = await reader.read()
        writer.close()
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in said
    assert rest == b""


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage\r\n\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        POST + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST.replace(b"HTTP/1.1", b"HTTP/2.0") + b"Content-Length: 0\r\n\r\n",
        POST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /\r\n\r\n",
        POST + b"Transfer-Encoding:\r\nContent-Length: 4\r\n\r\nbody",
        POST + b"Transfer-Encoding: \r\n\r\n",
        POST.replace(b"Host: h", b"Host: h h") + b"Content-Length: 0\r\n\r\n",
        POST.replace(b"Host: h", b"Host: h h") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST.replace(b"Host: h", b"Host: a,h") + b"Content-Length: 0\r\n\r\n",
        POST.replace(b"Host: h", b"Host: [::1") + b"Content-Length: 0\r\n\r\n",
        POST.replace(b"Host: h", b"Host: " + b"h" * 256) + b"Content-Length: 0\r\n\r\n",
    ],
)
async def test_what_the_parser_refuses_gets_the_contracts_own_error(garbage: bytes) -> None:
    """The typed answer is sent, the connection closed, and the offending bytes are not repeated."""
    async with listening(echo) as (port, _):
        answer = await talk(port, garbage)
    assert b" 400 " in answer.split(b"\r\n", 1)[0]
    assert b"X-What: " in answer
    assert b"Connection: close" in answer or answer.startswith(b"HTTP/1.0")
    assert answer.endswith(b"typed")
    assert (b"X-What: BadHost" in answer) == (b"Host: h\r\n" not in garbage and b"Host" in garbage)


async def test_an_http2_preface_is_closed_cleanly() -> None:
    """A client that assumes HTTP/2 over plain text is told to use HTTP/1.1, and does not hang."""
    async with listening(echo) as (port, _):
        answer = await talk(port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
    assert answer[3:4] == b"\x04", "SETTINGS comes first"
    assert answer[12:13] == b"\x07", "then GOAWAY"
    assert answer[-4:] == b"\x00\x00\x00\x0d", "HTTP_1_1_REQUIRED"


async def test_a_client_that_leaves_cancels_the_handler() -> None:
    """Closing the connection ends the work for it at once."""
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.read_body(10, deadline())
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with listening(handler) as (port, listener):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Content-Length: 0\r\n\r\n")
        await begun.wait()
        writer.close()
        await closed(writer)
        await cancelled.wait()
        assert listener.in_flight == 0


async def test_a_slow_reader_holds_back_the_writer() -> None:
    """Writes stop after a bounded number of bytes when the client does not read, and go on when it does."""
    written = 0
    stalled = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        nonlocal written
        await exchange.read_body(10, deadline())
        exchange.start(200, "")
        for _ in range(400):
            loop = asyncio.get_running_loop()
            alarm = loop.call_later(0.2, stalled.set)
            if exchange.put(b"x" * 65536):
                await exchange.drained()
            alarm.cancel()
            written += 1
        if exchange.finish():
            await exchange.drained()

    async with listening(handler) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(POST + b"Content-Length: 0\r\n\r\n")
        await stalled.wait()
        assert written < 300, "what waits is the kernel's socket buffers and one stated buffer"
        while await reader.read(1 << 20):
            pass
        writer.close()
        await closed(writer)
    assert written == 400


async def test_stopping_lets_requests_in_flight_finish() -> None:
    """A drain answers what has begun and refuses new connections."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        begun.set()
        await go_on.wait()
        await echo(exchange)

    listener = Listener(handler, malformed, ByteBudget(1000), drain=5.0)
    port = await listener.start("127.0.0.1", 0)
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(talk(port, POST + b"Content-Length: 2\r\n\r\nhi"))
        await begun.wait()
        stopping = group.create_task(listener.stop())
        await asyncio.sleep(0)
        go_on.set()
        await stopping
    assert answer.result().endswith(b"hi")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_handler_that_fails_gets_a_typed_answer() -> None:
    """A bug in a handler is a 500 in the contract's words, not a silent close."""

    async def handler(exchange: Exchange) -> None:
        raise ZeroDivisionError

    async with listening(handler) as (port, _):
        answer = await talk(port, POST + b"Content-Length: 0\r\n\r\n")
    assert b" 500 " in answer.split(b"\r\n", 1)[0]
    assert answer.endswith(b"typed")


async def test_an_aborted_stream_is_not_a_clean_end() -> None:
    """After abort the client sees a broken chunked body."""

    async def handler(exchange: Exchange) -> None:
        await exchange.read_body(10, deadline())
        exchange.start(200, "")
        if exchange.put(b"part"):
            await exchange.drained()
        exchange.abort()

    async with listening(handler) as (port, _):
        try:
            answer = await talk(port, POST + b"Content-Length: 0\r\n\r\n")
        except ConnectionResetError:
            answer = b""
    assert not answer.endswith(b"0\r\n\r\n")


async def test_a_port_in_use_is_an_oserror_and_leaves_nothing_behind() -> None:
    """The second listener on a port fails at once; the first goes on."""
    async with listening(echo) as (port, _):
        second = Listener(echo, malformed, ByteBudget(1000))
        with pytest.raises(OSError, match="Address already in use"):
            await second.start("127.0.0.1", port)
        assert (await talk(port, POST + b"Content-Length: 2\r\n\r\nhi")).endswith(b"hi")
