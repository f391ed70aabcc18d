"""Errors of the runtime API as clients know them: types, statuses, fields, and the texts that clients match.

Promises: every error carries `x-amzn-ErrorType`, `x-amzn-RequestId`, `Content-Type: application/json` and a capital
`Message`, which is what boto3 and the JavaScript SDK need to raise the typed exception. Texts come from AWS's developer
guide and from answers quoted in AWS's issue trackers; where no captured text is known the docstring says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import orjson

from ...base import Headers
from .fields import printable

LONGEST_MESSAGE = 2048
"""Characters in Message and OriginalMessage (botocore model)."""

_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
    "each container in Amazon CloudWatch, resolve the issue, and try again."
)


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """One error answer, before it is bytes."""

    status: int
    type: str
    message: str
    original_status: int | None = None
    """Status the model's container answered with; 0 when it did not answer in time."""
    original_message: str | None = None
    log_stream_arn: str | None = None
    error_code: str | None = None
    retry_after: float | None = None
    """Seconds a client should wait."""


class WireError(Exception):
    """The caller's request cannot be served as it stands; `reply` is the whole answer."""

    def __init__(self, reply: ErrorReply) -> None:
        super().__init__(f"{reply.type}: {reply.message}")
        self.reply = reply


def write_error(reply: ErrorReply, request_id: str) -> tuple[int, Headers, bytes]:
    """Status, header fields and body of an error answer."""
    document: dict[str, str | int] = {"Message": clip(reply.message)}
    if reply.original_status is not None:
        document["OriginalStatusCode"] = reply.original_status
    if reply.original_message is not None:
        document["OriginalMessage"] = clip(reply.original_message)
    if reply.log_stream_arn is not None:
        document["LogStreamArn"] = reply.log_stream_arn
    if reply.error_code is not None:
        document["ErrorCode"] = reply.error_code
    headers: list[tuple[str, str]] = [
        ("x-amzn-RequestId", request_id),
        ("x-amzn-ErrorType", reply.type),
        ("Content-Type", "application/json"),
    ]
    if reply.retry_after is not None:
        wait = max(reply.retry_after, 0.0)
        headers.append(("Retry-After", str(math.ceil(wait))))
        # botocore 1.44's standard mode reads this one, in milliseconds, and not the other
        headers.append(("x-amz-retry-after", str(math.ceil(wait * 1000))))
    return reply.status, tuple(headers), orjson.dumps(document)


def validation_error(message: str) -> ErrorReply:
    return ErrorReply(400, "ValidationError", message)


def unknown_operation(method: str) -> ErrorReply:
    """A path, or a method on a path, that the API does not have. AWS's routers answer 404 to both."""
    said = (
        f"Unknown operation: this API has POST /endpoints/{{EndpointName}}/invocations and its siblings, not {method}"
    )
    return ErrorReply(404, "UnknownOperationException", f"{said} on this path.")


def not_offered(operation: str, instead: str) -> ErrorReply:
    """An operation that AWS has and this proxy does not serve yet."""
    return validation_error(f"{operation} is not offered yet by this endpoint's proxy. {instead}")


def endpoint_not_found(endpoint: str, account: str) -> ErrorReply:
    return validation_error(f"Endpoint {printable(endpoint)} of account {account} not found.")


def component_required() -> ErrorReply:
    return validation_error(
        "Inference Component Name header is required for endpoints to which you plan to deploy inference components. "
        "Please include Inference Component Name header or consider using SageMaker models."
    )


def component_not_allowed() -> ErrorReply:
    return validation_error(
        "Inference Component Name header is not allowed for endpoints to which you dont plan to deploy inference "
        "components. Please remove the Inference Component Name header and try again."
    )


def unknown_component(component: str, account: str) -> ErrorReply:
    """No captured text is known for this one; it follows the one for endpoints."""
    return validation_error(f"Inference Component {printable(component)} of account {account} not found.")


