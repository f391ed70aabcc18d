"""What follows from a request's outcome: its overhead and the target that had the last word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.outcome import AttemptOutcome, Outcome

OUTCOME = Outcome(
    request_id="r", endpoint="e", component=None, operation="InvokeEndpoint", status=200, error_type=None, ended="done",
    started=0.0, seconds=0.0, backend_seconds=0.0, first_chunk_seconds=None, first_chunk_backend_seconds=None,
    attempts=(), bytes_in=0, bytes_out=0, parts_out=0, policy="", why="",
)  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "backend", "queue", "overhead"),
    [(3.0, 2.0, 0.0, 1.0), (2.0, 2.0, 0.0, 0.0), (2.0, 2.5, 0.0, 0.0), (3.0, 1.0, 1.5, 0.5)],
)
def test_overhead_is_what_targets_and_their_queues_did_not_take(
    seconds: float, backend: float, queue: float, overhead: float
) -> None:
    """It is never negative, even when clock readings overlap."""
    told = replace(OUTCOME, seconds=seconds, backend_seconds=backend, queue_seconds=queue)
    assert told.overhead_seconds == overhead


def test_target_is_the_one_tried_last() -> None:
    """The fallback that answered is the target; a request that was never sent has none."""
    first, second = (AttemptOutcome(target=name, kind="vllm", replica=0, seconds=0.1) for name in ("first", "second"))
    assert replace(OUTCOME, attempts=(first, second)).target == "second"
    assert OUTCOME.target is None
