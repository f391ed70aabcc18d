"""Connections on which nothing moves: the kernel is told to look after them, on both sides of the proxy."""

from __future__ import annotations

import asyncio
import socket

from backends.http.connection import Connection
from backends.http.edge import Answer, ByteBudget, Exchange, Listener
from backends.http.probes import IDLE, probe

from .timers import PROBES, timers


async def test_both_ends_of_the_hop_are_looked_after() -> None:
    """A client's connection and one to a target, while nothing moves on them. By itself Linux waits two hours."""

    def malformed(status: int, _: str) -> Answer:
        return Answer(status, (), b"")

    async def nobody(exchange: Exchange) -> None:
        await exchange.reply(malformed(404, ""))

    loop = asyncio.get_running_loop()
    listener = Listener(nobody, malformed, ByteBudget(1024), drain=1.0)
    port = await listener.start("127.0.0.1", 0)
    _, made = await loop.create_connection(lambda: Connection(loop, lambda _: None), "127.0.0.1", port)
    async with asyncio.timeout(60):
        while [kind for kind, _ in timers(local=port, peer=port)] != [PROBES, PROBES]:  # noqa: ASYNC110 - accepted in a turn of its own
            await asyncio.sleep(0.01)
    assert all(seconds <= IDLE for _, seconds in timers(local=port, peer=port))
    made.abort()
    await listener.stop()


def test_what_is_no_tcp_is_left_alone() -> None:
    """As a socket of the machine's own is, behind which a target may listen."""
    one, other = socket.socketpair()
    with one, other:
        probe(one)
        one.sendall(b"x")
        assert other.recv(1) == b"x"
