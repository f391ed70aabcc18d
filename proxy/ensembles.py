"""What a customer's hook may ask while its request waits: another endpoint of the policy, or its own model once more.

It is a request like any other, with a line in the log, counts and spans of its own, under the deadline and the trace of
the one that asks. It ends in a whole answer or in one InvokeError, whose status is what the other model said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Final

from backends.base import Invocation, Reply
from backends.errors import BackendError
from backends.outcome import Outcome
from backends.wire.usage import counted
from policies.facts import Fault

from .handlers.errors import HandlerError
from .handlers.guest.values import InvokeError, Question
from .handlers.guest.values import Reply as Given
from .record import Record
from .services import Services
from .traced import RequestTrace

DEEPEST = 4
"""How deep requests of handlers may nest; more is taken for a circle."""

TOO_DEEP, NOT_FOUND, BAD_GATEWAY, UNAVAILABLE, GATEWAY_TIMEOUT = 508, 404, 502, 503, 504

_TYPES: Final[Mapping[Fault, str]] = MappingProxyType(
    {
        Fault.CALLER: "ValidationError",
        Fault.MODEL: "ModelError",
        Fault.PLATFORM: "ServiceUnavailable",
        Fault.NETWORK: "ModelError",
        Fault.CONFIG: "InternalFailure",
    }
)

Serve = Callable[[Invocation, Record, RequestTrace, Services, int], AbstractAsyncContextManager[tuple[Reply, float]]]
"""The pipeline; the last argument is the depth."""


async def ask(
    question: Question,
    asker: Invocation,
    deadline: float,
    depth: int,
    trace: RequestTrace,
    services: Services,
    serve: Serve,
) -> Given:
    """The answer of another endpoint. Raises InvokeError."""
    if depth >= DEEPEST:
        message = f"handlers invoke one another {DEEPEST} deep; is there a circle?"
        raise InvokeError(TOO_DEEP, message)
    now = services.now()
    invocation = Invocation(
        endpoint=question.endpoint or asker.endpoint,
        component=question.component,
        streaming=False,
        body=question.body,
        request_id=asker.request_id,
        content_type=question.content_type,
        accept=question.accept,
        custom_attributes=question.custom_attributes,
        session_id=None,
        sdk_invocation_id=asker.sdk_invocation_id,
        sdk_attempt=asker.sdk_attempt,
        longest=max(0.0, deadline - now),
    )
    record = Record(request_id=asker.request_id, arrived=now, started=services.wall())
    record.bytes_in, record.inner = len(question.body), True
    record.operation, record.invocation, record.trace_id = "InvokeEndpoint", invocation, trace.trace_id
    inner = trace.inner(invocation)
    try:
        async with serve(invocation, record, inner, services, depth + 1) as (reply, _):
            given = await whole(reply)
            record.usage = counted(reply)
            record.head_sent(200)
            record.bytes_out = len(given.body)
            record.over("done")
            return given
    except Exception as error:
        failure = refusal(error)
        record.head_sent(failure.status_code, error_type(error))
        record.over("failed" if isinstance(error, BackendError | HandlerError) else "refused")
        record.why = record.why or f"{error}: {invocation.endpoint}"
        raise failure from error
    finally:
        outcome: Outcome = record.outcome(services.now())
        services.meters.record(outcome)
        services.log.write(outcome)
        inner.finish(outcome)


async def whole(reply: Reply) -> Given:
    """An answer in one piece, as a hook gets it."""
    body = reply.body if reply.stream is None else b"".join([piece async for piece in reply.stream])
    return Given(body, reply.content_type, reply.custom_attributes)


def error_type(error: Exception) -> str:
    """The AWS error type of a failure, for log and metrics: a hook is told a status alone."""
    if not isinstance(error, BackendError):
        return "ModelError" if isinstance(error, HandlerError) else "ValidationError"
    facts = error.facts
    if facts.cold:
        return "ModelNotReadyException"
    if facts.throttled and not facts.timed_out:
        return "ThrottlingException"
    return "ModelError" if facts.timed_out else _TYPES[facts.fault]


def refusal(error: Exception) -> InvokeError:
    """Why there is no answer, as a hook is told."""
    if isinstance(error, HandlerError):
        return InvokeError(error.status, error.said)
    if not isinstance(error, BackendError):
        return InvokeError(NOT_FOUND, f"the policy serves no such endpoint: {error}")
    facts, said = error.facts, error.said
    if facts.timed_out:
        return InvokeError(GATEWAY_TIMEOUT, "the model did not answer in time")
    if said is not None and said.status >= 400:
        return InvokeError(said.status, said.message)
    if facts.cold or facts.throttled:
        return InvokeError(UNAVAILABLE, "the model has no copy ready" if facts.cold else "the model is throttled")
    return InvokeError(BAD_GATEWAY, "the model gave no answer")
