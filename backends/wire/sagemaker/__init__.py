"""SageMaker Runtime's InvokeEndpoint and InvokeEndpointWithResponseStream, from both ends.

`requests` and `replies` serve clients, `errors` says what went wrong in the words clients match; `client` and
`failures` speak to endpoints. All pure: values in, values out.
"""

from __future__ import annotations

from ..restjson import EVENT_STREAM
from .client import RESPONSE_LIMIT, read_reply, write_headers, write_url
from .errors import (
    ErrorReply,
    WireError,
    body_too_slow,
    component_no_capacity,
    component_not_allowed,
    component_required,
    endpoint_not_found,
    internal_dependency,
    internal_failure,
    model_error,
    model_not_ready,
    model_timeout,
    payload_too_large,
    service_unavailable,
    throttled,
    unknown_component,
    unknown_operation,
    validation_error,
    write_error,
)
from .failures import STREAM_BROKEN, TIME_EXCEEDED, read_error, read_event
from .fields import FIELDS, Field, Kind, is_name
from .replies import DEFAULT_VARIANT, reply_lines, stream_failure, stream_lines, write_reply, write_stream_head
from .requests import Operation, read_call, read_invocation, read_operation

__all__ = [
    "DEFAULT_VARIANT",
    "EVENT_STREAM",
    "FIELDS",
    "RESPONSE_LIMIT",
    "STREAM_BROKEN",
    "TIME_EXCEEDED",
    "ErrorReply",
    "Field",
    "Kind",
    "Operation",
    "WireError",
    "body_too_slow",
    "component_no_capacity",
    "component_not_allowed",
    "component_required",
    "endpoint_not_found",
    "internal_dependency",
    "internal_failure",
    "is_name",
    "model_error",
    "model_not_ready",
    "model_timeout",
    "payload_too_large",
    "read_call",
    "read_error",
    "read_event",
    "read_invocation",
    "read_operation",
    "read_reply",
    "reply_lines",
    "service_unavailable",
    "stream_failure",
    "stream_lines",
    "throttled",
    "unknown_component",
    "unknown_operation",
    "validation_error",
    "write_error",
    "write_headers",
    "write_reply",
    "write_stream_head",
    "write_url",
]
