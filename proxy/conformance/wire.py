"""HTTP/1.1 down to the byte, as no SDK shows it: what came, how it was framed, and whether it ended as it promised.

A client library repairs, retries and hides; a check of a contract must not. So this is a client of its own over plain
sockets, which sends exactly what it is given. It reads one answer at a time and believes nothing: an answer that is no
HTTP, is late or breaks off before its head is `NoAnswer`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from backends.base import Headers

LONGEST_BODY = 64 * 1024 * 1024
"""Bytes of an answer that are read; more than the contract allows, so that a broken server can't fill the memory."""
_PORTS = {"http": 80, "https": 443}


class NoAnswer(Exception):
    """No answer came that could be judged; the message says what came instead."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One answer."""

    status: int
    headers: Headers
    body: bytes = field(repr=False)
    whole: bool
    """The body ended as its framing promised."""

    def header(self, name: str) -> str | None:
        """The first value of a header field; `name` in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a server is. `prefix` is the path before the API's own, without a trailing slash."""

    parts: SplitResult

    @property
    def url(self) -> str:
        """The base URL without a trailing slash."""
        return f"{self.parts.scheme}://{self.parts.netloc}{self.parts.path.rstrip('/')}"

    @property
    def prefix(self) -> str:
        return self.parts.path.rstrip("/")

    @property
    def host(self) -> str:
        return self.parts.hostname or ""

    @property
    def port(self) -> int:
        return self.parts.port or _PORTS[self.parts.scheme]

    @property
    def encrypted(self) -> bool:
        return self.parts.scheme == "https"


def read_origin(url: str) -> Origin:
    """Where `url` leads. Raises ValueError when it is no http or https URL with a host."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.username or parts.query or parts.fragment:
        message = "not a base URL: write http://HOST:PORT or https://HOST, without a user, a query or a fragment"
        raise ValueError(message)
    _ = parts.port  # raises ValueError when it is none
    return Origin(parts)


class Connection:
    """One open connection."""

    __slots__ = ("_reader", "_writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes. A server that has gone, or has answered before it read all, is no error here."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            return

    async def read(self) -> Exchange:
        """The next answer; interim ones (1xx) before it are passed over. Raises NoAnswer."""
        status, headers = await self._head()
        while 100 <= status < 200:
            status, headers = await self._head()
        whole, body = await self._body(status, headers)
        return Exchange(status, headers, body, whole)

    async def read_interim(self) -> int:
        """The status of the next head, whatever it is. Raises NoAnswer."""
        return (await self._head())[0]

    async def rest(self) -> bytes:
        """All that comes until the server closes. Raises NoAnswer when it resets instead."""
        try:
            return await self._reader.read(LONGEST_BODY)
        except OSError as error:
            message = f"the connection was reset ({type(error).__name__})"
            raise NoAnswer(message) from error

    async def _head(self) -> tuple[int, Headers]:
        try:
            raw = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            message = f"the connection ended after {len(error.partial)} bytes of an answer's head"
            raise NoAnswer(message) from error
        except (asyncio.LimitOverrunError, OSError) as error:
            message = f"no head of an answer came ({type(error).__name__})"
            raise NoAnswer(message) from error
        lines = raw.decode("latin-1").split("\r\n")
        words = lines[0].split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
            message = "what came is no HTTP/1.1 answer"
            raise NoAnswer(message)
        pairs = (line.partition(":") for line in lines[1:] if line)
        return int(words[1]), tuple((name, value.strip()) for name, _, value in pairs)

    async def _body(self, status: int, headers: Headers) -> tuple[bool, bytes]:
        fields = {name.lower(): value for name, value in headers}
        if status in (204, 304):
            return True, b""
        pieces: list[bytes] = []
        try:
            if fields.get("transfer-encoding", "").lower() == "chunked":
                await self._chunks(pieces)
            elif (length := fields.get("content-length")) is not None:
                pieces.append(await self._reader.readexactly(min(int(length), LONGEST_BODY)))
            else:
                pieces.append(await self._reader.read(LONGEST_BODY))
        except asyncio.IncompleteReadError as error:
            return False, b"".join((*pieces, error.partial))
        except (OSError, ValueError, asyncio.LimitOverrunError):
            return False, b"".join(pieces)
        return True, b"".join(pieces)

    async def _chunks(self, pieces: list[bytes]) -> None:
        held = 0
        while size := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
            held += size
            if held > LONGEST_BODY:
                raise ValueError(held)
            pieces.append(await self._reader.readexactly(size))
            await self._reader.readexactly(2)
        while await self._reader.readuntil(b"\r\n") != b"\r\n":
            """A trailer field, which means nothing here."""


@asynccontextmanager
async def connected(origin: Origin, seconds: float) -> AsyncIterator[Connection]:
    """A connection; all that is done with it in the block has `seconds`. Raises NoAnswer when that is not enough."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(seconds):
            secure = ssl.create_default_context() if origin.encrypted else None
            try:
                reader, writer = await asyncio.open_connection(origin.host, origin.port, ssl=secure)
            except OSError as error:
                message = f"can't connect to {origin.host} port {origin.port} ({error.strerror or error})"
                raise NoAnswer(message) from error
            yield Connection(reader, writer)
    except TimeoutError as error:
        message = f"nothing more came within {seconds:g} s"
        raise NoAnswer(message) from error
    finally:
        if writer is not None:
            writer.close()
