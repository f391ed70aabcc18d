"""A target that costs next to nothing: fixed answers in the three contracts, over one asyncio protocol.

`python -m benchmarks.upstream` prints its port and serves until its standard input closes. The path picks the answer,
as it does at the real services; each event of a stream is a write of its own, as an engine would send it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
import threading
from typing import cast

import uvloop

from backends.wire.eventstream import encode, payload_part

ANSWER = json.dumps(
    {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion",
        "created": 1795219200,
        "model": "static",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "x" * 286},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 200, "completion_tokens": 85, "total_tokens": 285},
    }
).encode()

EVENTS = 50


def _chunk(number: int) -> dict[str, object]:
    finish = "stop" if number == EVENTS - 2 else None
    delta = {"index": 0, "delta": {"content": f"{number:04}" + "x" * 18}, "logprobs": None, "finish_reason": finish}
    common = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 1795219200}
    return common | {"model": "static", "choices": [delta]}


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


CHUNKS = tuple(_chunk(number) for number in range(EVENTS - 1))
METRICS = {"inputTokenCount": 200, "outputTokenCount": 49, "invocationLatency": 1, "firstByteLatency": 1}
SSE = (*(b"data: " + _compact(chunk) + b"\n\n" for chunk in CHUNKS), b"data: [DONE]\n\n")
_BEDROCK_HEADERS = ((":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event"))


def bedrock_frame(chunk: dict[str, object]) -> bytes:
    """One chunk of a Bedrock response stream; the service puts its metrics into the last one."""
    return encode(_BEDROCK_HEADERS, _compact({"bytes": base64.b64encode(_compact(chunk)).decode()}))


def _chunked(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


def _whole(headers: bytes = b"") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n" % (headers, len(ANSWER))
    return head + ANSWER


def _stream(headers: bytes, pieces: tuple[bytes, ...]) -> tuple[bytes, ...]:
    head = b"HTTP/1.1 200 OK\r\n%sTransfer-Encoding: chunked\r\n\r\n" % headers
    return (head, *map(_chunked, pieces), b"0\r\n\r\n")


_FRAMES = b"Content-Type: application/vnd.amazon.eventstream\r\n"
WHOLE = _whole()
STREAMS = {
    b"/invocations": _stream(b"Content-Type: text/event-stream\r\n", SSE),
    b"/completions": _stream(b"Content-Type: text/event-stream\r\n", SSE),
    b"/invocations-response-stream": _stream(
        _FRAMES + b"X-Amzn-SageMaker-Content-Type: text/event-stream\r\n", tuple(map(payload_part, SSE))
    ),
    b"/invoke-with-response-stream": _stream(
        _FRAMES + b"X-Amzn-Bedrock-Content-Type: application/json\r\n",
        (*map(bedrock_frame, CHUNKS[:-1]), bedrock_frame(CHUNKS[-1] | {"amazon-bedrock-invocationMetrics": METRICS})),
    ),
}
BOTH = (b"/invocations", b"/completions")
"""Operations whose body says whether a stream is wanted."""
STREAMED = re.compile(rb'"stream": ?true')


class Static(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self) -> None:
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        self._held += data
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._held[:end]
        at = head.lower().find(b"\r\ncontent-length:")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._held) < end + 4 + length:
            return
        body, self._held = self._held[end + 4 :], b""
        self._answer(head.split(b" ", 2)[1], body)

    def _answer(self, path: bytes, body: bytes) -> None:
        assert self._transport is not None
        operation = path[path.rfind(b"/") :]
        if operation in STREAMS and (operation not in BOTH or STREAMED.search(body)):
            self._send(STREAMS[operation], 0)
        else:
            self._transport.write(WHOLE)

    def _send(self, pieces: tuple[bytes, ...], number: int) -> None:
        assert self._transport is not None
        if self._transport.is_closing():
            return
        self._transport.write(pieces[number])
        if number + 1 < len(pieces):
            asyncio.get_running_loop().call_soon(self._send, pieces, number + 1)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Static, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    closed = asyncio.Event()

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(closed.set)

    threading.Thread(target=wait, daemon=True).start()
    await closed.wait()


if __name__ == "__main__":
    uvloop.run(_serve())
