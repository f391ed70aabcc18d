"""The kit's own HTTP client believes nothing."""

from __future__ import annotations

import asyncio

import pytest

from proxy.conformance.wire import Exchange, NoAnswer, connected, read_origin


async def answer(data: bytes) -> Exchange:
    """What is read of a server that sends `data` and closes."""

    async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server, connected(read_origin(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), 5) as one:
        return await one.read()


@pytest.mark.parametrize(
    ("data", "body", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", b"hi", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", b"hi", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhi", b"hi", True),
    ],
)
async def test_body_is_whole_only_as_its_framing_promised(data: bytes, body: bytes, whole: bool) -> None:
    """Lengths, chunks and the end of the connection."""
    exchange = await answer(data)
    assert (exchange.body, exchange.whole) == (body, whole)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200", b"SSH-2.0-x\r\n\r\n"])
async def test_what_is_no_answer_is_none(data: bytes) -> None:
    """An end before the head, and another protocol."""
    with pytest.raises(NoAnswer):
        await answer(data)


@pytest.mark.parametrize("url", ["ftp://h", "http://", "http://u@h", "http://h/?q", "http://h:x"])
def test_address_that_is_no_base_url_is_refused(url: str) -> None:
    """A user, a query, a wrong scheme and a wrong port."""
    with pytest.raises(ValueError, match=r"."):
        read_origin(url)
