"""What a hostile or broken client may take of the edge, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backends.http.edge import Answer, ByteBudget, ClientGone, Exchange, Listener
from backends.http.limits import LIMITS, BudgetSpent, Limits

HEAD = b"POST / HTTP/1.1\r\nHost: h\r\n"
WHOLE = HEAD + b"Content-Length: 2\r\n\r\nhi"
SHORT = Limits(head_time=0.15, idle_time=0.3, send_time=0.5, connections=2)


async def echo(exchange: Exchange) -> None:
    body = await exchange.read_body(1 << 16, asyncio.get_running_loop().time() + 60)
    await exchange.reply(Answer(200, (), body))


def malformed(status: int, what: str) -> Answer:
    return Answer(status, (("X-What", what),), b"typed")


@asynccontextmanager
async def listening(
    limits: Limits = SHORT,
    handler: Callable[[Exchange], Awaitable[None]] = echo,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    listener = Listener(handler, malformed, ByteBudget(1 << 20), drain=1.0, limits=limits)
    try:
        yield await listener.start("127.0.0.1", 0, tls)
    finally:
        await listener.stop()


class Client:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, sent: bytes = WHOLE) -> bytes:
        """The head of the answer to a whole request, whose two bytes of body are read as well."""
        self.writer.write(sent)
        head = await self.reader.readuntil(b"\r\n\r\n")
        await self.reader.readexactly(2)
        return head

    async def rest(self) -> bytes:
        """All that still comes until the other side closes, by a reset too."""
        got = b""
        with contextlib.suppress(ConnectionError):
            while piece := await self.reader.read(1 << 16):
                got += piece
        return got

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Client]:
    made = Client(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield made
    finally:
        await made.close()


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_tls_handshake_that_does_not_come_has_the_time_of_a_head() -> None:
    """A client that connects and begins none is closed as one that sends no head is."""
    data = Path(__file__).parents[2] / "data" / "tls"
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(data / "server.pem", data / "server.key")
    async with listening(tls=tls) as port, client(port) as silent, asyncio.timeout(30):  # by itself it takes 60 s
        assert await silent.rest() == b""


async def test_a_head_that_trickles_is_refused_in_time() -> None:
    """Slowloris: who goes on sending header fields gets 408 after the head's time, not after its last byte."""
    began = now()
    async with listening() as port, client(port) as slow:
        slow.writer.write(HEAD)

        async def drip() -> None:
            while not slow.reader.at_eof():
                slow.writer.write(b"X: y\r\n")
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as group:
            dripping = group.create_task(drip())
            answer = await slow.rest()
            dripping.cancel()
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"Connection: close\r\n" in answer
        assert answer.endswith(b"\r\n\r\ntyped")
        assert 0.1 < now() - began < 30


async def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    """An answer to no request would be taken for the answer to the next one."""
    began = now()
    async with listening() as port, client(port) as silent:
        assert await silent.rest() == b""
        assert 0.1 < now() - began < 30


async def test_a_second_head_has_its_own_time() -> None:
    """After an answered request a trickling head is refused as well, although the connection was good before."""
    limits = Limits(head_time=1.5, idle_time=30.0)
    async with listening(limits) as port, client(port) as slow:
        assert (await slow.ask()).startswith(b"HTTP/1.1 200")
        slow.writer.write(HEAD)
        assert (await slow.rest()).startswith(b"HTTP/1.1 408")


async def test_a_head_that_has_begun_is_not_cut_off_as_idle() -> None:
    """The time between two requests is over with the first byte of the next: from there on it has a head's."""
    limits = Limits(head_time=3.0, idle_time=1.0)
    async with listening(limits) as port, client(port) as slow:
        await slow.ask()
        slow.writer.write(HEAD)
        assert (await slow.rest()).startswith(b"HTTP/1.1 408")


async def test_a_kept_connection_may_be_idle_longer_than_a_head_may_take() -> None:
    """The head's time does not run while nothing of a head has come: such connections are worth keeping."""
    limits = Limits(head_time=1.0, idle_time=30.0)
    async with listening(limits) as port, client(port) as idle:
        await idle.ask()
        await asyncio.sleep(1.2)
        assert (await idle.ask()).startswith(b"HTTP/1.1 200")


async def test_a_request_that_takes_long_is_not_a_head_that_does() -> None:
    """A body in pieces and an answer that takes its time are bound by their own deadlines only."""

    async def slow(exchange: Exchange) -> None:
        await exchange.read_body(100, now() + 60)
        await asyncio.sleep(1.2)
        await exchange.reply(Answer(200, (), b"ok"))

    async with listening(Limits(head_time=1.0, idle_time=30.0), slow) as port, client(port) as asking:
        asking.writer.write(HEAD + b"Content-Length: 2\r\n\r\nh")
        await asyncio.sleep(1.2)
        assert (await asking.ask(b"i")).startswith(b"HTTP/1.1 200")


