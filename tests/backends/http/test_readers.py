"""A client that takes its time is waited for, and one that takes nothing is not."""

from __future__ import annotations

import asyncio
import socket
import threading

from backends.http.edge import Answer, ByteBudget, Exchange, Listener
from backends.http.limits import Limits
from backends.http.readers import LEAST, Reader

LIMITS = Limits(send_time=2.0)


def allowed(raw: socket.socket) -> int:
    """Milliseconds after which the kernel drops the connection."""
    return raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


async def test_who_reads_is_given_time_and_who_has_caught_up_the_usual_one() -> None:
    """As long as enough is taken, however little fits at once."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())
        ours, _ = server.accept()
        with ours:
            reader = Reader(loop, ours, 0.4)
            async with asyncio.timeout(60):
                while allowed(ours) <= 400:
                    ours.send(b"x" * LEAST)
                    client.recv(LEAST)
                    await asyncio.sleep(0.001)
            reader.caught_up()
            assert allowed(ours) == 400


async def test_who_takes_nothing_is_given_none() -> None:
    """It is looked at, and the kernel's own count goes on."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())
        ours, _ = server.accept()
        with ours:
            ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 40)
            reader = Reader(loop, ours, 0.04)
            await asyncio.sleep(0.1)
            assert allowed(ours) == 40
            reader.gone()


async def test_what_is_no_tcp_is_left_alone() -> None:
    """There is nothing to ask."""
    one, other = socket.socketpair()
    with one, other:
        reader = Reader(asyncio.get_running_loop(), one, 0.004)
        await asyncio.sleep(0.02)
        reader.caught_up()


async def test_a_client_with_a_tiny_window_is_not_dropped_while_it_reads() -> None:
    """It never takes all that there is, so that by the kernel's count it had taken nothing."""

    async def large(exchange: Exchange) -> None:
        await exchange.read_body(100, asyncio.get_running_loop().time() + 60)
        await exchange.reply(Answer(200, (), b"x" * (1 << 20)))

    listener = Listener(
        large, lambda status, what: Answer(status, (), what.encode()), ByteBudget(1 << 20), limits=LIMITS
    )
    port = await listener.start("127.0.0.1", 0)

    def read() -> int:
        """How much it was given, before it was dropped or had enough."""
        with socket.socket() as tiny:
            tiny.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            tiny.connect(("127.0.0.1", port))
            tiny.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
            taken, pause = 0, threading.Event()
            try:
                while taken < 16_384 and (piece := tiny.recv(64)):
                    taken += len(piece)
                    pause.wait(0.015)
            except OSError:  # dropped
                pass
            return taken

    async with asyncio.timeout(100):
        while await asyncio.to_thread(read) < 16_384:
            """Where the machine stood still it has read nothing, and was rightly dropped."""
    await listener.stop()
