"""Clients that wait for 100 Continue before they send a body."""

from __future__ import annotations

import asyncio
import contextlib

from backends.http.edge import Answer, BodyTooLarge, ClientGone, Exchange

from .test_edge import POST, closed, deadline, echo, listening


async def test_expect_continue_is_answered_before_the_body() -> None:
    """curl waits for 100 Continue before it sends a large body."""
    async with listening(echo) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        answer = await reader.read()
        writer.close()
        await closed(writer)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"hi")


async def test_a_client_of_http_1_0_is_not_told_to_continue() -> None:
    """It knows no interim answers, and would take that one for the answer."""
    asked = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        asked.set()
        await echo(exchange)

    async with listening(handler) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        await asked.wait()
        writer.write(b"hi")
        answer = await reader.read()
        writer.close()
        await closed(writer)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\nhi")


async def test_a_client_that_leaves_while_it_is_told_to_continue_is_gone() -> None:
    """Found by fuzzing: 100 Continue to a closed connection is the client's end, not a bug of ours."""
    ended: list[BaseException] = []
    over = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        exchange.abort()
        try:
            await exchange.read_body(1000, deadline())
        except BaseException as error:
            ended.append(error)
            raise
        finally:
            over.set()

    async with listening(handler) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        await over.wait()
        writer.close()
        await closed(writer)
        assert isinstance(ended[0], ClientGone)
    assert reader is not None


async def test_an_answer_in_place_of_continue_is_the_connections_last() -> None:
    """A client that was refused before it sent its body may go on with another request, which would be taken for it."""

    async def handler(exchange: Exchange) -> None:
        with contextlib.suppress(BodyTooLarge):
            await exchange.read_body(1, deadline())
        await exchange.reply(Answer(413, (), b""))

    kept = POST.replace(b"Connection: close\r\n", b"")
    async with listening(handler) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(kept + b"Content-Length: 2\r\n\r\nhi")
        assert b"Connection: close" not in await reader.readuntil(b"\r\n\r\n")
        writer.write(kept + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert b"Connection: close" in await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await closed(writer)
