"""The benchmark of handlers: its tables, and that its requests leave on time."""

from __future__ import annotations

import asyncio

from benchmarks.handlers import as_markdown, paced
from benchmarks.load import shot


def test_every_number_is_in_the_tables() -> None:
    """One row a mode and a fact, and the machine above them."""
    row = {"count": 2, "p50": 1.5, "p90": 2, "p99": 3, "max": 4, "burner p50": 5}
    text = as_markdown({"about": {"cpu": "x"}, "beside a burner": {"off": row}, "fifty handlers": {"workers": 50}})
    assert "- cpu: x" in text
    assert "| off | 2 | 1.5 | 2 | 3 | 4 | 5 |" in text
    assert "| workers | 50 |" in text


async def test_requests_do_not_wait_for_one_another() -> None:
    """A server that answers nothing before it has everything gets everything."""
    waiting: list[asyncio.StreamWriter] = []
    closed: list[asyncio.Task[None]] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting.append(writer)
        if len(waiting) == 5:
            for each in waiting:
                each.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                each.close()
                closed.append(asyncio.ensure_future(each.wait_closed()))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        taken = await paced(shot(f"http://127.0.0.1:{port}/", b"", {}), 500, 0.01)
        await asyncio.gather(*closed)
    assert len(taken) == 5
