"""The transport against scripted servers: what is sent is what was asked, and a failure knows whether it was sent."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from backends.http.transport import LOOK_AFTER, HttpTransport, TransportError
from policies.facts import FailureFacts, Fault

from .scripts import Script, answering, close_after_request, outgoing, read, scripted, send


async def test_the_request_goes_out_as_given(transport: HttpTransport) -> None:
    """The percent-encoded path stays as written, and no header is added but Host and Content-Length."""
    seen: list[bytes] = []
    async with scripted(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", seen)) as url:
        answer = await send(transport, outgoing(url))
        assert await answer.read(10) == b"ok"
        await answer.aclose()
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /a%3Ab%2Fc HTTP/1.1"
    assert sorted(line.split(b":")[0].lower() for line in lines[1:]) == [b"content-length", b"host", b"x-one"]
    assert body == b"hi"


async def test_the_answer_comes_back_as_sent(transport: HttpTransport) -> None:
    """A redirect is not followed, a compressed body stays compressed, header bytes are kept."""
    head = b"HTTP/1.1 302 Found\r\nX-Own: \xc3\xa9\r\nLocation: http://127.0.0.1:1/\r\nContent-Encoding: gzip\r\n"
    raw = head + b"Content-Length: 3\r\n\r\n\x1f\x8b\x00"
    async with scripted(answering(raw)) as url:
        answer = await send(transport, outgoing(url))
        assert answer.status == 302
        assert ("X-Own", "\xe9") in answer.headers
        assert answer.header("location") == "http://127.0.0.1:1/"
        assert await answer.read(10) == b"\x1f\x8b\x00"
        await answer.aclose()


async def test_a_refused_connection_was_not_sent(transport: HttpTransport) -> None:
    """Nothing listens: safe to repeat elsewhere."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(TransportError) as caught:
            await send(transport, outgoing(url))
    assert (caught.value.sent, caught.value.facts.retry_safe, caught.value.facts.fault) == (False, True, Fault.NETWORK)


@pytest.mark.parametrize(
    ("seconds", "connect_timeout", "cause", "late"),
    [(60.0, 0.05, "no connection within 0.05 s", False), (0.05, 60.0, "the deadline passed", True)],
)
async def test_no_connection_in_time_is_no_late_answer(
    seconds: float, connect_timeout: float, cause: str, late: bool, transport: HttpTransport
) -> None:
    """A target that is not there in time is simply not there; only the request's own time makes it late."""
    with socket.create_server(("127.0.0.1", 0)) as plain:  # takes connections and never greets
        request = outgoing(f"https://127.0.0.1:{plain.getsockname()[1]}")
        deadline = asyncio.get_running_loop().time() + seconds
        with pytest.raises(TransportError, match=cause) as caught:
            await transport.send(request, deadline=deadline, connect_timeout=connect_timeout)
    assert caught.value.facts == FailureFacts(Fault.NETWORK, retry_safe=True, timed_out=late)


async def test_a_name_that_does_not_resolve_was_not_sent(transport: HttpTransport) -> None:
    """The resolver says no: safe to repeat elsewhere."""
    with pytest.raises(TransportError) as caught:
        await send(transport, outgoing("http://name.invalid"))
    assert caught.value.facts.retry_safe is True


async def half_a_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await close_after_request(reader, writer)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-")
    await writer.drain()


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await close_after_request(reader, writer)
    writer.write(b"\x00\x01 no http\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize("script", [close_after_request, half_a_head, garbage])
async def test_an_answer_that_never_begins_may_have_run(script: Script, transport: HttpTransport) -> None:
    """Once the request is out, a lost answer says nothing about whether the model ran."""
    async with scripted(script) as url:
        with pytest.raises(TransportError) as caught:
            await send(transport, outgoing(url))
    assert (caught.value.sent, caught.value.facts.retry_safe) == (True, None)


async def test_silence_ends_at_the_deadline(transport: HttpTransport) -> None:
    """A target that accepts and says nothing costs no more than the deadline, and is a time-out."""
    done = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        done.set()

    async with scripted(silent) as url:
        with pytest.raises(TransportError) as caught:
            await send(transport, outgoing(url), seconds=1.5)
        assert caught.value.timed_out
        await done.wait()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", id="short of its length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", id="no last chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nZZ\r\n", id="bad chunk"),
    ],
)
async def test_a_body_that_breaks_off_is_no_answer(answer: bytes, transport: HttpTransport) -> None:
    """A truncated body raises; it is never taken for a short one."""
    async with scripted(answering(answer)) as url:
        with pytest.raises(TransportError) as caught:
            await read(transport, outgoing(url))
    assert caught.value.facts.retry_safe is None


