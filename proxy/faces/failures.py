"""From failures to the Runtime API's typed errors: the one table, complete, with the reasons for each choice.

Clients see whose fault it is and nothing of our insides: no host, no credential, no exception text. The status also
decides whether SDKs send the request again: botocore repeats 429 throttling, 500, 502, 503 and 504 but not 400, 413,
424 and 530, so a failure of ours after which a second run would do harm is never one of the former. What a SageMaker
endpoint itself answers keeps its class: its 500 is the client's 500, as it was before there was a proxy.
"""

from __future__ import annotations

from dataclasses import replace

from backends.base import Invocation
from backends.errors import BackendError
from backends.http.edge import BodyTooLarge, BodyTooSlow, BudgetSpent
from backends.wire import sagemaker as wire
from backends.wire.sagemaker import ErrorReply, WireError
from policies.facts import Fault
from policies.table import Miss, Route

from ..pipeline import NoTarget, RouteMissing
from ..record import Record

BUDGET_RETRY_AFTER = 1.0
"""Seconds after which a request that met a full body budget should come again."""


def malformed(status: int, what: str) -> ErrorReply:
    """What never became a request: the parser's word for it, not the bytes; or want of place or time, or a bug."""
    if status == 503:
        return wire.service_unavailable(BUDGET_RETRY_AFTER, f"The proxy is full ({what}).")
    if status >= 500:  # a bug of ours, which is nobody's invalid request
        return wire.internal_failure()
    return ErrorReply(status=status, type="ValidationError", message=f"The request is not valid HTTP/1.1 ({what}).")


_LONGEST_COUNT = 4
"""Digits; Python itself takes no number of more than 4,300."""


def refuse_loop(invocation: Invocation, limit: int) -> None:
    """Raise WireError for a request that has passed `limit` proxies: some target leads back here.

    A 400, since SDKs would send a 5xx again and each copy would run around the loop once more.
    """
    hops = invocation.hops
    if hops is not None and (len(hops) > _LONGEST_COUNT or not hops.isdecimal() or int(hops) >= limit):
        message = "The request has passed through this proxy before: a target of its policy leads back to it."
        raise WireError(ErrorReply(status=400, type="ValidationError", message=message))


def is_bug(error: Exception) -> bool:
    """True for what no table here foresees: it is answered as InternalFailure and logged with its traceback."""
    ours = WireError | BodyTooLarge | BodyTooSlow | BudgetSpent | RouteMissing | BackendError | NoTarget
    return not isinstance(error, ours)


def error_reply(error: Exception, record: Record) -> ErrorReply:
    """The answer to a request that failed before the head of its answer was sent."""
    match error:
        case WireError():
            return error.reply
        case BodyTooLarge():
            return wire.payload_too_large(error.limit)
        case BodyTooSlow():
            return wire.body_too_slow()
        case BudgetSpent():
            return wire.throttled("The proxy holds as many request bodies as it may.", BUDGET_RETRY_AFTER)
        case RouteMissing():
            return _missing(error.miss, record)
        case BackendError():
            return _backend(error, record)
        case _:
            return wire.internal_failure()


def _missing(miss: Miss, record: Record) -> ErrorReply:
    endpoint = record.invocation.endpoint if record.invocation else ""
    component = record.invocation.component if record.invocation else None
    account = record.policy.table.account if record.policy else ""
    match miss:
        case Miss.UNKNOWN_ENDPOINT:
            return wire.endpoint_not_found(endpoint, account)
        case Miss.COMPONENT_REQUIRED:
            return wire.component_required()
        case Miss.COMPONENT_NOT_ALLOWED:
            return wire.component_not_allowed()
        case Miss.UNKNOWN_COMPONENT:
            return wire.unknown_component(component or "", account)


def _backend(error: BackendError, record: Record) -> ErrorReply:
    """What the failure is to the client, with the wait that the target asked for: a client may come again by itself."""
    reply, wait = _told(error, record), error.facts.retry_after
    return reply if wait is None or reply.retry_after is not None else replace(reply, retry_after=wait)


def _told(error: BackendError, record: Record) -> ErrorReply:
    facts = error.facts
    if facts.cold:
        return _cold(facts.retry_after, record.route)
    if facts.timed_out:
        return wire.model_timeout(**_place(error, record))
    if facts.throttled and facts.fault is Fault.PLATFORM:
        return wire.throttled(None, facts.retry_after)
    match facts.fault:
        case Fault.CALLER:
            return _from_caller(error)
        case Fault.MODEL:
            return _from_model(error, record)
        case Fault.PLATFORM:
            return _from_platform(error)
        case Fault.CONFIG:
            return wire.internal_failure()
        case Fault.NETWORK:
            if facts.retry_safe:
                return wire.service_unavailable(facts.retry_after)
            # It may have run: a 424 is not sent again by SDKs.
            return wire.model_error(
                502, "The model's answer was lost or could not be understood.", **_place(error, record)
            )


def _cold(retry_after: float | None, route: Route | None) -> ErrorReply:
    """A component at zero has its own text on SageMaker, every other cold model is "not ready"; or as the policy says.

    SDKs send neither the 400 nor SageMaker's 429 again by themselves (botocore 1.44), but every 503.
    """
    wanted = route.cold_status if route is not None else None
    if wanted == 503:
        return wire.service_unavailable(retry_after)
    if wanted is None and route is not None and route.component is not None:
        return replace(wire.component_no_capacity(), retry_after=retry_after)
    return wire.model_not_ready(retry_after)


def _from_caller(error: BackendError) -> ErrorReply:
    said = error.said
    if said is not None and said.status == 413:
        return wire.payload_too_large(error.target.body_limit)
    return ErrorReply(status=400, type="ValidationError", message=said.message if said else "Invalid request.")


def _from_model(error: BackendError, record: Record) -> ErrorReply:
    said = error.said
    if said is None:
        return wire.model_error(500, "", **_place(error, record))
    if said.type == "ModelError" and said.log_stream_arn:
        # SageMaker wrapped it already: pass on what it said, word for word.
        return wire.model_error(
            said.status,
            said.message,
            **_place(error, record),
            log_stream_arn=said.log_stream_arn,
            error_code=said.error_code,
        )
    return wire.model_error(said.status, said.message, **_place(error, record))


def _from_platform(error: BackendError) -> ErrorReply:
    said = error.said
    kind = said.type if said else None
    if kind == "InternalDependencyException":
        return wire.internal_dependency()
    if kind in {"ServiceUnavailable", "ServiceUnavailableException"} or (said is not None and said.status == 503):
        return wire.service_unavailable(error.facts.retry_after)
    return wire.internal_failure()


def _place(error: BackendError, record: Record) -> dict[str, str]:
    """Where the client believes the model to be: its own endpoint's name, our account, the target's region."""
    return {
        "endpoint": record.route.endpoint if record.route else "",
        "account": record.policy.table.account if record.policy else "",
        "region": error.target.region or "us-east-1",
    }


def stream_failure(error: BackendError) -> ErrorReply:
    """The exception frame for a stream that broke after its head: which error, which code, which words."""
    if error.facts.timed_out:
        return ErrorReply(
            status=200,
            type="ModelStreamError",
            message="The model did not finish its answer within the invocation's time limit.",
            error_code="ModelInvocationTimeExceeded",
        )
    if error.facts.fault is Fault.PLATFORM:
        return ErrorReply(status=200, type="InternalStreamFailure", message="The hosting service broke the stream off.")
    message = error.said.message if error.said else "The stream broke before the model had finished its answer."
    return ErrorReply(status=200, type="ModelStreamError", message=message, error_code="StreamBroken")
