"""A target with so many places and a queue without end, and clients who ask when they want to, whether those before
them have been answered or not, and leave when it takes too long."""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

LEFT = "left"
SAYS = 5000
"""Bytes of an answer for each second that it takes."""


class Asked(NamedTuple):
    """One request, and what became of it."""

    due: float
    """Seconds from the first one's on."""
    takes: float
    """Seconds that the target works on it."""
    says: int
    """Bytes of its answer."""
    became: str = ""
    """The answer's status, `LEFT`, or what went wrong."""


def drawn(draw: random.Random, begin: float, end: float, rate: float, takes: Callable[[], float]) -> list[Asked]:
    """Requests at random, `rate` a second. What the target says is as long as it takes."""
    asked, due = [], begin + draw.expovariate(rate)
    while due < end:
        seconds = takes()
        asked.append(Asked(due, seconds, round(SAYS * seconds)))
        due += draw.expovariate(rate)
    return asked


def became(asked: Sequence[Asked], begin: float = 0.0) -> Counter[str]:
    """How many of those that were due from `begin` on came to what."""
    return Counter(each.became for each in asked if each.due >= begin)


@contextmanager
def target(places: int) -> Iterator[int]:
    """One that works on so many requests at a time, in the order in which they came, and does not begin with those
    whose client has left by then. In a thread with a loop of its own; yields its port."""
    loop, free = asyncio.new_event_loop(), asyncio.Semaphore(places)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled when the target ends, of which asyncio.streams of Python 3.11 would write a page to standard error.
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                asked = json.loads(body or b'{"takes": 0, "says": 0}')  # without one: a look at its health
                async with free:
                    if reader.at_eof() or reader.exception():
                        break
                    await asyncio.sleep(asked["takes"])
                head = (
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % asked["says"]
                )
                writer.write(head + b"x" * asked["says"])
        writer.close()
        with suppress(ConnectionError):  # whoever waits for this task finds the socket closed as well
            await writer.wait_closed()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0, backlog=512))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(_ended(asyncio.all_tasks(loop)))
        loop.close()


async def _ended(tasks: Iterable[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def told(port: int, asking: Sequence[Asked], patience: float = 60.0) -> list[Asked]:
    """What becomes of these requests of clients who leave after `patience` seconds, a connection for each."""

    async def one(asked: Asked, at: float) -> Asked:
        await asyncio.sleep(at - time.monotonic())
        try:
            async with asyncio.timeout(patience):
                return asked._replace(became=await _status(port, asked))
        except TimeoutError:
            return asked._replace(became=LEFT)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            return asked._replace(became=type(error).__name__)

    async def all_of_them() -> list[Asked]:
        begin = time.monotonic() + 0.1
        return await asyncio.gather(*(one(each, begin + each.due) for each in asking))

    return asyncio.run(all_of_them())


async def _status(port: int, asked: Asked) -> str:
    body = json.dumps({"takes": asked.takes, "says": asked.says}).encode().ljust(60)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"POST /endpoints/chat/invocations HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        await reader.readexactly(int(re.findall(r"(?i)content-length: (\d+)", head)[0]))
        return head.split(" ")[1]
    finally:
        writer.close()
