"""Our own calls to endpoints: an invocation out, an answer's head in.

Promises: every header that the operation models is forwarded under the operation's own name for it; the component is
the target's, never the client's, which only chose the route. Nothing else of the client's request goes out: its
signature, its Host and its tracing headers were for us.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from urllib.parse import quote

from policies.table import EndpointSpec

from ...base import ByteStream, Call, Headers, Reply, Usage
from .fields import FIELDS, Kind

RESPONSE_LIMIT = 25 * 1024 * 1024
"""Longest answer of a blocking call, in bytes: AWS documents 25 MB for real-time payloads."""

_FROM_CALL = frozenset({"content_type", "accept", "custom_attributes"})
"""What a customer's pre-processing may have changed."""


class _Sent:
    """The headers of one operation, and where their values are.

    Most requests have a type and nothing else, which is seen without a look at each field.
    """

    __slots__ = ("_called", "_invoked", "component")

    def __init__(self, kind: Kind) -> None:
        here = [field for field in FIELDS if kind in field.wire]
        self.component = next(field.wire[kind] for field in here if field.attribute == "component")
        self._called = [(f.wire[kind], attrgetter(f.attribute)) for f in here if f.attribute in _FROM_CALL]
        others = [field for field in here if field.attribute not in {*_FROM_CALL, "component"}]
        self._invoked = tuple(field.wire[kind] for field in others), attrgetter(*(field.attribute for field in others))

    def of(self, call: Call) -> list[tuple[str, str]]:
        """Every header that the call has a value for."""
        found = [(name, value) for name, value_of in self._called if (value := value_of(call))]
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
    sent = _STREAMED if call.streaming else _INVOKED
    component = ((sent.component, spec.component),) if spec.component else ()
    return (_IDENTITY, *sent.of(call), *component)


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
