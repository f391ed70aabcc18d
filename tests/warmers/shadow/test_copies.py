"""One copy, asked and heard."""

from __future__ import annotations

import itertools

import pytest

from backends.base import Reply
from backends.errors import BackendError, Said
from backends.wire.comparison import Cadence, Heard
from backends.wire.comparison.heard import LONGEST_CADENCE
from policies.facts import FailureFacts, Fault
from tests.warmers.shadow.scene import COLD, NEW, REFUSED, THROTTLED, Pieces, Scripted, answer, call, said, stream
from warmers.shadow.copies import LONGEST, Copy, copied, heard_of

BROKEN = BackendError(FailureFacts(Fault.NETWORK, None), NEW, "reset")


async def _copied(backend: Scripted) -> Copy:
    """A copy, by a clock that moves a second each time it is read."""
    return await copied(backend, NEW, call(), 60.0, 0, map(float, itertools.count()).__next__)


async def test_a_whole_answer_is_heard() -> None:
    """Body, type and attributes; it is answered when it is over."""
    found = await _copied(Scripted({"new": answer(custom_attributes="a=b")}))
    assert found.heard == Heard(content_type="application/json", attributes=True, body=said())
    assert found.first == found.seconds
    assert found.failure is None


async def test_a_stream_is_heard_to_its_end_and_closed() -> None:
    """Its pieces are joined, and their pace is kept."""
    reply = stream(b"a", b"b", b"c")
    found = await _copied(Scripted({"new": reply}))
    assert found.heard == Heard(content_type="text/event-stream", body=b"abc", cadence=Cadence(2.0, (1.0, 1.0)))
    assert (found.first, found.seconds) == (2.0, 5.0)
    assert isinstance(reply.stream, Pieces)
    assert reply.stream.closed == 1


async def test_no_more_gaps_are_kept_than_say_something() -> None:
    """A stream of a hundred thousand tokens has the pace of its beginning."""
    found = await _copied(Scripted({"new": stream(*[b"x"] * (LONGEST_CADENCE + 9))}))
    assert found.heard is not None
    assert found.heard.cadence is not None
    assert len(found.heard.cadence.gaps) == LONGEST_CADENCE


async def test_an_endless_stream_is_left() -> None:
    """Beyond the limit it is closed, nothing is kept, and nothing is compared."""
    reply = stream(*[b"x" * (LONGEST // 2)] * 3, AssertionError("read on"))
    found = await _copied(Scripted({"new": reply}))
    assert (found.heard, found.failure) == (None, None)
    assert isinstance(reply.stream, Pieces)
    assert reply.stream.closed == 1


async def test_too_long_a_body_is_not_compared() -> None:
    """The limit holds for whole answers too."""
    assert (await _copied(Scripted({"new": Reply(body=b"x" * (LONGEST + 1))}))).heard is None


async def test_a_stream_that_breaks_is_heard_as_broken() -> None:
    """After its head a failure is the answer's, whatever broke it; the time of its first piece is known."""
    found = await _copied(Scripted({"new": stream(b"a", BROKEN)}))
    assert found.heard == Heard(content_type="text/event-stream", broken=True)
    assert found.failure is BROKEN
    assert (await _copied(Scripted({"new": stream(BROKEN)}))).first == 2.0


@pytest.mark.parametrize(("facts", "cold"), [(COLD, True), (THROTTLED, False)])
async def test_a_failure_of_the_hosting_says_nothing_about_answers(facts: FailureFacts, cold: bool) -> None:
    """It is an outcome, and no part of a comparison."""
    found = await _copied(Scripted({"new": facts}))
    assert (found.heard, found.cold) == (None, cold)
    assert found.failure is not None


@pytest.mark.parametrize(
    ("facts", "said_", "expected"),
    [
        (REFUSED, Said(400, "no", "ModelError"), Heard(status=400, error="ModelError")),
        (REFUSED, Said(422, "no"), Heard(status=422, error="model")),
        (REFUSED, None, Heard(status=500, error="model")),
        (
            FailureFacts(Fault.CALLER, False),
            Said(0, "no", "ValidationError"),
            Heard(status=500, error="ValidationError"),
        ),
        (FailureFacts(Fault.MODEL, None, timed_out=True), None, None),
        (FailureFacts(Fault.MODEL, True, throttled=True), None, None),
        (FailureFacts(Fault.MODEL, True, shed=True), None, None),
        (FailureFacts(Fault.MODEL, True, cold=True), None, None),
        (FailureFacts(Fault.CONFIG, False), None, None),
    ],
)
def test_only_what_a_model_says_is_compared(facts: FailureFacts, said_: Said | None, expected: Heard | None) -> None:
    """Status and class of the model's own refusal; nothing where the moment or the hosting is to blame."""
    assert heard_of(BackendError(facts, NEW, "cause", said_)) == expected
