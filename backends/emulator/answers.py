"""What a face answers with, as values; how they get onto a connection is the server's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Received:
    """One HTTP request as it came."""

    number: int
    """Counted from 1 since the start."""
    request_id: str
    method: str
    target: str
    """Raw path and query."""
    headers: Headers
    body: bytes
    size: int
    """Bytes of the body as sent; `body` is empty when they are above the emulator's limit."""

    @property
    def path(self) -> str:
        """The raw path, never decoded."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The first value of a header, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes
    missing: int = 0
    """Bytes that Content-Length promises and the body does not have."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a stream, written and flushed by itself."""

    data: bytes
    wait: float = 0.0
    """Seconds before it, on the emulator's clock."""


class Gate(Protocol):
    """Holds a stream until its reader has acknowledged what it got."""

    async def passed(self, part: int) -> None:
        """Return when part `part` (from 1) is acknowledged."""
        ...


@dataclass(frozen=True, slots=True)
class Flow:
    """A streamed answer, status 200."""

    headers: Headers
    parts: tuple[Part, ...]
    ending: Literal["clean", "close", "reset"] = "clean"
    gate: Gate | None = None


class Outlet(Protocol):
    """The connection of one request. Each call writes one answer; ConnectionError when the client has gone."""

    async def answer(self, answer: Answer) -> None: ...

    async def flow(self, flow: Flow) -> None: ...

    def cut(self, how: Literal["close", "reset"]) -> None:
        """End the connection without (the rest of) an answer."""
        ...
