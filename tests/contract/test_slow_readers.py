"""A thousand clients that hardly read long streams: a proxy in a process of its own stays as small as it was."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from .serving import running_proxy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600, func_only=True)]

READERS = 1000
EACH = 1024 * 1024
"""Bytes of memory that one slow reader may cost: a frame made of one read of its upstream (256 KiB at most), the same
with its length before it, of which some waits unsent, and one more read ahead; measured: 730 KiB. A thousand of them
cost 420 KiB each, since Linux makes their sockets smaller when all together hold too much."""
SLOPE = 16 * 1024 * 1024
"""Bytes by which all of them may grow while they dawdle: an allocator's noise, a hundredth of what is on offer."""
PIECE = b"data: " + b"x" * 32_000 + b"\n\n"
POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets: {engine: {kind: vllm, url: "URL", model: m, between_chunks: 15m, limit: {min: 1000}}}
endpoints: {chat: {serve_from: engine, stream_timeout: 15m}}
"""


@contextlib.contextmanager
def descriptors(enough: int) -> Iterator[None]:
    """Room for so many sockets, here and in processes that are started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(enough, hard)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def endless() -> AsyncIterator[str]:
    """An engine whose streams never end, sent as fast as they are taken."""

    serving: list[asyncio.Task[object] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"%x\r\n%s\r\n" % (len(PIECE), PIECE))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=READERS)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await asyncio.gather(*filter(None, serving), return_exceptions=True)  # their callers have gone: they end
    await server.wait_closed()


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) * 1024


async def reader(port: int) -> socket.socket:
    """A client with a small receive buffer that has read the beginning of its stream."""
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(
        client, b"POST /endpoints/chat/invocations-response-stream HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert (await loop.sock_recv(client, 1024)).startswith(b"HTTP/1.1 200")
    return client


async def test_memory_is_bounded_while_a_thousand_clients_dawdle(tmp_path: Path) -> None:
    """Each costs its buffers and no more, and reading on bit by bit makes nothing grow."""
    loop = asyncio.get_running_loop()
    with descriptors(4096):
        async with endless() as url:
            with running_proxy(tmp_path, POLICY.replace("URL", url)) as proxy:
                before = memory(proxy.process.pid)
                clients = [await reader(proxy.port) for _ in range(READERS)]
                sizes = []
                for _ in range(6):
                    for client in clients:
                        # On a machine so busy that this takes a minute Linux drops those whose window stays too small.
                        with contextlib.suppress(ConnectionError):
                            await loop.sock_recv(client, 4096)
                    sizes.append(memory(proxy.process.pid))
                for client in clients:
                    client.close()
    assert sizes[0] - before < READERS * EACH
    assert sizes[-1] - sizes[1] < SLOPE
