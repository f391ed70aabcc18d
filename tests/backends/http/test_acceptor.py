"""Several processes at one listening socket: who takes which connection, and that none is left behind."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from backends.http.acceptor import STAND_BACK, Acceptor, Alone, Place, listening_at, places_of, seal
from backends.http.limits import Limits
from backends.tasks import start

TLS = Path(__file__).parents[2] / "data" / "tls"


class Open(asyncio.Protocol):
    """A connection that is kept, and counted."""

    def __init__(self, kept: list[asyncio.BaseTransport]) -> None:
        self._kept = kept

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._kept.append(transport)


class Asked:
    """Whose turn it is, as a test has decided."""

    def __init__(self, answer: Callable[[int], bool]) -> None:
        self.answer = answer
        self.asked: list[int] = []

    def mine(self, connections: int) -> bool:
        self.asked.append(connections)
        return self.answer(connections)


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=64)


def accepting(
    sock: socket.socket, crowd: Asked, *others: socket.socket, stand_back: float = STAND_BACK
) -> tuple[Acceptor, list[asyncio.BaseTransport]]:
    kept: list[asyncio.BaseTransport] = []
    listening = [sock, *others]
    return Acceptor(listening, lambda: Open(kept), lambda: len(kept), crowd, None, stand_back=stand_back), kept


async def connected(sock: socket.socket, count: int) -> list[asyncio.StreamWriter]:
    opened = [await asyncio.open_connection(*sock.getsockname()[:2]) for _ in range(count)]
    return [writer for _, writer in opened]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - connections arrive in the loop's own time, without an event
            await asyncio.sleep(0)


async def over(writers: list[asyncio.StreamWriter], kept: list[asyncio.BaseTransport]) -> None:
    for transport in (*(writer.transport for writer in writers), *kept):
        transport.abort()  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_process_with_more_than_its_part_stands_back_once_and_then_takes() -> None:
    """The other may be busy: it gets a moment, and the client does not wait for longer than that."""
    sock = listening()
    crowd = Asked(lambda _: False)
    accepts, kept = accepting(sock, crowd)
    accepts.start()
    writers = await connected(sock, 3)
    await until(lambda: len(kept) == 3)
    assert len(crowd.asked) == 3
    await accepts.stop()
    await over(writers, kept)


async def test_connections_go_to_the_process_that_has_room() -> None:
    """One that says no leaves them to one that says yes, here for longer than the test takes."""
    sock = listening()
    second = sock.dup()
    full, full_kept = accepting(sock, Asked(lambda _: False), stand_back=60.0)
    free, free_kept = accepting(second, Asked(lambda _: True))
    full.start()
    free.start()
    writers = await connected(second, 20)
    await until(lambda: len(free_kept) == 20)
    assert full_kept == []
    await full.stop()
    await free.stop()
    await over(writers, full_kept + free_kept)


async def test_stopping_takes_what_waits_and_leaves_the_queue_to_others() -> None:
    """A connection that is in the queue at the end is served; one that comes later stays for another process."""
    sock = listening()
    held = sock.dup()
    accepts, kept = accepting(sock, Asked(lambda _: True))
    writers = await connected(held, 5)
    await accepts.stop()
    assert len(kept) == 5
    late = await connected(held, 1)
    other, others = accepting(held, Asked(lambda _: True))
    other.start()
    await until(lambda: len(others) == 1)
    await other.stop()
    await over(writers + late, kept + others)


async def test_a_sealed_queue_can_be_emptied_before_it_is_closed() -> None:
    """Nobody joins it any more: who waits is served, who comes later is refused and not cut off."""
    [sock] = listening_at("127.0.0.1", 0)
    address, held = sock.getsockname(), sock.dup()
    accepts, kept = accepting(sock, Asked(Alone().mine))
    writers = await connected(sock, 5)
    seal(sock)
    late = start(asyncio.open_connection(*address), name="late")
    await asyncio.sleep(0)
    await accepts.stop()
    assert len(kept) == 5
    with pytest.raises(BlockingIOError):  # it did not come into the queue that another process still holds
        held.accept()
    held.close()
    with pytest.raises(ConnectionRefusedError):
        await late
    await over(writers, kept)


TEST_NET = "203.0.113.1"
"""An address that no machine has: RFC 5737."""


def places(*addresses: str) -> Callable[[str], list[Place]]:
    """What a name may stand for."""
    return lambda _: [(socket.AF_INET, (each, 0)) for each in addresses]


def test_a_name_s_addresses_share_one_port() -> None:
    """As clients pick any of them; one that a name has twice is one, and one that is another machine's is left out."""
    held = listening_at("name", 0, places("127.0.0.1", TEST_NET, "127.0.0.2", "127.0.0.1"))
    port = held[0].getsockname()[1]
    assert [sock.getsockname() for sock in held] == [("127.0.0.1", port), ("127.0.0.2", port)]
    for sock in held:
        with sock, socket.create_connection(sock.getsockname(), 60):
            pass
    assert places_of("127.0.0.1") == [(socket.AF_INET, ("127.0.0.1", 0))]