async def test_a_body_that_stalls_ends_at_the_deadline(transport: HttpTransport) -> None:
    """The deadline binds the body too."""

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await close_after_request(reader, writer)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await writer.drain()
        await reader.read()

    async with scripted(stall) as url:
        incoming = await send(transport, outgoing(url), seconds=2.0)
        pieces = incoming.chunks()
        assert await anext(pieces) == b"half"
        with pytest.raises(TransportError) as caught:
            await anext(pieces)
        await incoming.aclose()
    assert caught.value.timed_out


async def test_a_longer_answer_than_allowed_is_refused(transport: HttpTransport) -> None:
    """Memory is bounded by the limit, whatever the other side sends."""
    async with scripted(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345")) as url:
        incoming = await send(transport, outgoing(url))
        with pytest.raises(TransportError, match="longer than 4 bytes"):
            await incoming.read(4)
        await incoming.aclose()


async def test_a_read_answer_gives_its_connection_back_and_an_unread_one_closes_it(transport: HttpTransport) -> None:
    """Keep-alive saves a connection per request; an abandoned body is never read to its end to save one."""
    connections = 0
    dropped = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            await close_after_request(reader, writer)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
        await close_after_request(reader, writer)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok")
        await writer.drain()
        assert await reader.read() == b""
        dropped.set()

    async with scripted(script) as url:
        for _ in range(2):
            answer = await send(transport, outgoing(url))
            assert await answer.read(10) == b"ok"
            await answer.aclose()
        answer = await send(transport, outgoing(url))
        await answer.aclose()
        await dropped.wait()
    assert connections == 1


async def test_a_connection_that_was_made_while_the_loop_stood_still_is_in_time(transport: HttpTransport) -> None:
    """The kernel has made it long ago; only this process had not looked."""
    async with scripted(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as url:
        loop = asyncio.get_running_loop()
        asking = asyncio.ensure_future(transport.send(outgoing(url), deadline=loop.time() + 60.0, connect_timeout=0.1))
        loop.call_soon(threading.Event().wait, 0.2)
        answer = await asking
        assert await answer.read(10) == b"ok"
        await answer.aclose()


async def test_idle_connections_are_closed_though_nobody_asks_again() -> None:
    """Each after its time, also one that came free while others were idle already: what is kept is bounded in time."""
    transport, second, ended = HttpTransport(keepalive=0.2), asyncio.Event(), []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(2)
        if body == b"2.":
            await second.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        ended.append((body, await reader.read()))

    async with scripted(script) as url, asyncio.timeout(60):
        later = asyncio.ensure_future(read(transport, outgoing(url, b"2.")))
        assert await read(transport, outgoing(url, b"1.")) == b"ok"
        await asyncio.sleep(0.1)
        second.set()
        assert await later == b"ok"
        while len(ended) < 2:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    assert ended == [(b"1.", b""), (b"2.", b"")]
    await transport.aclose()


async def test_a_connection_that_has_been_idle_for_a_while_is_used_again(transport: HttpTransport) -> None:
    """It is looked at first, and there is nothing to see: a request now and then needs no connection of its own."""
    ports: list[object] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await close_after_request(reader, writer)
            ports.append(writer.get_extra_info("peername"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.read()

    async with scripted(script) as url:
        assert await read(transport, outgoing(url)) == b"ok"
        await asyncio.sleep(1.2 * LOOK_AFTER)
        assert await read(transport, outgoing(url)) == b"ok"
    assert len(ports) == 2
    assert len(set(ports)) == 1


async def test_a_connection_that_ended_while_the_loop_stood_still_is_not_used_again(transport: HttpTransport) -> None:
    """A request over it would be lost, and nobody could tell whether it ran: it is looked at before, by the system."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                with server.accept()[0] as connection:
                    received = b""
                    while not received.endswith(b"hi"):
                        received += connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    answered.wait(60)
                ended.set()

        answered, ended, url = threading.Event(), threading.Event(), f"http://127.0.0.1:{server.getsockname()[1]}"
        serving = threading.Thread(target=serve)
        serving.start()
        assert await read(transport, outgoing(url)) == b"ok"
        answered.set()
        ended.wait(60)
        threading.Event().wait(1.2 * LOOK_AFTER)
        assert await read(transport, outgoing(url)) == b"ok"
        await asyncio.to_thread(serving.join)
