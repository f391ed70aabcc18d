"""A client that hides nothing: it sends bytes, takes all that comes back until the connection ends, and reads that.

Every request says `Connection: close`, so that a second answer behind the first, or a missing end, shows at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from tests.contract.raw import Exchange

LONGEST_WAIT = 120.0
UNARY, STREAM = "invocations", "invocations-response-stream"


def request(
    endpoint: str, body: bytes = b"{}", operation: str = UNARY, headers: Mapping[str, str] | None = None
) -> bytes:
    """The bytes of one invocation."""
    fields = {"Host": "h", "Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in {**fields, **(headers or {})}.items())
    return f"POST /endpoints/{endpoint}/{operation} HTTP/1.1\r\n{head}\r\n".encode() + body


async def ask(port: int, sent: bytes) -> Exchange:
    """Send `sent` and read the one answer to it, and whatever else there is, to the connection's end."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = bytearray()
    try:
        writer.write(sent)
        async with asyncio.timeout(LONGEST_WAIT):
            with contextlib.suppress(ConnectionError):
                while piece := await reader.read(65536):
                    received += piece
    finally:
        writer.transport.abort()
    return parsed(bytes(received), loop.time() - began)


def parsed(received: bytes, seconds: float) -> Exchange:
    """What a server sent in answer to one request; status 0 when that is no HTTP answer."""
    head, blank, rest = received.partition(b"\r\n\r\n")
    if not blank:
        return Exchange(0, {}, b"", False, received, seconds)
    lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:])
    fields = {name.lower(): value.strip() for name, _, value in pairs}
    whole, body, rest = _chunks(rest) if fields.get("transfer-encoding") == "chunked" else _sized(rest, fields)
    return Exchange(int(lines[0].split(" ")[1]), fields, body, whole, rest, seconds)


def _sized(rest: bytes, fields: Mapping[str, str]) -> tuple[bool, bytes, bytes]:
    size = int(fields["content-length"])
    return len(rest) >= size, rest[:size], rest[size:]


def _chunks(rest: bytes) -> tuple[bool, bytes, bytes]:
    pieces: list[bytes] = []
    at = 0
    while True:
        end = rest.find(b"\r\n", at)
        size = int(rest[at:end].split(b";")[0], 16) if end >= 0 else -1
        begin = end + 2
        if size < 0 or len(rest) < begin + size + 2:
            return False, b"".join([*pieces, rest[begin : begin + max(size, 0)]]), b""
        pieces.append(rest[begin : begin + size])
        at = begin + size + 2
        assert rest[at - 2 : at] == b"\r\n"
        if not size:
            return True, b"".join(pieces), rest[at:]
