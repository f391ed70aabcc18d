"""A copy as it is told."""

from __future__ import annotations

import pytest

from backends.errors import BackendError, Said
from backends.outcome import SHADOW
from backends.wire.comparison import Heard
from tests.warmers.shadow.scene import NEW, REFUSED, THROTTLED, Scene, call, route, table_of
from warmers.shadow import Copy, Taken, shadowing_of
from warmers.shadow.telling import outcome_of


def taken() -> Taken:
    plan = shadowing_of(route(), table_of(route()))
    assert plan is not None
    return Taken(plan, route(), call(), 0.0, lambda: 1.0, Scene().shadows)


async def test_an_answer_is_told_with_its_times_and_sizes() -> None:
    """The request that it is a copy of stands in the reason; what was said stands nowhere."""
    told = outcome_of(taken(), call(b"1234"), Copy(NEW, 2.0, 0.5, Heard(body=b"abc")), 1, 10.0, "d/1", "t" * 32)
    assert (told.operation, told.status, told.ended, told.error_type) == (SHADOW, 200, "done", None)
    assert (told.seconds, told.backend_seconds, told.overhead_seconds, told.bytes_in, told.bytes_out) == (2, 2, 0, 4, 3)
    assert (told.started, told.policy, told.trace_id, told.owner) == (10.0, "d/1", "t" * 32, "us")
    assert told.why == "copy of r-1 for the migration chat"
    assert (told.target, told.attempts[0].replica, told.attempts[0].seconds) == ("new", 1, 0.5)
    assert told.first_chunk_seconds is None
    assert outcome_of(taken(), call(streaming=True), Copy(NEW, 2, 0.5), 0, 0, "", None).first_chunk_seconds == 0.5


@pytest.mark.parametrize(
    ("failure", "status", "kind", "model"),
    [
        (BackendError(REFUSED, NEW, "no", Said(422, "no", "ModelError")), 422, "ModelError", 422),
        (BackendError(THROTTLED, NEW, "later", Said(0, "later")), 503, None, None),
        (BackendError(THROTTLED, NEW, "later"), 503, None, None),
    ],
)
async def test_a_failure_is_told_as_one(
    failure: BackendError, status: int, kind: str | None, model: int | None
) -> None:
    """Status and type are what was said, else that of a service that is not there."""
    told = outcome_of(taken(), call(), Copy(NEW, 1.0, 1.0, None, failure), 0, 0.0, "", None)
    assert (told.ended, told.status, told.error_type, told.bytes_out) == ("failed", status, kind, 0)
    assert (told.attempts[0].failure, told.attempts[0].status) == (failure.cause, model)
    assert told.attempts[0].throttled == (failure.facts is THROTTLED)
