"""Busy polling: a loop that stays awake for a while after each request, and no longer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from backends.http.edge import Answer, ByteBudget, Exchange, Listener
from backends.http.inbound import Connection, Server
from backends.http.limits import LIMITS
from backends.http.polling import BusyPoll

REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
TURNS = 50
"""Looks at the sockets that a loop with nothing to do does not take."""


class Looked(selectors.DefaultSelector):
    """Says when the loop has looked at its sockets `TURNS` times without ever being ready to sleep, and when it is."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0
        self.awake, self.asleep = asyncio.Event(), asyncio.Event()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns = self.turns + 1 if timeout == 0 else 0
        (self.awake if self.turns > TURNS else self.asleep if self.turns == 0 else asyncio.Event()).set()
        return super().select(0 if self.asleep.is_set() else timeout)


@asynccontextmanager
async def connected(polling: BusyPoll) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """A client of a listener that polls; what it is given asks once."""

    async def answer(exchange: Exchange) -> None:
        exchange.answer(200, "", b"looking" if polling.looking else b"asleep?")

    listener = Listener(answer, lambda status, _: Answer(status, (), b""), ByteBudget(1), drain=1.0, polling=polling)
    port = await listener.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask() -> bytes:
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        return await reader.readexactly(7)

    try:
        yield ask
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        await listener.stop()


def test_after_a_request_the_loop_does_not_sleep_until_its_time_is_up() -> None:
    """From what a client sends on every look at the sockets returns at once, with nothing else to do; once the time is
    up the loop is ready to sleep, as it was before the first request."""
    selector = Looked()

    async def asked() -> None:
        polling = BusyPoll(1000.0)
        async with connected(polling) as ask:
            assert not polling.looking  # a connection alone is no request
            assert await ask() == b"looking"
            selector.turns = 0
            selector.awake.clear()
            await selector.awake.wait()
            polling.seconds = 0.0
            selector.asleep.clear()
            await ask()
            await selector.asleep.wait()
            assert not polling.looking

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(asked())


@pytest.mark.parametrize("polling", [None, BusyPoll(1000.0)], ids=["off", "on"])
def test_connections_that_tell_nobody_cost_nothing(polling: BusyPoll | None) -> None:
    """Without it a connection is the plain one: what a client sends takes no step more."""

    async def handler(_: Exchange) -> None:
        raise NotImplementedError

    async def made() -> bool:
        server = Server(handler, lambda status, _: Answer(status, (), b""), ByteBudget(1), LIMITS, polling)
        return type(server()) is Connection

    assert asyncio.run(made()) is (polling is None)


def test_one_look_is_under_way_however_many_requests_come() -> None:
    """Each moves its end; none adds another one beside it, which would make every turn longer."""

    class Loop(asyncio.SelectorEventLoop):
        now = 10.0

        def time(self) -> float:
            return self.now

    loop = Loop()
    polling = BusyPoll(1.0)

    def turn() -> int:
        loop.call_soon(loop.stop)
        loop.run_forever()
        return len(loop._ready)  # type: ignore[attr-defined] # what the next turn has to do

    try:
        for _ in range(3):
            polling.heard(loop)
        assert turn() == 1
        loop.now = 10.9
        polling.heard(loop)
        loop.now = 11.8
        assert (turn(), polling.looking) == (1, True)
        loop.now = 11.9
        assert (turn(), polling.looking) == (0, False)
    finally:
        loop.close()