def test_an_address_that_can_not_be_had_is_named_and_the_others_are_given_back() -> None:
    """Half a name would be found out by half of the clients only."""
    with listening() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use") as refused:
            listening_at("name", port, places("127.0.0.2", "127.0.0.1"))
        assert refused.value.filename == "127.0.0.1"
        with listening_at("127.0.0.2", port)[0]:
            pass
    with pytest.raises(OSError, match=TEST_NET):
        listening_at("name", 0, places(TEST_NET))


def test_a_port_that_is_free_nowhere_else_is_not_looked_for_without_end() -> None:
    """Any will do, but none is free at both: what takes all addresses takes the first as well."""
    with pytest.raises(OSError, match="in use") as refused:
        listening_at("name", 0, places("127.0.0.1", "0.0.0.0"))
    assert refused.value.filename == "0.0.0.0"


async def test_connections_of_all_sockets_are_taken() -> None:
    """Also after it stood back, and at the end those that wait in any queue."""
    one, other = listening(), listening()
    accepts, kept = accepting(one, Asked(lambda _: False), other)
    addresses = one.dup(), other.dup()
    accepts.start()
    writers = [writer for each in addresses for writer in await connected(each, 2)]
    await until(lambda: len(kept) == 4)
    writers += [writer for each in addresses for writer in await connected(each, 2)]
    await accepts.stop()
    assert len(kept) == 8
    assert (one.fileno(), other.fileno()) == (-1, -1)
    for each in addresses:
        each.close()
    await over(writers, kept)


def test_a_system_without_such_a_filter_goes_on() -> None:
    """A pipe for one has no packets."""
    one, other = socket.socketpair()
    one.close()
    seal(one)
    other.close()


def tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    return context


async def test_handshakes_have_the_time_of_a_head_and_count_as_connections() -> None:
    """Who begins none is closed, and as long as such ones take all places nobody else's handshake is begun."""
    sock = listening()
    kept: list[asyncio.BaseTransport] = []
    limits = Limits(head_time=0.5, connections=2)
    accepts = Acceptor([sock], lambda: Open(kept), lambda: len(kept), Asked(lambda _: True), tls(), limits)
    accepts.start()
    silent = [await asyncio.open_connection(*sock.getsockname()) for _ in range(2)]
    reader, third = await asyncio.open_connection(*sock.getsockname())
    with suppress(ConnectionError):
        assert await reader.read() == b""
    for reader, _ in silent:
        with suppress(ConnectionError):
            assert await reader.read() == b""
    trust = ssl.create_default_context(cafile=TLS / "ca.pem")
    trust.check_hostname = False
    _, through = await asyncio.open_connection(*sock.getsockname(), ssl=trust)
    await until(lambda: len(kept) == 1)
    await accepts.stop()
    await over([through, third, *(writer for _, writer in silent)], kept)


async def test_a_handshake_that_hangs_does_not_hold_up_the_end() -> None:
    """Its connection is closed after a while, and one that was already through stays."""
    sock = listening()
    kept: list[asyncio.BaseTransport] = []
    accepts = Acceptor([sock], lambda: Open(kept), lambda: len(kept), Asked(lambda _: True), tls())
    accepts.start()
    address = sock.getsockname()
    reader, silent = await asyncio.open_connection(*address)
    trust = ssl.create_default_context(cafile=TLS / "ca.pem")
    trust.check_hostname = False
    _, through = await asyncio.open_connection(*address, ssl=trust)
    await until(lambda: len(kept) == 1)
    await accepts.stop(0.05)
    assert await reader.read() == b""
    assert not kept[0].is_closing()
    await over([silent, through], kept)


async def test_a_handshake_has_its_time_from_its_beginning_when_accepting_stops() -> None:
    """One that hangs for that long ends at once. Another that began a moment ago goes on, and is waited for."""
    sock = listening()
    kept: list[asyncio.BaseTransport] = []
    limits = Limits(head_time=600.0)
    accepts = Acceptor([sock], lambda: Open(kept), lambda: len(kept), Asked(lambda _: True), tls(), limits)
    accepts.start()
    reader, silent = await asyncio.open_connection(*sock.getsockname())
    await until(lambda: len(accepts._arriving) == 1)
    for hanging in accepts._arriving:
        accepts._arriving[hanging] -= 600.0
    _, begun = await asyncio.open_connection(*sock.getsockname())
    await until(lambda: len(accepts._arriving) == 2)
    stopping = start(accepts.stop(600.0), name="stops")
    assert await reader.read() == b""
    trust = ssl.create_default_context(cafile=TLS / "ca.pem")
    trust.check_hostname = False
    assert not stopping.done()
    await begun.start_tls(trust)
    await stopping
    assert len(kept) == 1
    await over([silent, begun], kept)


async def test_descriptors_that_run_out_cost_a_pause_and_no_connection(caplog: pytest.LogCaptureFixture) -> None:
    """What can't be accepted now waits in the queue until it can; it is said once in that time, not in each turn."""
    sock = listening()
    accepts, kept = accepting(sock, Asked(lambda _: True))
    writers = await connected(sock, 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as highest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest.fileno(), hard))
        try:
            accepts.start()
            for _ in range(20):
                await asyncio.sleep(0)
            assert kept == []
            assert caplog.text.count("no connection can be accepted") == 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await until(lambda: len(kept) == 2)
    await accepts.stop()
    await over(writers, kept)
