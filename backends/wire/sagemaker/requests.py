"""A client's request, read strictly: (method, path, headers, body) in, `Invocation` or a typed refusal out.

Real clients differ more than the model says, so what carries no meaning is tolerated: header names in any case, empty
header fields (they count as absent), a path prefix (boto3 keeps one that its endpoint URL has), a query or a bare `?`
behind the path, and headers that the operation does not model, which are ignored as AWS ignores them (so
`X-Amzn-SageMaker-Target-Model` on a stream, and `Accept` there too). What is modelled is held to the model's
constraints, all of them in one message, since no SDK checks any. Values that AWS calls sensitive are never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import field as field_of
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from policies.values import value

from ...base import HOP_HEADER, Headers, Invocation, Trace
from ..trace import read_trace
from .errors import ErrorReply, WireError, not_offered, unknown_operation, validation_error
from .fields import ENDPOINT, FIELDS, INVOKE_BY_NAME, STREAM_BY_NAME, Field, Kind

_PATH = re.compile(r"(?:.*)/endpoints/([^/]*)/([a-z-]+)", re.DOTALL)
_ATTEMPT = re.compile(r"\battempt=(\d{1,4})")
_LONGEST_SDK_ID = 128
_UNMODELLED = (HOP_HEADER, "amz-sdk-invocation-id", "amz-sdk-request", "traceparent", "tracestate")
_COMMON = (
    "Host", "User-Agent", "Content-Length", "Accept", "Accept-Encoding", "Connection", "Transfer-Encoding", "Expect",
    "Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-SHA256",
)  # fmt: skip
"""Fields of almost every request that mean nothing here, where the operation does not model them."""

_IGNORED, _READ = replace(ENDPOINT, member=""), replace(ENDPOINT, member="")
"""In place of a modelled field: one that means nothing here, and one that is read but not modelled."""


def _spelled(kind: Kind) -> dict[str, Field]:
    """Names as clients spell them (as in the model, lower case, or as Go's), so that they need not be folded."""
    modelled = [(field.wire[kind], field) for field in FIELDS if kind in field.wire]
    named = [*((name, _IGNORED) for name in _COMMON), *((name, _READ) for name in _UNMODELLED), *modelled]
    return {spelling: field for name, field in named for spelling in (name, name.lower(), name.title())}


_INVOKE_SPELLED, _STREAM_SPELLED = _spelled(Kind.INVOKE), _spelled(Kind.STREAM)

_KINDS = {kind.value: kind for kind in Kind}
_NOT_OFFERED = {
    "async-invocations": (
        "InvokeEndpointAsync",
        "Call InvokeEndpoint, or send asynchronous calls to SageMaker's own host without this endpoint URL.",
    ),
    "invocations-bidirectional-stream": (
        "InvokeEndpointWithBidirectionalStream",
        "Call InvokeEndpointWithResponseStream, or send bidirectional calls to SageMaker's own host.",
    ),
}


@value(frozen=True, slots=True)
class Operation:
    """What the request line asks for."""

    kind: Kind
    endpoint: str
    """Percent-decoded, not yet validated."""
    sound: bool = field_of(default=False, compare=False)
    """The endpoint's name is known to be one that an endpoint can have; otherwise it is looked at for each request."""
    name: str = field_of(init=False, compare=False, default="")
    """The operation's name in the API."""

    def __post_init__(self) -> None:
        name = "InvokeEndpoint" if self.kind is Kind.INVOKE else "InvokeEndpointWithResponseStream"
        object.__setattr__(self, "name", name)


def read_operation(method: str, raw_path: str) -> Operation:
    """The operation of a request line; `raw_path` is the target as received, percent-encoded, with or without a query.

    Raises:
        WireError: not an operation of this API, or one that is not offered yet.
    """
    found = _PATH.fullmatch(raw_path.partition("?")[0])
    if found is None:
        raise WireError(unknown_operation(_shown(method)))
    name, last = found.groups()
    refused = _NOT_OFFERED.get(last)
    if method != "POST" or (refused is None and last not in _KINDS):
        raise WireError(unknown_operation(_shown(method)))
    if refused is not None:
        raise WireError(not_offered(*refused))
    kind, name = _KINDS[last], unquote(name, errors="replace") if "%" in name else name
    return Operation(kind, name, ENDPOINT.fits(name, kind))


def read_invocation(operation: Operation, headers: Headers, body: bytes, request_id: str) -> Invocation:
    """The invocation that a request carries; `headers` as received, any case.

    Raises:
        WireError: one or more constraints are violated; all of them are in the message.
    """
    kind = operation.kind
    values, others, sound = _taken(kind, headers)
    if not sound or not (operation.sound or ENDPOINT.fits(operation.endpoint, kind)):
        raise WireError(_refusal(operation, headers))
    attributes = values.get("custom_attributes")
    sdk_id, attempt, trace, hops = None, 1, None, None
    if others:
        hops = others[HOP_HEADER][0] if HOP_HEADER in others else None
        sdk_id, attempt = _sdk_id(others.get("amz-sdk-invocation-id", [])), _attempt(others.get("amz-sdk-request", ()))
    if others or (attributes is not None and "traceparent=" in attributes):
        trace = read_trace(others.get("traceparent", ()), others.get("tracestate", ()), attributes)
    return Invocation(
        operation.endpoint,
        values.pop("component", None),
        kind is Kind.STREAM,
        body,
        request_id,
        sdk_invocation_id=sdk_id,
        sdk_attempt=attempt,
        trace=trace,
        headers=headers,
        hops=hops,
        **values,
    )


def read_call(headers: Headers) -> tuple[str | None, int, Trace | None]:
    """By what a client and its traces know a request, whatever is wrong with it: the id of the SDK's call, which of its
    attempts it is, and the trace context of the header fields."""
    given: dict[str, list[str]] = {}
    for name, raw in headers:
        given.setdefault(name.lower(), []).append(raw.strip(" \t"))
    trace = read_trace(given.get("traceparent", ()), given.get("tracestate", ()), None)
    return _sdk_id(given.get("amz-sdk-invocation-id", [])), _attempt(given.get("amz-sdk-request", ())), trace


def _taken(kind: Kind, headers: Headers) -> tuple[dict[str, Any], dict[str, list[str]], bool]:
    """The modelled values by attribute, those that are read but not modelled, and whether the former are sound."""
    spelled = _INVOKE_SPELLED if kind is Kind.INVOKE else _STREAM_SPELLED
    values: dict[str, Any] = {}
    others: dict[str, list[str]] = {}
    sound = True
    for name, raw in headers:
        field = spelled.get(name) or spelled.get(name.lower(), _IGNORED)
        if field is _IGNORED:
            continue
        text = raw.strip(" \t")
        if field is _READ:
            others.setdefault(name.lower(), []).append(text)
        elif text:
            attribute = field.attribute
            if attribute in values:
                if field.joins:
                    text = f"{values[attribute]}, {text}"
                elif values[attribute] != text:
                    sound = False
            values[attribute] = text
            if not field.fits(text, kind):
                sound = False
    return values, others, sound


def _refusal(operation: Operation, headers: Headers) -> ErrorReply:
    """Everything that is wrong with a request, in one message."""
    kind = operation.kind
    given, problems = _collect(kind, headers)
    problems = [*ENDPOINT.problems(operation.endpoint, kind), *problems]
    for field, text in given.items():
        problems.extend(field.problems(text, kind))
    plural = "s" if len(problems) > 1 else ""
    said = f"{len(problems)} validation error{plural} detected: " + "; ".join(problems)
    return validation_error(said)


def _collect(kind: Kind, headers: Headers) -> tuple[dict[Field, str], list[str]]:
    """The modelled values, and what is wrong with their number."""
    known = INVOKE_BY_NAME if kind is Kind.INVOKE else STREAM_BY_NAME
    given: dict[Field, str] = {}
    problems: list[str] = []
    for name, raw in headers:
        field, text = known.get(name.lower()), raw.strip(" \t")
        if field is None or not text:
            continue
        if field not in given:
            given[field] = text
        elif field.joins:
            given[field] = f"{given[field]}, {text}"
        elif given[field] != text:
            said = f"Value at '{field.member}' failed to satisfy constraint: "
            problems.append(f"{said}Header {field.wire[kind]} must be given once")
    return given, problems


def _attempt(requests: Sequence[str]) -> int:
    """Which attempt of the SDK's own this is, from 1."""
    found = _ATTEMPT.search(",".join(requests))
    return max(int(found[1]), 1) if found else 1


def _sdk_id(values: list[str]) -> str | None:
    """Read for logs and for telling a retry from a new call, so a strange one is ignored, not refused."""
    if not values or not values[0] or len(values[0]) > _LONGEST_SDK_ID:
        return None
    return values[0] if values[0].isascii() and values[0].isprintable() else None


def _shown(method: str) -> str:
    return method if re.fullmatch(r"[A-Z]{1,16}", method) else "another method"
