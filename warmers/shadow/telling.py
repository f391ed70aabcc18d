"""A copy as it is told: a log line and a span of their own kind, like those of a request."""

from __future__ import annotations

from backends.base import Call
from backends.errors import BackendError
from backends.outcome import SHADOW, AttemptOutcome, Outcome

from .copies import Copy
from .taken import Taken


def outcome_of(
    taken: Taken, call: Call, copy: Copy, number: int, started: float, policy: str, trace_id: str | None
) -> Outcome:
    """`call` is what was sent to replica `number`; `started` is in seconds since 1970, `policy` a label."""
    failure, heard = copy.failure, copy.heard
    return Outcome(
        request_id=call.invocation.request_id,
        endpoint=taken.route.endpoint,
        component=taken.route.component,
        operation=SHADOW,
        status=200 if failure is None else _status(failure),
        error_type=failure.said.type if failure is not None and failure.said is not None else None,
        ended="done" if failure is None else "failed",
        started=started,
        seconds=copy.seconds,
        backend_seconds=copy.seconds,
        first_chunk_seconds=copy.first if call.streaming else None,
        first_chunk_backend_seconds=copy.first if call.streaming else None,
        attempts=(_attempt(copy, number),),
        bytes_in=len(call.body),
        bytes_out=len(heard.body) if heard is not None else 0,
        parts_out=0,
        policy=policy,
        why=f"copy of {taken.call.invocation.request_id} for the migration {taken.plan.migration}",
        owner=taken.route.owner,
        trace_id=trace_id,
    )


def _status(failure: BackendError) -> int:
    return failure.said.status or 503 if failure.said is not None else 503


def _attempt(copy: Copy, number: int) -> AttemptOutcome:
    failure, target = copy.failure, copy.target
    if failure is None:
        return AttemptOutcome(target.name, target.kind, number, copy.first)
    facts, said = failure.facts, failure.said
    return AttemptOutcome(
        target=target.name,
        kind=target.kind,
        replica=number,
        seconds=copy.first,
        failure=failure.cause,
        cold=facts.cold,
        throttled=facts.throttled,
        timed_out=facts.timed_out,
        status=(said.status or None) if said is not None else None,
    )
