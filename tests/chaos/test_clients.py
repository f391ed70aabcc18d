"""Faults of clients: what they send wrong, what they leave undone, and how they go away."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from .broken_answers import HEALTHY
from .broken_requests import BODY_LIMIT, LINE, REQUESTS, Malformed
from .client import STREAM, UNARY, ask, parsed, request
from .faults import WHOLE, Fault
from .stage import Stage, connections, memory, staged
from .table import STREAM_FLOWS, STREAM_WAITS, WAITS

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300, func_only=True)]

SOON = 5.0
"""Seconds within which the upstream sees that the client has gone: fifty times what is promised, for a busy machine.

Were it not told, it would see it at the deadline, 20 s later.
"""
TRIES = 10
CONNECTIONS = 50
"""As many as the proxy of one test takes; it has no other limits to be reached."""
MIB = 1024 * 1024


@pytest_asyncio.fixture(autouse=True, loop_scope="package")
async def nothing_left(stage: Stage) -> AsyncIterator[None]:
    """After each of these no task, no place at a target and no socket of the client's is left, and all is well."""
    yield
    await stage.settled()
    HEALTHY.promise.hold(await stage.play(HEALTHY))


@pytest.mark.parametrize("malformed", REQUESTS, ids=[each.name for each in REQUESTS])
async def test_malformed(stage: Stage, malformed: Malformed) -> None:
    """One typed 4xx, nothing behind it, and no target hears of it."""
    before = stage.upstreams[HEALTHY].requests
    async with stage.client(malformed.sent) as client:
        answer = await client.answer()
    assert (answer.status, answer.whole, answer.rest) == (malformed.status, True, b"")
    assert answer.error
    assert answer.document["Message"]
    assert stage.upstreams[HEALTHY].requests == before


async def gone(stage: Stage, fault: Fault, until: bytes = b"") -> float:
    """The median time in which the upstream sees that a client went away, once that one has read `until`."""
    loop, upstream, waits = asyncio.get_running_loop(), stage.upstreams[fault], []
    for _ in range(TRIES):
        upstream.asked.clear()
        async with stage.client(request(fault.slug, fault.body, STREAM if fault.stream else UNARY)) as client:
            await upstream.asked.wait()
            if until:
                await client.reader.readuntil(until)
            upstream.gone.clear()
            began = loop.time()
            client.reset()
            await upstream.gone.wait()
            waits.append(loop.time() - began)
    return sorted(waits)[TRIES // 2]


async def test_client_gone_while_it_waits(stage: Stage) -> None:
    """The upstream's connection is closed within 100 ms."""
    assert await gone(stage, WAITS) < SOON


async def test_client_gone_in_a_stream(stage: Stage) -> None:
    """The upstream's connection is closed within 100 ms."""
    assert await gone(stage, STREAM_WAITS, b"one") < SOON


async def test_client_that_closes_its_half(stage: Stage) -> None:
    """It is taken for gone, since that is how the end of one looks from here: its upstream call ends as well."""
    upstream = stage.upstreams[WAITS]
    upstream.asked.clear()
    async with stage.client(request(WAITS.slug)) as client:
        await upstream.asked.wait()
        upstream.gone.clear()
        client.writer.write_eof()
        await upstream.gone.wait()
        assert await client.rest() == b""


async def test_client_gone_in_its_request(stage: Stage) -> None:
    """No target hears of it, and the room that its body took is free again."""
    before = stage.upstreams[HEALTHY].requests
    for _ in range(TRIES):
        async with stage.client(LINE + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT * MIB)) as client:
            await client.send(b"x" * MIB)
            client.reset()
    await stage.settled()
    assert stage.upstreams[HEALTHY].requests == before


async def test_client_resets_before_it_has_its_answer(stage: Stage) -> None:
    """Its answer is thrown away, and nothing else happens."""
    for _ in range(TRIES):
        async with stage.client(request(HEALTHY.slug)) as client:
            client.reset()


async def test_client_that_sends_its_head_byte_by_byte(stage: Stage) -> None:
    """408 once the time for a head is over, however steadily it comes."""
    loop = asyncio.get_running_loop()
    async with stage.client() as client:
        began = loop.time()
        answering = asyncio.create_task(client.rest())
        for byte in LINE * 100:
            if answering.done():
                break
            client.writer.write(bytes([byte]))
            await asyncio.wait({answering}, timeout=0.05)
        answer = parsed(await answering, loop.time() - began)
    assert (answer.status, answer.rest) == (408, b"")
    assert answer.seconds < 30.0


