"""A client that costs next to nothing: prepared bytes over kept connections, answers measured and barely parsed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns
from typing import cast
from urllib.parse import urlsplit

PATIENCE = 60.0
"""Seconds after which a run counts as stuck."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer: nanoseconds to its first body byte and to its end."""

    first: int
    whole: int


@dataclass(frozen=True, slots=True)
class Shot:
    """A request as bytes, and where it goes."""

    host: str
    port: int
    data: bytes


def shot(url: str, body: bytes, headers: dict[str, str]) -> Shot:
    """A POST of `body`."""
    parts = urlsplit(url)
    fields = {"Host": parts.netloc, "Content-Type": "application/json", **headers, "Content-Length": str(len(body))}
    head = (
        f"POST {parts.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    )
    return Shot(parts.hostname or "", parts.port or 80, head.encode() + body)


class _Connection(asyncio.Protocol):
    """Sends the next request when the last answer is complete, until it is told to stop."""

    def __init__(self, data: bytes, done: Callable[[Sample], bool]) -> None:
        self._data = data
        self._done = done
        self._transport: asyncio.Transport | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.last = b""
        self._clear()

    def _clear(self) -> None:
        self._pieces: list[bytes] = []
        self._head = b""
        self._left: int | None = None
        self._first = 0
        self._began = perf_counter_ns()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._fire()

    def _fire(self) -> None:
        assert self._transport is not None
        self._clear()
        self._transport.write(self._data)

    def data_received(self, data: bytes) -> None:
        if not self._pieces:
            data = self._read_head(data)
            if not data:
                return
            self._first = perf_counter_ns()
        self._pieces.append(data)
        if self._left is not None:
            self._left -= len(data)
        complete = self._left == 0 if self._left is not None else self._ends()
        if complete:
            self._complete()

    def _ends(self) -> bool:
        last = self._pieces[-1]
        tail = last if len(last) >= 7 else b"".join(self._pieces[-7:])
        return tail.endswith(b"\r\n0\r\n\r\n")

    def _read_head(self, data: bytes) -> bytes:
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return b""
        head, body = self._head[:end], self._head[end + 4 :]
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail(f"answered {head[:60]!r} {body[:300]!r}")
            return b""
        at = head.lower().find(b"\r\ncontent-length:")
        self._left = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else None
        return body

    def _complete(self) -> None:
        self.last = b"".join(self._pieces)
        if self._done(Sample(self._first - self._began, perf_counter_ns() - self._began)):
            self._fire()
        elif not self.ended.done():
            assert self._transport is not None
            self._transport.close()
            self.ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("closed the connection")

    def _fail(self, what: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(RuntimeError(f"the server {what}"))


async def load(target: Shot, connections: int, seconds: float) -> tuple[list[Sample], float]:
    """Requests over `connections` kept connections for `seconds`: their samples, and the seconds it took.

    Raises RuntimeError when an answer is no 200, TimeoutError when none comes, and OSError when there is no server.
    """
    samples: list[Sample] = []
    until = perf_counter_ns() + int(seconds * 1e9)

    def done(sample: Sample) -> bool:
        samples.append(sample)
        return perf_counter_ns() < until

    began = perf_counter_ns()
    await _run(target, connections, done)
    return samples, (perf_counter_ns() - began) / 1e9


async def once(target: Shot) -> bytes:
    """The raw body of one answer, to look at before anything is timed."""
    return (await _run(target, 1, lambda _: False))[0].last


async def _run(target: Shot, connections: int, done: Callable[[Sample], bool]) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: _Connection(target.data, done), target.host, target.port))[1]
        for _ in range(connections)
    ]
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(each.ended for each in opened))
    return opened
