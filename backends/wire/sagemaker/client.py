"""Our own calls to endpoints: an invocation out, an answer's head in.

Promises: every header that the operation models is forwarded under the operation's own name for it; the component is
the target's, never the client's, which only chose the route. Nothing else of the client's request goes out: its
signature, its Host and its tracing headers were for us.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from urllib.parse import quote

from policies.table import EndpointSpec

from ...base import ByteStream, Call, Counts, Headers, Reply
from .fields import FIELDS, Kind

RESPONSE_LIMIT = 25 * 1024 * 1024
"""Longest answer of a blocking call, in bytes: AWS documents 25 MB for real-time payloads."""

_FROM_CALL = ("content_type", "accept", "custom_attributes")
"""What a customer's pre-processing may have changed."""


class _Sent:
    """The headers of one operation, and where their values are.

    Most requests have a type and nothing else, which is seen without a look at each field.
    """

    __slots__ = ("_called", "_invoked", "component")

    def __init__(self, kind: Kind) -> None:
        here = [field for field in FIELDS if kind in field.wire]
        self.component = next(field.wire[kind] for field in here if field.attribute == "component")
        self._called = tuple(field.wire[kind] for name in _FROM_CALL for field in here if field.attribute == name)
        others = [field for field in here if field.attribute not in {*_FROM_CALL, "component"}]
        self._invoked = tuple(field.wire[kind] for field in others), attrgetter(*(field.attribute for field in others))

    def of(self, call: Call) -> list[tuple[str, str]]:
        """Every header that the call has a value for."""
        content_type, accept, attributes = self._called
        found = []
        if call.content_type:
            found.append((content_type, call.content_type))
        if call.accept:
            found.append((accept, call.accept))
        if call.custom_attributes:
            found.append((attributes, call.custom_attributes))
        names, values_of = self._invoked
        values: tuple[str | None, ...] = values_of(call.invocation)
        if any(values):
            found += [(name, value) for name, value in zip(names, values, strict=True) if value]
        return found


_INVOKED, _STREAMED = _Sent(Kind.INVOKE), _Sent(Kind.STREAM)
_OPERATION = {False: Kind.INVOKE.value, True: Kind.STREAM.value}
_IDENTITY = ("Accept-Encoding", "identity")


def write_url(base_url: str, spec: EndpointSpec, *, streamed: bool) -> str:
    """Where the endpoint of `spec` is called; `base_url` without a trailing slash."""
    return f"{base_url}/endpoints/{quote(spec.endpoint, safe='')}/{_OPERATION[streamed]}"


def write_headers(spec: EndpointSpec, call: Call) -> Headers:
    """The header fields that go with `call` to the endpoint of `spec`."""
    sent = _STREAMED if call.invocation.streaming else _INVOKED
    component = ((sent.component, spec.component),) if spec.component else ()
    return (_IDENTITY, *sent.of(call), *component)


def read_reply(
    first: Mapping[bytes, bytes],
    *,
    streaming: bool,
    body: bytes = b"",
    stream: ByteStream | None = None,
    uncounted: bytes | None = None,
    counts: Counts | None = None,
) -> Reply:
    """The answer with that head: the first value of each field, by its name in lower case."""
    found = first.get
    kind = found(b"x-amzn-sagemaker-content-type" if streaming else b"content-type")
    attributes = found(b"x-amzn-sagemaker-custom-attributes")
    variant = found(b"x-amzn-invoked-production-variant")
    new_session, closed_session = (
        found(b"x-amzn-sagemaker-new-session-id"),
        found(b"x-amzn-sagemaker-closed-session-id"),
    )
    named = found(b"x-amzn-requestid")
    return Reply(
        body,
        stream,
        kind.decode("utf-8", "surrogateescape") if kind else None,
        attributes.decode("utf-8", "surrogateescape") if attributes else None,
        variant.decode("utf-8", "surrogateescape") if variant else None,
        new_session.decode("utf-8", "surrogateescape") if new_session else None,
        closed_session.decode("utf-8", "surrogateescape") if closed_session else None,
        named.decode("utf-8", "surrogateescape") if named else None,
        None,
        uncounted,
        counts,
    )