async def test_client_that_says_nothing(stage: Stage) -> None:
    """Its connection is closed without a word once the time for a head is over."""
    async with stage.client() as client:
        assert await client.rest() == b""


async def test_client_that_speaks_http2(stage: Stage) -> None:
    """A GOAWAY frame and a clean end, so that SDKs that try it first go on with HTTP/1.1."""
    async with stage.client(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)) as client:
        assert (await client.rest())[3] in {0x04, 0x07}


async def test_client_that_does_not_read_its_stream(stage: Stage) -> None:
    """Its upstream ends at the stream's deadline, its own connection five seconds later; little is held."""
    loop, pid = asyncio.get_running_loop(), stage.proxy.process.pid
    upstream = stage.upstreams[STREAM_FLOWS]
    before = memory(pid)
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.setblocking(False)
        await loop.sock_connect(lazy, ("127.0.0.1", stage.proxy.port))
        upstream.gone.clear()
        began = loop.time()
        await loop.sock_sendall(lazy, request(STREAM_FLOWS.slug, STREAM_FLOWS.body, STREAM))
        await upstream.gone.wait()
        assert memory(pid) - before < 8 * MIB
        while connections(pid, lazy.getsockname()[1]):  # noqa: ASYNC110 - what is unsent hides the end from the client
            await asyncio.sleep(0.05)
        assert 5.5 < loop.time() - began < 60.0


async def test_client_that_pipelines(stage: Stage) -> None:
    """Every request has its own answer, in their order."""
    several = LINE + b"Content-Length: 2\r\n\r\n{}"
    async with stage.client(several * 3 + request("nobody")) as client:
        received = await client.rest()
    assert received.count(b"HTTP/1.1 ") == 4
    assert received.count(WHOLE) == 3
    assert parsed(received[received.rindex(b"HTTP/1.1 ") :], 0.0).status == 400


async def test_client_that_waits_to_be_told_to_continue(stage: Stage) -> None:
    """It is told so before its body is there, and then has its answer."""
    async with stage.client(LINE + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n") as client:
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"{}")
        HEALTHY.promise.hold(parsed(await client.rest(), 0.0))


async def test_too_many_connections(tmp_path: Path) -> None:
    """One more than the limit is told 503; those that are there go on, and once one has left the next is served."""
    flags = ("--connections", str(CONNECTIONS), "--head-time", "600")  # else they leave a slow machine one by one
    async with staged(tmp_path, (HEALTHY,), *flags) as stage, AsyncExitStack() as stack:
        many = [await stack.enter_async_context(stage.client()) for _ in range(CONNECTIONS)]
        for client in many:  # with a first byte each is surely accepted
            await client.send(b"P")
        await until_refused(stage)
        answer = await ask(stage.proxy.port, request(HEALTHY.slug))
        assert (answer.status, answer.error, answer.rest) == (503, "ServiceUnavailable", b"")
        await many[0].send(request(HEALTHY.slug)[1:])
        HEALTHY.promise.hold(parsed(await many[0].rest(), 0.0))


async def until_refused(stage: Stage) -> None:
    """Wait until the proxy has accepted as many connections as it may."""
    while (await ask(stage.proxy.port, request(HEALTHY.slug))).status != 503:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.005)


async def test_bodies_that_fill_the_memory_for_bodies(stage: Stage) -> None:
    """A request for which there is no room is told to come again, and is served once there is."""
    declared = LINE + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT * MIB)
    async with stage.client(declared) as first, stage.client(declared) as second:
        for each in (first, second):
            await each.send(b"x" * (BODY_LIMIT * MIB - 1))
        body = json.dumps({"pad": "x" * 7 * MIB}).encode()
        while (answer := await ask(stage.proxy.port, request(HEALTHY.slug, body))).status == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # the two are not there yet, and nothing tells of it
    assert (answer.status, answer.error, answer.rest) == (429, "ThrottlingException", b"")
    assert answer.headers["retry-after"]
    await stage.settled()
    HEALTHY.promise.hold(await ask(stage.proxy.port, request(HEALTHY.slug, body)))


async def test_names_without_end(stage: Stage) -> None:
    """A thousand names that the policy does not know leave no trace in the metrics."""

    async def metrics() -> int:
        return len(
            (await ask(stage.proxy.admin_port, b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).body
        )

    await ask(stage.proxy.port, request("nobody"))
    before = await metrics()
    for first in range(0, 1000, 10):
        answers = await asyncio.gather(*(ask(stage.proxy.port, request(f"nobody-{first + n}")) for n in range(10)))
        assert {answer.status for answer in answers} == {400}
    assert await metrics() < before + 1000
