"""Looking names up: one question at a time for each, and every address of the answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Coroutine
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from backends.http.egress import Egress
from backends.http.names import Names, Place
from backends.http.transport import HttpTransport, TransportError
from backends.tasks import start

from .scripts import answering, outgoing, read, scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Loop(asyncio.SelectorEventLoop):
    """A loop with a resolver of the test's own, which says nothing of `silent` until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.speaks = asyncio.Event()
        self.leads_to: dict[str, list[str]] = {"other": ["127.0.0.1"]}

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        if host[0].isdigit():
            return await super().getaddrinfo(host, port, **options)
        self.asked[host] += 1
        if host == "silent":
            await self.speaks.wait()
        if host not in self.leads_to:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in self.leads_to[host]]


def at(places: list[Place]) -> list[str]:
    """The addresses alone."""
    return [place[4][0] for place in places]


def played(loop: Loop, scenario: Coroutine[object, object, None]) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(scenario)


def test_a_name_whose_server_is_silent_is_looked_up_once() -> None:
    """Others who ask wait for the same answer and take no thread from another name; who leaves keeps nobody from it."""
    loop = Loop()

    async def scenario() -> None:
        names = Names(loop)
        first, *others = (start(names.places("silent", 80), name="asks") for _ in range(5))
        while not loop.asked["silent"]:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        assert at(await names.places("other", 80)) == ["127.0.0.1"]
        first.cancel()
        await asyncio.wait({first})
        loop.leads_to["silent"] = ["127.0.0.2"]
        loop.speaks.set()
        assert [at(each) for each in await asyncio.gather(*others)] == [["127.0.0.2"]] * 4
        assert loop.asked["silent"] == 1

    played(loop, scenario())


def test_nothing_is_remembered_beyond_an_answer() -> None:
    """A name that leads nowhere does so for all who wait; the next one asks anew."""
    loop = Loop()
    loop.speaks.set()

    async def scenario() -> None:
        names = Names(loop)
        told = await asyncio.gather(*(names.places("silent", 80) for _ in range(2)), return_exceptions=True)
        assert [type(each) for each in told] == [socket.gaierror] * 2
        loop.leads_to["silent"] = ["127.0.0.2"]
        assert at(await names.places("silent", 80)) == ["127.0.0.2"]
        assert loop.asked["silent"] == 2

    played(loop, scenario())


def test_the_end_waits_for_no_answer() -> None:
    """A transport that is closed leaves no look-up behind."""
    loop = Loop()

    async def scenario() -> None:
        names = Names(loop)
        asks = start(names.places("silent", 80), name="asks")
        while not loop.asked["silent"]:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        names.close()
        await asyncio.wait({asks})
        assert asks.cancelled()
        assert len(asyncio.all_tasks()) == 1

    played(loop, scenario())


def test_connections_to_one_name_ask_for_it_once() -> None:
    """However many requests want one at a time."""
    loop = Loop()

    async def scenario() -> None:
        transport = HttpTransport()
        asking = [start(read(transport, outgoing("http://silent:1")), name="asks") for _ in range(5)]
        while not loop.asked["silent"]:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        loop.speaks.set()
        told = await asyncio.gather(*asking, return_exceptions=True)
        assert [str(each) for each in told] == ["the target's name does not resolve"] * 5
        assert loop.asked["silent"] == 1
        await transport.aclose()

    played(loop, scenario())


def test_the_first_address_that_takes_a_connection_is_used() -> None:
    """A name with several addresses is reached as long as one of them listens; with none it is not there."""
    loop = Loop()

    async def scenario() -> None:
        transport = HttpTransport()
        async with scripted(answering(OK)) as url:
            loop.leads_to["several"] = ["127.0.0.2", "127.0.0.1", "127.0.0.3"]
            assert await read(transport, outgoing(url.replace("127.0.0.1", "several"))) == b"ok"
            loop.leads_to["none"] = ["127.0.0.2", "127.0.0.3"]
            with pytest.raises(TransportError, match="could not connect: ConnectionRefusedError") as caught:
                await read(transport, outgoing(url.replace("127.0.0.1", "none")))
        assert caught.value.sent is False
        await transport.aclose()

    played(loop, scenario())


def test_an_address_where_nobody_answers_costs_a_moment() -> None:
    """The next one is tried meanwhile: of two, the machine behind one may be gone without a word."""
    loop = Loop()

    async def scenario() -> None:
        transport = HttpTransport()
        async with scripted(answering(OK)) as url, asyncio.timeout(20):
            port = int(url.rpartition(":")[2])
            with ExitStack() as held:
                held.enter_context(socket.create_server(("127.0.0.2", port), backlog=0))
                for _ in range(4):  # its queue is full then, and the kernel says nothing to whoever comes
                    waiting = held.enter_context(socket.socket())
                    waiting.setblocking(False)
                    with suppress(BlockingIOError):
                        waiting.connect(("127.0.0.2", port))
                loop.leads_to["several"] = ["127.0.0.2", "127.0.0.1"]
                assert await read(transport, outgoing(f"http://several:{port}")) == b"ok"
        await transport.aclose()

    played(loop, scenario())


def test_tls_is_spoken_with_the_address_that_takes_the_connection(certificate: tuple[Path, Path]) -> None:
    """By the name that was asked for: its certificate is taken, and that of another name is not."""
    loop, context = Loop(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    trust = ssl.create_default_context(cafile=str(certificate[0]))

    async def scenario() -> None:
        transport = HttpTransport(Egress(trust=trust))
        async with scripted(answering(OK), context) as url:
            loop.leads_to |= {name: ["127.0.0.2", "127.0.0.1"] for name in ("engine.test", "other.test")}
            assert await read(transport, outgoing(url.replace("127.0.0.1", "engine.test"))) == b"ok"
            with pytest.raises(TransportError, match="TLS failed: CERTIFICATE_VERIFY_FAILED"):
                await read(transport, outgoing(url.replace("127.0.0.1", "other.test")))
        await transport.aclose()

    played(loop, scenario())
