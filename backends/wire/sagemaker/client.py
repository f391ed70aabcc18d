"""Our own calls to endpoints: an invocation out, an answer's head in.

Promises: every header that the operation models is forwarded under the operation's own name for it; the component is
the target's, never the client's, which only chose the route. Nothing else of the client's request goes out: its
signature, its Host and its tracing headers were for us.
"""

from __future__ import annotations

from urllib.parse import quote

from policies.table import EndpointSpec

from ...base import ByteStream, Call, Headers, Reply
from ..restjson import Unsigned, header
from .fields import FIELDS, Kind

RESPONSE_LIMIT = 25 * 1024 * 1024
"""Longest answer of a blocking call, in bytes: AWS documents 25 MB for real-time payloads."""

_FROM_CALL = frozenset({"content_type", "accept", "custom_attributes"})
"""What a customer's pre-processing may have changed."""


def write_request(base_url: str, spec: EndpointSpec, call: Call) -> Unsigned:
    """The request that sends `call` to the endpoint of `spec`; `base_url` without a trailing slash."""
    invocation = call.invocation
    kind = Kind.STREAM if call.streaming else Kind.INVOKE
    headers: list[tuple[str, str]] = [("Accept-Encoding", "identity")]
    for field in FIELDS:
        name = field.wire.get(kind)
        if name is None:
            continue
        if field.attribute == "component":
            value = spec.component
        else:
            value = getattr(call if field.attribute in _FROM_CALL else invocation, field.attribute)
        if value:
            headers.append((name, value))
    return Unsigned(f"{base_url}/endpoints/{quote(spec.endpoint, safe='')}/{kind.value}", tuple(headers), call.body)


def read_reply(headers: Headers, *, streaming: bool, body: bytes = b"", stream: ByteStream | None = None) -> Reply:
    """The answer whose head is `headers`."""
    return Reply(
        body=body,
        stream=stream,
        content_type=header(headers, "x-amzn-sagemaker-content-type" if streaming else "content-type"),
        custom_attributes=header(headers, "x-amzn-sagemaker-custom-attributes"),
        variant=header(headers, "x-amzn-invoked-production-variant"),
        new_session_id=header(headers, "x-amzn-sagemaker-new-session-id"),
        closed_session_id=header(headers, "x-amzn-sagemaker-closed-session-id"),
        upstream_request_id=header(headers, "x-amzn-requestid"),
    )
