"""Which requests are sampled, and how much of them is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.errors import BackendError, Said
from policies import sessions
from policies.table import Sticky
from tests.warmers.shadow.scene import (
    INSIDE_CONTAINERS,
    NEW,
    OLD,
    REFUSED,
    Scene,
    answer,
    call,
    route,
    running,
    stream,
)
from warmers.shadow import shadows as module


@pytest.mark.parametrize(("draw", "expected"), [(0.04, True), (0.05, False)])
async def test_the_share_is_of_what_the_old_target_serves(draw: float, expected: bool) -> None:
    """A draw below the share samples; a request that another target answered never is."""
    scene = Scene(route(0.05), draws=lambda: draw)
    assert scene.sampled() == expected
    reply = answer()
    assert scene.shadows.answered(scene.route, call(), NEW, reply, 0.0) == (None, reply)


async def test_no_copy_leaves_the_boundary() -> None:
    """Outside it, or without a migration, nothing is even counted."""
    for found in (route(boundary=INSIDE_CONTAINERS), route(shift=None)):
        scene = Scene(found)
        assert not scene.sampled()
        assert scene.counts.results == {}


async def test_unfit_requests_are_counted_and_left() -> None:
    """Too large a body, a stream for a target without streams, and a new session are not copied."""
    scene = Scene()
    small = replace(NEW, body_limit=3, streams=False)
    scene.table = replace(scene.table, targets={"old": OLD, "new": small})
    for asked in (call(b"1234"), call(b"1", streaming=True), call(b"1", session_id="NEW_SESSION")):
        assert not scene.sampled(asked=asked)
    assert scene.counts.results == {"size": 1, "streams": 1, "session": 1}


async def test_requests_of_stateful_sessions_are_left() -> None:
    """One that is opened, one whose id says where it lives, and any where sessions do not only name the caller."""
    named = Scene(route(sticky=Sticky("session")))
    tagged = sessions.marked(named.route, OLD, 0, "s-1")
    assert tagged != "s-1"
    for session_id in ("NEW_SESSION", tagged):
        assert not named.sampled(asked=call(session_id=session_id))
    assert named.sampled(asked=call(session_id="s-1"))
    other = Scene()
    assert not other.sampled(asked=call(session_id="s-1"))
    assert (named.counts.results, other.counts.results) == ({"session": 2}, {"session": 1})


async def test_what_waits_is_bounded_in_number() -> None:
    """Beyond the bound requests are dropped and counted; nothing waits for room."""
    scene = Scene()
    sampled = [scene.sampled() for _ in range(module.WAITING + 3)]
    assert sampled.count(True) == module.WAITING
    assert scene.counts.results == {"load": 3}


async def test_what_is_kept_is_bounded_in_bytes() -> None:
    """Bodies of requests and answers count from being sampled to being compared; then the room is there again."""
    scene = Scene()
    third = b"x" * (module.HELD // 3)
    sampled = [scene.sampled(asked=call(third)) for _ in range(5)]
    assert sampled.count(True) < 5
    assert scene.counts.results["load"] >= 2
    dropped = scene.counts.results.total()
    async with running(scene):
        await scene.counts.until(5)
        assert scene.counts.results["compared"] == 5 - dropped
        assert scene.sampled(asked=call(third))
        await scene.counts.until(6)


async def test_streams_on_their_way_count_as_kept() -> None:
    """Many long answers at a time hold no more than the bound: the one that would pass it is let go."""
    scene, piece = Scene(), b"x" * (1024 * 1024)
    going = [
        scene.shadows.answered(scene.route, call(streaming=True), OLD, stream(piece, piece[:-64]), 0.0)
        for _ in range(module.HELD // (2 * len(piece)) + 2)
    ]
    for _, reply in going:
        assert reply.stream is not None
        async for _ in reply.stream:
            pass
    for taken, _ in going:
        assert taken is not None
        taken.done()
    assert scene.counts.results["load"] >= 1
    assert scene.counts.results["load"] < 4


async def test_a_client_that_left_has_no_comparison() -> None:
    """A stream that was not read to its end is given up, and its bytes are free again."""
    scene = Scene()
    taken, reply = scene.shadows.answered(scene.route, call(streaming=True), OLD, stream(b"a", b"b"), 0.0)
    assert taken is not None
    assert reply.stream is not None
    assert await anext(aiter(reply.stream)) == b"a"
    taken.done()
    assert scene.counts.results == {"client_gone": 1}


async def test_a_failure_of_another_target_is_none_of_the_old_ones() -> None:
    """What a fallback answered or refused says nothing about the target that is left."""
    scene = Scene()
    scene.shadows.refused(scene.route, call(), BackendError(REFUSED, NEW, "no", Said(400, "no")))
    assert scene.counts.results == {}


async def test_the_time_to_the_first_piece_is_from_when_it_was_asked_for() -> None:
    """A stream is seen when its first piece is there; what it took until then counts."""
    scene = Scene(now=lambda: 10.0)
    taken, reply = scene.shadows.answered(scene.route, call(streaming=True), OLD, stream(b"a"), 1.5)
    assert taken is not None
    assert reply.stream is not None
    assert [piece async for piece in reply.stream] == [b"a"]
    assert taken.heard is not None
    assert taken.heard.cadence is not None
    assert taken.heard.cadence.first == 1.5