def component_no_capacity() -> ErrorReply:
    """A component scaled to zero: 400 at once, which no SDK retries."""
    return validation_error(
        "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress (if "
        "configured) or try to increase the capacity by invoking UpdateInferenceComponentRuntimeConfig API."
    )


def payload_too_large(limit: int) -> ErrorReply:
    """`limit` in bytes. AWS models no type for 413 and botocore then calls the error `413`: that is its type here."""
    return ErrorReply(413, "413", f"The request body is larger than the {limit} bytes that this endpoint accepts.")


def body_too_slow() -> ErrorReply:
    """Nothing ran, so SDKs may send it again, and botocore does: the type is that of its inference routers' 408."""
    return ErrorReply(408, "RequestTimeoutException", "The request's body did not arrive in time.")


def model_error(
    original_status: int,
    original_message: str,
    *,
    region: str,
    account: str,
    endpoint: str,
    log_stream_arn: str | None = None,
    error_code: str | None = None,
) -> ErrorReply:
    """The model's container answered with an error, in AWS's own words.

    `original_status` 0 means that no answer came. `CLIENT_ERROR_FROM_MODEL` was captured from AWS; its counterpart for
    everything but 4xx follows it and was not.
    """
    caller = 400 <= original_status < 500
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:group={group}"
    head = f'Received {"client" if caller else "server"} error ({original_status}) from primary with message "'
    tail = f'". See {console} in account {account} for more information.'
    original = printable(original_message)
    return ErrorReply(
        424,
        "ModelError",
        head + clip(original, LONGEST_MESSAGE - len(head) - len(tail)) + tail,
        original_status=original_status,
        original_message=original,
        log_stream_arn=log_stream_arn or f"arn:aws:logs:{region}:{account}:log-group:{group}",
        error_code=error_code or ("CLIENT_ERROR_FROM_MODEL" if caller else "SERVER_ERROR_FROM_MODEL"),
    )


def model_timeout(*, region: str, account: str, endpoint: str) -> ErrorReply:
    """The model did not answer within the deadline: 424 with OriginalStatusCode 0 (developer guide)."""
    return model_error(0, _TIMED_OUT, region=region, account=account, endpoint=endpoint)


def model_not_ready(retry_after: float | None = None) -> ErrorReply:
    said = "Model is not ready for inference yet. Please wait and try your request again."
    return ErrorReply(429, "ModelNotReadyException", said, retry_after=retry_after)


def throttled(message: str | None = None, retry_after: float | None = None) -> ErrorReply:
    return ErrorReply(429, "ThrottlingException", message or "Rate exceeded", retry_after=retry_after)


def not_authenticated(kind: str, message: str) -> ErrorReply:
    """Who is asking could not be made sure; `kind` is one of AWS's common error types. SDKs send a 403 once."""
    return ErrorReply(403, kind, message)


def access_denied(who: str, operation: str, endpoint: str) -> ErrorReply:
    """Who is asking is known, and may not; in IAM's words. It is said of endpoints that do not exist as well."""
    resource = clip(printable(endpoint), 200)
    said = f"User: {who} is not authorized to perform: sagemaker:{operation} on resource: endpoint/{resource}"
    return ErrorReply(403, "AccessDeniedException", said)


def service_unavailable(retry_after: float | None = None, message: str | None = None) -> ErrorReply:
    said = message or "The service is temporarily unavailable. Please try again."
    return ErrorReply(503, "ServiceUnavailable", said, retry_after=retry_after)


def internal_failure() -> ErrorReply:
    return ErrorReply(500, "InternalFailure", "An internal failure occurred.")


def internal_dependency() -> ErrorReply:
    return ErrorReply(530, "InternalDependencyException", "A service that this one depends on failed.")


def clip(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """`text` cut to `longest` characters, and fit for any JSON writer."""
    text = printable(text)
    if len(text) <= longest:
        return text
    return text[: max(longest - 3, 0)] + "..."
