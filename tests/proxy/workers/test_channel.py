"""Whole messages over a socket pair."""

from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.workers.channel import LONGEST, UNREAD, channel_of
from proxy.workers.messages import Accept, Drain, Ready, Yours

from .parts import line


async def test_messages_arrive_whole_and_in_order() -> None:
    """Also one that is longer than any buffer of the kernel, between two short ones."""
    one, other = await line()
    long = Yours("x" * 3_000_000)
    for message in (Accept(), long, Drain()):
        one.tell(message)
    assert [await other.hear() for _ in range(3)] == [Accept(), long, Drain()]
    await asyncio.gather(one.close(), other.close())


async def test_the_end_of_the_line_is_heard_after_the_last_message() -> None:
    """What was said before the end is not lost by it, and telling a closed line does nothing."""
    one, other = await line()
    one.tell(Ready("a/1"))
    await one.close()
    one.tell(Accept())
    assert [await other.hear(), await other.hear()] == [Ready("a/1"), None]
    other.tell(Accept())
    await other.close()


@pytest.mark.parametrize("data", [b"\x00\x00\x00\x02{}", (LONGEST + 1).to_bytes(4, "big"), b"\x00\x00\x00\x09half"])
async def test_garbage_ends_the_line(data: bytes) -> None:
    """What can't be understood, is too long, or stops in the middle, is no message."""
    ours, theirs = socket.socketpair()
    channel = await channel_of(ours)
    theirs.sendall(data)
    theirs.shutdown(socket.SHUT_WR)
    assert await channel.hear() is None
    theirs.close()
    await channel.close()


async def test_an_end_that_does_not_read_is_left() -> None:
    """What waits for it is bounded."""
    ours, theirs = socket.socketpair()
    channel = await channel_of(ours)
    before = channel.behind
    channel.tell(Yours("x" * 8_000_000))
    assert (before, channel.behind) == (False, True)
    for _ in range(UNREAD // 8_000_000 + 2):
        channel.tell(Yours("x" * 8_000_000))
    assert await channel.hear() is None
    theirs.close()
    await channel.close()
