"""Our own calls to endpoints: an invocation out, an answer's head in.

Promises: every header that the operation models is forwarded under the operation's own name for it; the component is
the target's, never the client's, which only chose the route. Nothing else of the client's request goes out: its
signature, its Host and its tracing headers were for us.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

from policies.table import EndpointSpec

from ...base import ByteStream, Call, Reply, Usage
from ..restjson import Unsigned
from .fields import FIELDS, Kind

RESPONSE_LIMIT = 25 * 1024 * 1024
"""Longest answer of a blocking call, in bytes: AWS documents 25 MB for real-time payloads."""

_FROM_CALL = frozenset({"content_type", "accept", "custom_attributes"})
"""What a customer's pre-processing may have changed."""


def _sent(kind: Kind) -> tuple[tuple[str, str, bool], ...]:
    """Of every header of that operation its name, the attribute, and whether the call has it or the invocation."""
    return tuple(
        (field.wire[kind], field.attribute, field.attribute in _FROM_CALL) for field in FIELDS if kind in field.wire
    )


_INVOKED, _STREAMED = _sent(Kind.INVOKE), _sent(Kind.STREAM)
_UNQUOTED = re.compile(r"[a-zA-Z0-9-]*")


def write_request(base_url: str, spec: EndpointSpec, call: Call) -> Unsigned:
    """The request that sends `call` to the endpoint of `spec`; `base_url` without a trailing slash."""
    invocation = call.invocation
    headers: list[tuple[str, str]] = [("Accept-Encoding", "identity")]
    for name, attribute, of_call in _STREAMED if call.streaming else _INVOKED:
        value = getattr(call if of_call else invocation, attribute) if attribute != "component" else spec.component
        if value:
            headers.append((name, value))
    endpoint = spec.endpoint if _UNQUOTED.fullmatch(spec.endpoint) else quote(spec.endpoint, safe="")
    operation = "invocations-response-stream" if call.streaming else "invocations"
    return Unsigned(f"{base_url}/endpoints/{endpoint}/{operation}", tuple(headers), call.body)


def read_reply(
    header: Callable[[str], str | None],
    *,
    streaming: bool,
    body: bytes = b"",
    stream: ByteStream | None = None,
    usage: Usage | None = None,
) -> Reply:
    """The answer in whose head `header` finds the first value of a field, by its name in lower case."""
    return Reply(
        body=body,
        stream=stream,
        content_type=header("x-amzn-sagemaker-content-type" if streaming else "content-type") or None,
        custom_attributes=header("x-amzn-sagemaker-custom-attributes") or None,
        variant=header("x-amzn-invoked-production-variant") or None,
        new_session_id=header("x-amzn-sagemaker-new-session-id") or None,
        closed_session_id=header("x-amzn-sagemaker-closed-session-id") or None,
        upstream_request_id=header("x-amzn-requestid") or None,
        usage=usage,
    )
