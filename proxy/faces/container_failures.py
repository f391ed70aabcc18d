"""From failures to what a model container answers: the runtime API's table with its wrapping taken off.

SageMaker wraps whatever a container answers with an error status: the client gets a 424 whose OriginalStatusCode and
OriginalMessage are our status and body. So a model's own error goes out raw, and the client sees what it would have
seen had the model itself been the container. Anything else goes out with the status and the text that the client would
have got from us directly: it arrives inside a 424, since no container can say more.

What that costs: SDKs send 429, 500 and 503 again but never a 424, so behind SageMaker only the policy's own retries
and fallbacks are left. A deadline of ours is a 504 to the client's OriginalStatusCode, not the 0 of SageMaker's own,
unless it is so near to SageMaker's that SageMaker is left to tell it (`container.Container`).
"""

from __future__ import annotations

from backends.http.edge import Answer
from backends.wire.container import write_failure
from backends.wire.sagemaker import ErrorReply, WireError

from ..record import Record
from . import failures


def answer(error: Exception, record: Record) -> tuple[str, Answer]:
    """Error type and answer for a failure before the head of the answer was sent."""
    reply = failures.error_reply(error, record)
    return reply.type, written(reply, record.request_id)


def no_endpoint(key: str | None) -> WireError:
    """The request names no endpoint, and the process was started for none."""
    how = f"CustomAttributes has no item {key}=NAME" if key else "this process was started for no endpoint"
    return WireError(ErrorReply(400, "ValidationError", f"No endpoint is named: {how}."))


def other_path(status: int, message: str, request_id: str) -> Answer:
    """The answer to what is no request of the contract."""
    return written(ErrorReply(status, "ValidationError", message), request_id)


def written(reply: ErrorReply, request_id: str) -> Answer:
    """`reply` as a container says it."""
    return Answer(*write_failure(reply, request_id))
