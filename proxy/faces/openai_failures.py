"""From failures to OpenAI's errors: the one table of that face, complete, with the reasons for each choice.

Statuses are those that OpenAI's own clients know. They send 408, 409, 429 and every 5xx again unless told otherwise, so
an answer after which the model may have run says `x-should-retry: false`. What the model itself answered is passed on
with its own status; what else went wrong shows nothing of our insides.
"""

from __future__ import annotations

from backends.errors import BackendError
from backends.http.edge import BodyTooLarge, BudgetSpent
from backends.wire import openai as wire
from backends.wire.openai import Problem, Refused
from backends.wire.sagemaker import ErrorReply, WireError
from policies.facts import Fault
from policies.table import Miss

from ..pipeline import RouteMissing
from ..record import Record
from . import failures

DEFAULT_WAIT = 10.0
"""Seconds after which a client should ask a model again that is not ready, when nobody knows better."""


def is_bug(error: Exception) -> bool:
    """True for what no table foresees."""
    return not isinstance(error, Refused) and failures.is_bug(error)


def kind(error: Exception, record: Record) -> str:
    """The error's type for log and metrics: the runtime API's word, so that one failure has one name on every face."""
    return "ValidationError" if isinstance(error, Refused) else failures.error_reply(error, record).type


def problem(error: Exception, record: Record, model: str) -> Problem:
    """The answer to a request for `model` that failed before the head of its answer was sent."""
    match error:
        case Refused():
            return error.problem
        case WireError() if error.reply.status == 403:
            return _not_let_in(error.reply)
        case BodyTooLarge():
            said = f"The request body is larger than the {error.limit} bytes that are accepted."
            return wire.invalid(said, status=413, code="request_too_large")
        case BudgetSpent():
            said = "The server holds as many request bodies as it may."
            return wire.throttled(said, failures.BUDGET_RETRY_AFTER)
        case RouteMissing():
            return wire.model_not_found(model, _HINTS.get(error.miss, ""))
        case BackendError():
            return _backend(error, record)
        case _:
            return _from_reply(failures.error_reply(error, record))


def _not_let_in(reply: ErrorReply) -> Problem:
    """Who is not known gets a 401, who may not a 403, as OpenAI's own clients expect them."""
    if reply.type == "AccessDeniedException":
        return Problem(403, reply.message, "permission_error", "insufficient_permissions")
    return wire.unauthorized(reply.message)


_HINTS = {
    Miss.COMPONENT_REQUIRED: " The endpoint has inference components: name one as `endpoint/component`.",
    Miss.COMPONENT_NOT_ALLOWED: " The endpoint has no inference components: name it alone.",
}


def _backend(error: BackendError, record: Record) -> Problem:
    facts = error.facts
    again = facts.retry_safe is not True
    if facts.cold:
        wait = facts.retry_after or (error.target.restore[0] if error.target.restore else DEFAULT_WAIT)
        text = "The model is not ready yet."
        if record.route is not None and record.route.cold_status == 503:
            return Problem(503, text, "server_error", "model_not_ready", retry_after=wait)
        return wire.throttled(text, wait, "model_not_ready")
    if facts.timed_out:
        return wire.late()
    if facts.throttled and facts.fault is Fault.PLATFORM:
        return wire.throttled("Rate limit reached.", facts.retry_after or 1.0)
    match facts.fault:
        case Fault.CALLER:
            return wire.invalid(error.said.message if error.said else "Invalid request.")
        case Fault.MODEL:
            said = error.said
            status, text = (said.status, said.message) if said else (500, "")
            return wire.model_problem(status, text, retry_after=facts.retry_after, may_have_run=again)
        case Fault.CONFIG:
            return wire.internal_error()
        case Fault.PLATFORM | Fault.NETWORK:
            return _unavailable(facts.retry_after) if facts.retry_safe else _lost()


def _unavailable(retry_after: float | None) -> Problem:
    said = "The model's hosting is temporarily unavailable."
    return Problem(503, said, "server_error", "service_unavailable", retry_after=retry_after)


def _lost() -> Problem:
    said = "The model's answer was lost, or its hosting failed."
    return wire.server_error(502, said, "bad_gateway", may_have_run=True)


def _from_reply(reply: ErrorReply) -> Problem:
    """The same in OpenAI's shape as the runtime API's table says; a ModelError is unwrapped."""
    if reply.original_status is not None:
        text = reply.original_message or ""
        return wire.model_problem(reply.original_status, text, retry_after=reply.retry_after, may_have_run=True)
    if reply.status < 500:
        return wire.invalid(reply.message, status=reply.status)
    return wire.internal_error()


def stream_problem(error: BackendError) -> Problem:
    """The event for a stream that broke after its head."""
    if error.facts.timed_out:
        return wire.late()
    if error.facts.fault is Fault.MODEL and error.said is not None and error.said.message:
        return wire.server_error(500, error.said.message, "model_error", may_have_run=True)
    said = "The stream broke before the model had finished its answer."
    return wire.server_error(502, said, "stream_broken", may_have_run=True)
