"""Listening to what a client is answered."""

from __future__ import annotations

import pytest

from backends.base import Reply
from backends.errors import BackendError
from backends.wire.comparison import Cadence, Heard
from tests.warmers.shadow.scene import OLD, REFUSED, THROTTLED, Pieces, answer, call, route, said, stream, table_of
from warmers.shadow import Taken, shadowing_of
from warmers.shadow.copies import LONGEST


class Kept:
    """A keeper with room for so many bytes."""

    def __init__(self, room: int = 10**9) -> None:
        self.room = room

    def grew(self, size: int) -> bool:
        self.room -= size
        return self.room >= 0

    def offered(self, taken: Taken) -> None:
        self.room += taken.held


def taken(keeper: Kept | None = None) -> Taken:
    plan = shadowing_of(route(), table_of(route()))
    assert plan is not None
    return Taken(plan, route(), call(), 0.0, lambda: 1.0, keeper or Kept())


async def drained(reply: Reply) -> list[bytes]:
    assert reply.stream is not None
    return [piece async for piece in reply.stream]


def test_a_whole_answer_is_passed_on_as_it_is() -> None:
    """Nothing is wrapped or copied: the same reply, and its very bytes are kept."""
    one, reply = taken(), answer()
    assert one.watch(reply) is reply
    assert one.heard == Heard(content_type="application/json", body=said())
    assert one.heard.body is reply.body
    assert one.held == len(call().body) + len(reply.body)


async def test_a_stream_passes_unchanged() -> None:
    """The client gets each piece as it comes; once the end is reached the whole is known."""
    one, reply = taken(), stream(b"a", b"b")
    watched = one.watch(reply)
    assert not one.heard
    assert await drained(watched) == [b"a", b"b"]
    assert one.heard == Heard(content_type="text/event-stream", body=b"ab", cadence=Cadence(1.0, (0.0,)))
    assert one.held == len(call().body) + 2
    assert watched.stream is not None
    await watched.stream.aclose()
    assert isinstance(reply.stream, Pieces)
    assert reply.stream.closed == 1


async def test_a_long_stream_passes_whole_and_is_not_kept() -> None:
    """The limit is ours and not the client's."""
    one = taken()
    pieces = [b"x" * (LONGEST // 2)] * 3 + [b"end"]
    assert await drained(one.watch(stream(*pieces))) == pieces
    assert (one.heard, one.spoiled) == (None, "size")


def test_too_long_a_body_is_not_compared() -> None:
    """The same for a whole answer."""
    one = taken()
    one.watch(Reply(body=b"x" * (LONGEST + 1)))
    assert (one.heard, one.spoiled) == (None, "size")


async def test_a_stream_that_breaks_breaks_for_the_client_as_well() -> None:
    """The failure passes on; half an answer is not compared."""
    one, error = taken(), BackendError(THROTTLED, OLD, "gone")
    with pytest.raises(BackendError):
        await drained(one.watch(stream(b"a", error)))
    assert (one.heard, one.spoiled) == (None, "failure")


@pytest.mark.parametrize("reply", [answer(new_session_id="s"), answer(closed_session_id="s")])
def test_stateful_sessions_are_left_alone(reply: Reply) -> None:
    """A session that is opened or closed lives in one copy of the model; it is not asked twice."""
    one = taken()
    assert one.watch(reply) is reply
    assert (one.heard, one.spoiled) == (None, "session")


def test_failures_that_clients_are_told() -> None:
    """What the model refused is to be refused by the other as well; what the moment did is not compared."""
    one, other = taken(), taken()
    one.failed(BackendError(REFUSED, OLD, "no"))
    other.failed(BackendError(THROTTLED, OLD, "later"))
    assert (one.heard, one.spoiled) == (Heard(status=500, error="model"), None)
    assert (other.heard, other.spoiled) == (None, "failure")


async def test_what_there_is_no_room_for_is_let_go_and_passes_all_the_same() -> None:
    """A stream that grows beyond the room of the process is not kept to its end; nor is a whole answer."""
    keeper = Kept(len(call().body) + 3)
    one = taken(keeper)
    assert await drained(one.watch(stream(b"ab", b"cd", b"ef"))) == [b"ab", b"cd", b"ef"]
    assert (one.heard, one.spoiled, one.held) == (None, "load", len(call().body) + 4)
    one.done()
    assert keeper.room == len(call().body) + 3
    other = taken(keeper)
    other.watch(answer())
    assert (other.heard, other.spoiled) == (None, "load")
    other.done()
    assert keeper.room == len(call().body) + 3
