"""Connections within a loop: what is written arrives, whole, in order, and held back where nobody reads."""

from __future__ import annotations

import asyncio

import pytest

from proxy.rehearsal.network import HIGH, Network


class End(asyncio.Protocol):
    """Writes down what happens to it."""

    def __init__(self) -> None:
        self.got = b""
        self.said: list[str] = []
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data

    def eof_received(self) -> None:
        self.said.append("eof")

    def pause_writing(self) -> None:
        self.said.append("pause")

    def resume_writing(self) -> None:
        self.said.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.said.append(f"lost {type(exc).__name__}" if exc else "lost")


def connected() -> tuple[End, End, asyncio.Transport, asyncio.Transport]:
    network, far, near = Network(asyncio.get_running_loop()), End(), End()
    server = network.listen(lambda: far, "127.0.0.1", 0)
    here, _ = network.connect(lambda: near, server.sockets[0].getsockname()[1])
    assert far.transport is not None
    return near, far, here, far.transport


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_bytes_arrive_in_order() -> None:
    """Both sides hear what the other wrote."""
    near, far, here, there = connected()
    here.write(b"one ")
    here.writelines([b"two ", b"three"])
    there.write(b"yes")
    assert far.got == b""
    await turns()
    assert (far.got, near.got) == (b"one two three", b"yes")


async def test_close_lets_what_was_written_arrive() -> None:
    """The other side reads to the end, hears of it, and is closed as well."""
    near, far, here, there = connected()
    here.write(b"last words")
    here.close()
    await turns()
    assert far.got == b"last words"
    assert (near.said, far.said) == (["lost"], ["eof", "lost"])
    assert there.is_closing()


async def test_abort_breaks_the_other_side() -> None:
    """What was not read yet is dropped, and the other side sees a reset."""
    near, far, here, _ = connected()
    here.write(b"never read")
    here.abort()
    await turns()
    assert near.said == ["lost"]
    assert far.said == ["lost ConnectionResetError"]


async def test_a_reader_that_is_behind_holds_the_writer() -> None:
    """Past the mark the writer is paused until the reader has caught up."""
    near, far, here, there = connected()
    there.pause_reading()
    here.write(b"x" * (HIGH + 1))
    await turns()
    assert (near.said, far.got) == (["pause"], b"")
    there.resume_reading()
    await turns()
    assert (near.said, len(far.got)) == (["pause", "resume"], HIGH + 1)


async def test_ports_are_taken_once_and_freed() -> None:
    """A port has one listener; when it stops, connections are refused."""
    network = Network(asyncio.get_running_loop())
    server = network.listen(End, "127.0.0.1", 80)
    with pytest.raises(OSError, match="in use"):
        network.listen(End, "127.0.0.1", 80)
    server.close()
    with pytest.raises(ConnectionRefusedError):
        network.connect(End, 80)
