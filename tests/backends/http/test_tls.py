"""TLS towards upstreams, under the loop that serves: where an answer ends, and whose certificate is taken."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from backends.http.arriving import READ_AHEAD, Answer
from backends.http.connection import Connection
from backends.http.egress import Egress
from backends.http.transport import HttpTransport, TransportError

from .scripts import Script, answering, outgoing, read, scripted, send

T = TypeVar("T")
SIZE = 2 * READ_AHEAD
WITH_LENGTH = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (2 * SIZE)
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
EITHER = pytest.mark.parametrize("head", [WITH_LENGTH, UNTIL_CLOSE], ids=["with a length", "until close"])


def served(scenario: Coroutine[object, object, T]) -> T:
    """What `scenario` comes to in the loop that serves."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(scenario)


def by_hand(certificate: tuple[Path, Path], head: bytes, goes_on: asyncio.Event, word: bool) -> Script:
    """An upstream that sends half a body with the head, and then the rest and the connection's end at once, with TLS's
    own word for it or without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, sent, server_side=True)

        async def done(act: Callable[[], T]) -> T:
            while True:
                try:
                    return act()
                except ssl.SSLWantReadError:
                    writer.write(sent.read())
                    incoming.write(await reader.read(65536))

        await done(tls.do_handshake)
        request = b""
        while not request.endswith(b"\r\n\r\nhi"):
            request += await done(partial(tls.read, 65536))
        tls.write(head + b"x" * SIZE)
        writer.write(sent.read())
        await goes_on.wait()
        tls.write(b"x" * SIZE)
        if word:
            with suppress(ssl.SSLWantReadError):
                tls.unwrap()
        writer.write(sent.read())
        writer.write_eof()
        await reader.read()

    return script


@asynccontextmanager
async def behind(certificate: tuple[Path, Path], head: bytes, word: bool) -> AsyncIterator[Answer]:
    """An answer of which its reader has taken nothing when its connection has ended."""
    goes_on = asyncio.Event()
    transport = HttpTransport(Egress(trust=ssl.create_default_context(cafile=str(certificate[0]))))
    async with scripted(by_hand(certificate, head, goes_on, word)) as url, asyncio.timeout(60):
        answer = await send(transport, outgoing(url.replace("http:", "https:")))
        assert isinstance(answer, Answer)
        connection: Connection = answer._connection
        while not connection.paused:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        goes_on.set()
        while not connection.closed:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        yield answer
        await answer.aclose()
    await transport.aclose()


@EITHER
def test_an_answer_is_whole_however_far_its_reader_is_behind(certificate: tuple[Path, Path], head: bytes) -> None:
    """What TLS had in hand when the connection ended is not lost: neither a failure, nor a body cut short."""

    async def scenario() -> int:
        async with behind(certificate, head, word=True) as answer:
            return len(await answer.read(1 << 20))

    assert served(scenario()) == 2 * SIZE


def test_an_end_without_tlss_word_is_no_end(certificate: tuple[Path, Path]) -> None:
    """Anybody on the way can end a connection; a body that ends with it would be cut short, and nobody told."""

    async def scenario() -> None:
        async with behind(certificate, UNTIL_CLOSE, word=False) as answer:
            with pytest.raises(TransportError, match="broke while the answer was arriving"):
                await answer.read(1 << 20)

    served(scenario())


def test_a_length_says_enough(certificate: tuple[Path, Path]) -> None:
    """An answer that is as long as it said is whole, also where TLS's word for the end is missing."""

    async def scenario() -> int:
        async with behind(certificate, WITH_LENGTH, word=False) as answer:
            return len(await answer.read(1 << 20))

    assert served(scenario()) == 2 * SIZE


class Resolving(asyncio.SelectorEventLoop):
    """A loop that finds names with a dot at their end, which not every machine's resolver does for this one."""

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        return await super().getaddrinfo("127.0.0.1" if host == "localhost." else host, port, **options)


def test_the_roots_dot_is_for_the_resolver(certificate: tuple[Path, Path]) -> None:
    """A URL may name `localhost.`; its certificate has `localhost`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    async def scenario() -> bytes:
        transport = HttpTransport(Egress(trust=ssl.create_default_context(cafile=str(certificate[0]))))
        async with scripted(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), context) as url:
            body = await read(transport, outgoing(url.replace("127.0.0.1", "localhost.")))
        await transport.aclose()
        return body

    with asyncio.Runner(loop_factory=Resolving) as runner:
        assert runner.run(scenario()) == b"ok"


def test_a_deadline_is_told_from_a_target_that_is_not_there() -> None:
    """Timers of the loop that serves count in milliseconds and may fire early; whose time is over is known anyway."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def scenario() -> list[bool]:
        transport, told = HttpTransport(), []
        async with scripted(silent) as url:
            for hundredths in range(100):
                with pytest.raises(TransportError) as caught:
                    await send(transport, outgoing(url.replace("http:", "https:")), 0.003 + hundredths / 100_000)
                told.append(caught.value.timed_out)
        await transport.aclose()
        return told

    assert served(scenario()) == [True] * 100