async def test_an_idle_connection_is_closed() -> None:
    """Whoever asks nothing for the idle time gives its place back."""
    async with listening(Limits(head_time=30.0, idle_time=0.3)) as port, client(port) as idle:
        began = now()
        await idle.ask()
        assert await idle.rest() == b""
        assert 0.2 < now() - began < 30


async def test_one_connection_too_many_is_told_so_and_the_others_stay() -> None:
    """Over the cap a request is answered 503 and closed; a place that is given back can be had again."""
    async with listening(Limits(connections=2)) as port, client(port) as first:
        await first.ask()
        async with client(port) as second:
            await second.ask()
            async with client(port) as third:
                third.writer.write(WHOLE)
                answer = await third.rest()
                assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
                assert answer.endswith(b"typed")
            assert (await first.ask()).startswith(b"HTTP/1.1 200")
        answered = b""
        while not answered.startswith(b"HTTP/1.1 200"):  # until the server has seen the second one's end
            async with client(port) as fourth:
                fourth.writer.write(WHOLE)
                answered = await fourth.reader.readline()


async def test_a_refused_connection_that_says_nothing_is_closed_too() -> None:
    """It is not kept waiting for a request that it could refuse."""
    async with listening(Limits(connections=1)) as port, client(port) as first, client(port) as second:
        await first.ask()
        assert await second.rest() == b""


async def test_a_client_that_reads_nothing_is_dropped() -> None:
    """An answer that nobody takes holds its memory no longer than the send time, whatever the client's socket says."""
    dropped = asyncio.Event()

    async def large(exchange: Exchange) -> None:
        await exchange.read_body(100, now() + 60)
        try:
            await exchange.reply(Answer(200, (), b"x" * (16 << 20)))
        except (ClientGone, asyncio.CancelledError):
            dropped.set()
            raise

    async with listening(SHORT, large) as port:
        deaf = socket.create_connection(("127.0.0.1", port))
        try:
            deaf.sendall(WHOLE)
            async with asyncio.timeout(60):
                await dropped.wait()
        finally:
            deaf.close()


async def test_what_the_kernel_takes_for_a_client_that_does_not_read_is_little() -> None:
    """It would take megabytes, for each of a thousand such clients."""
    taken: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def flood(exchange: Exchange) -> None:
        exchange.start(200, "")
        size = 0
        while size < 1 << 23 and not exchange.put(b"x" * (1 << 14)):
            size += 1 << 14
        taken.set_result(size)
        exchange.abort()

    async with listening(LIMITS, flood) as port:
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.setblocking(False)
            await asyncio.get_running_loop().sock_connect(lazy, ("127.0.0.1", port))
            await asyncio.get_running_loop().sock_sendall(lazy, WHOLE)
            assert await taken < 1 << 19


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", id="line"),
        pytest.param(HEAD + b"X: " + b"a" * 20_000 + b"\r\n\r\n", id="value"),
        pytest.param(HEAD + b"X" * 20_000 + b": a\r\n\r\n", id="name"),
        pytest.param(HEAD + b"".join(b"X%d: a\r\n" % i for i in range(200)) + b"\r\n", id="count"),
        pytest.param(HEAD + (b"X: " + b"a" * 15_000 + b"\r\n") * 60, id="sum"),
        pytest.param(HEAD + b"X: a\r\n" * 100_000, id="endless"),
        pytest.param(b"GET /" + b"a" * 1_000_000, id="endless line"),
    ],
)
async def test_a_head_that_is_too_large_is_refused_at_once(head: bytes) -> None:
    """Line, field, number of fields and all of them together have their limits; none is waited for to end."""
    async with listening(LIMITS) as port, client(port) as asking:
        asking.writer.write(head)
        answer = await asking.rest()
        assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))


async def test_limits_are_on_by_default() -> None:
    """Nobody has to ask for them."""
    assert Limits(head_time=10.0, idle_time=75.0, send_time=60.0, connections=10_000) == LIMITS


def test_a_budget_that_is_spent_takes_nothing() -> None:
    """What did not fit is not counted, so that the rest can still be given out."""
    budget = ByteBudget(10)
    budget.take(6)
    with pytest.raises(BudgetSpent):
        budget.take(5)
    budget.take(4)
    budget.give_back(10)
    assert budget.used == 0


async def test_a_body_that_came_while_the_loop_stood_still_is_in_time() -> None:
    """It lies in the socket when its time passes, and is read."""
    begun = asyncio.Event()

    async def impatient(exchange: Exchange) -> None:
        begun.set()
        body = await exchange.read_body(100, now() + 0.2)
        await exchange.reply(Answer(200, (), body))

    async with listening(LIMITS, impatient) as port, client(port) as asking:
        asking.writer.write(HEAD + b"Content-Length: 2\r\n\r\n")
        await begun.wait()
        asking.writer.write(b"hi")
        threading.Event().wait(0.3)
        assert (await asking.ask(b"")).startswith(b"HTTP/1.1 200")
