"""One HTTP/1.1 exchange down to the last byte: what came, how it was framed, and whether anything came after it.

SDKs hide a second answer, a missing end and an unread rest; this does not. Event streams are read by botocore.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.eventstream import EventStreamBuffer

LONGEST_WAIT = 120.0
QUIET = 0.05
"""Seconds in which a second answer would have come on loopback, if there were one behind the first."""


@dataclass(frozen=True, slots=True)
class Event:
    """One frame of an event stream."""

    headers: Mapping[str, str]
    payload: bytes

    @property
    def kind(self) -> str:
        """`:event-type` or `:exception-type`."""
        return self.headers.get(":event-type") or self.headers[":exception-type"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came back for one request."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    whole: bool
    """The body ended as its framing promised, not with the connection."""
    rest: bytes
    """What came behind the answer; anything at all is wrong."""
    seconds: float

    @property
    def error(self) -> str | None:
        return self.headers.get("x-amzn-errortype")

    @property
    def document(self) -> dict[str, Any]:
        """The body as a JSON object."""
        document: dict[str, Any] = json.loads(self.body)
        return document

    def events(self) -> list[Event]:
        """The frames of the body, CRCs checked; the body holds nothing else."""
        found: list[Event] = []
        at = 0
        while at < len(self.body):
            # Botocore's buffer copies all that it holds for each frame: it gets one frame at a time.
            size = int.from_bytes(self.body[at : at + 4], "big")
            buffer = EventStreamBuffer()
            buffer.add_data(self.body[at : at + size])
            messages = list(buffer)
            assert [message.prelude.total_length for message in messages] == [size], "half a frame is left over"
            found.append(Event(messages[0].headers, messages[0].payload))
            at += size
        return found


def exchange(port: int, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Exchange:
    """POST `body` to a server on loopback and read its one answer."""
    began = time.monotonic()
    fields = {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(body)), **(headers or {})}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    with socket.create_connection(("127.0.0.1", port), LONGEST_WAIT) as connection:
        connection.sendall(head.encode() + body)
        reader = _Reader(connection)
        status, answered = reader.head()
        whole, received = reader.body(answered)
        seconds = time.monotonic() - began
        return Exchange(status, answered, received, whole, reader.rest(), seconds)


class _Reader:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._held = b""

    def head(self) -> tuple[int, dict[str, str]]:
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        return int(lines[0].split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}

    def body(self, headers: Mapping[str, str]) -> tuple[bool, bytes]:
        try:
            if headers.get("transfer-encoding") == "chunked":
                return self._chunks()
            return True, self._exactly(int(headers["content-length"]))
        except EOFError as error:
            return False, error.args[0]

    def rest(self) -> bytes:
        self._connection.settimeout(QUIET)
        try:
            while data := self._connection.recv(65536):
                self._held += data
        except TimeoutError:
            pass
        return self._held

    def _chunks(self) -> tuple[bool, bytes]:
        body = b""
        while True:
            try:
                size = int(self._until(b"\r\n").split(b";")[0], 16)
                body += self._exactly(size)
                assert self._exactly(2) == b"\r\n"
            except EOFError as error:
                raise EOFError(body + error.args[0]) from None
            if not size:
                return True, body

    def _until(self, end: bytes) -> bytes:
        while end not in self._held:
            self._more()
        found, _, self._held = self._held.partition(end)
        return found + end

    def _exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            self._more()
        found, self._held = self._held[:size], self._held[size:]
        return found

    def _more(self) -> None:
        data = self._connection.recv(65536)
        if not data:
            raise EOFError(self._held)
        self._held += data
