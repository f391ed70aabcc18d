"""The heads of successful answers, for both operations, and the frame that ends a broken stream.

Promises: a value that cannot stand in a header field (a customer's handler may have made it), or that is longer than
AWS's model has it, is left out: no answer can be split by one, and no head outgrows what clients take.
"""

from __future__ import annotations

import re

from ...base import Headers, Reply
from ..eventstream import exception_frame
from ..restjson import EVENT_STREAM
from .errors import clip

DEFAULT_VARIANT = "AllTraffic"
"""The variant's name that SageMaker's own SDKs give to a single variant."""

_VARIANT = f"x-Amzn-Invoked-Production-Variant: {DEFAULT_VARIANT}\r\n"
_KINDS = ("application/json", "text/event-stream", "text/event-stream; charset=utf-8")
_USUAL = {kind: f"{_VARIANT}Content-Type: {kind}\r\n" for kind in _KINDS}
"""The lines of almost every answer, by its type."""
_USUAL_STREAM = {
    kind: f"{_VARIANT}X-Amzn-SageMaker-Content-Type: {kind}\r\nContent-Type: {EVENT_STREAM}\r\n" for kind in _KINDS
}
"""The same where it is streamed."""

LONGEST = 1024
"""Characters of a value, by AWS's service model. All five are less than the 8 KB that many clients take of a head."""
_FIELD_VALUE = re.compile(rf"[\x20-\x7e\t]{{0,{LONGEST}}}")


def reply_lines(reply: Reply, request_id: str) -> str:
    """`write_reply` as the lines of a head, each with its end."""
    usual = _USUAL.get(reply.content_type or "")
    if usual is None or reply.variant or reply.custom_attributes or reply.new_session_id or reply.closed_session_id:
        return _head_lines(write_reply(reply, request_id))
    return f"x-amzn-RequestId: {request_id}\r\n{usual}"


def stream_lines(reply: Reply, request_id: str) -> str:
    """`write_stream_head` as the lines of a head, each with its end."""
    usual = _USUAL_STREAM.get(reply.content_type or "")
    if usual is None or reply.variant or reply.custom_attributes is not None:
        return _head_lines(write_stream_head(reply, request_id))
    return f"x-amzn-RequestId: {request_id}\r\n{usual}"


def _head_lines(fields: Headers) -> str:
    """Fields that were made here, and so hold no line break, as the lines of a head."""
    return "".join([f"{name}: {value}\r\n" for name, value in fields])


def write_reply(reply: Reply, request_id: str) -> Headers:
    """Header fields of InvokeEndpoint's 200; what is empty is not there."""
    return _fields(
        ("x-amzn-RequestId", request_id),
        ("x-Amzn-Invoked-Production-Variant", reply.variant or DEFAULT_VARIANT),
        ("Content-Type", reply.content_type),
        ("X-Amzn-SageMaker-Custom-Attributes", reply.custom_attributes or None),
        ("X-Amzn-SageMaker-New-Session-Id", reply.new_session_id or None),
        ("X-Amzn-SageMaker-Closed-Session-Id", reply.closed_session_id or None),
    )


def write_stream_head(reply: Reply, request_id: str) -> Headers:
    """Header fields of InvokeEndpointWithResponseStream's 200; the container's type moves to a header of its own.

    Session headers are not modelled on this operation.
    """
    return _fields(
        ("x-amzn-RequestId", request_id),
        ("x-Amzn-Invoked-Production-Variant", reply.variant or DEFAULT_VARIANT),
        ("X-Amzn-SageMaker-Content-Type", reply.content_type),
        ("X-Amzn-SageMaker-Custom-Attributes", reply.custom_attributes),
        ("Content-Type", EVENT_STREAM),
    )


def stream_failure(kind: str, message: str, error_code: str | None = None) -> bytes:
    """The exception frame after which a broken stream ends.

    `kind` is `ModelStreamError`, whose `error_code` is `ModelInvocationTimeExceeded` or `StreamBroken`, or
    `InternalStreamFailure`, which has none (botocore model).
    """
    return exception_frame(kind, clip(message), error_code)


def _fields(*pairs: tuple[str, str | None]) -> Headers:
    return tuple((name, value) for name, value in pairs if value is not None and _FIELD_VALUE.fullmatch(value))
