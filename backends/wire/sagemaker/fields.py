"""The header fields that InvokeEndpoint and its streaming twin model, with the constraints no SDK checks.

Names, lengths and patterns are those of botocore's `sagemaker-runtime` 2017-05-13 model (1.44.5). `\\p{Print}` there is
the printable ASCII range. One constraint is ours: every value is ASCII, because a header that is forwarded and signed
must be the same bytes at every hop, and HTTP libraries disagree about the others.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType


class Kind(enum.Enum):
    """The two operations that are served; the value is the last segment of the path."""

    INVOKE = "invocations"
    STREAM = "invocations-response-stream"


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One modelled value: how it is called, and what it may hold. Each is equal to itself alone."""

    member: str
    """Name in the API, lower camel case: what an error message says."""
    attribute: str
    """Name in `Invocation`."""
    wire: Mapping[Kind, str]
    """Header name per operation; an operation that lacks the field is not in it."""
    longest: int
    pattern: str
    """As AWS writes it, for the error message."""
    accepts: re.Pattern[str]
    """The same in Python, to be matched in full."""
    streaming_accepts: re.Pattern[str] | None = None
    """The pattern on the streaming operation, where it is narrower."""
    streaming_pattern: str | None = None
    sensitive: bool = False
    """Never repeated in an error message."""
    joins: bool = False
    """HTTP defines it as a list: several header lines are one value. Any other field may come once."""

    def fits(self, value: str, kind: Kind) -> bool:
        """Whether `value` violates nothing; `problems` says what, and costs more."""
        accepts = self.accepts
        if accepts is _ASCII:
            return value.isascii() and len(value) <= self.longest
        if kind is Kind.STREAM and self.streaming_accepts is not None:
            accepts = self.streaming_accepts
        return len(value) <= self.longest and accepts.fullmatch(value) is not None

    def problems(self, value: str, kind: Kind) -> Iterator[str]:
        """Every constraint that `value` violates, in the words AWS's own validation uses."""
        shown = "Value" if self.sensitive else f"Value '{printable(value)}'"
        failed = f"{shown} at '{self.member}' failed to satisfy constraint: "
        if len(value) > self.longest:
            yield f"{failed}Member must have length less than or equal to {self.longest}"
            return  # the patterns are not run over what is too long anyway
        accepts, pattern = self.accepts, self.pattern
        if kind is Kind.STREAM and self.streaming_accepts is not None:
            accepts, pattern = self.streaming_accepts, self.streaming_pattern or self.pattern
        if not accepts.fullmatch(value):
            yield f"{failed}Member must satisfy regular expression pattern: {pattern}"


def printable(value: str) -> str:
    """`value` as text that any JSON writer takes: bytes that were no UTF-8 become U+FFFD."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _both(name: str) -> Mapping[Kind, str]:
    return MappingProxyType({Kind.INVOKE: name, Kind.STREAM: name})


def _invoke_only(name: str) -> Mapping[Kind, str]:
    return MappingProxyType({Kind.INVOKE: name})


_ASCII = re.compile(r"[\x00-\x7f]*")
_PRINTABLE = re.compile(r"[\x21-\x7e][\x20-\x7e]*")
_PRINTABLE_PATTERN = r"\A\S[\p{Print}]*\z"
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_NAME_PATTERN = "^[a-zA-Z0-9](-*[a-zA-Z0-9])*"

ENDPOINT = Field("endpointName", "endpoint", MappingProxyType({}), 63, _NAME_PATTERN, _NAME)
"""The endpoint's name, which stands in the path."""


def is_name(name: str) -> bool:
    """Whether an endpoint can be called so."""
    return not any(ENDPOINT.problems(name, Kind.INVOKE))


FIELDS: tuple[Field, ...] = (
    Field("contentType", "content_type", _both("Content-Type"), 1024, r"\p{ASCII}*", _ASCII),
    Field(
        "accept",
        "accept",
        MappingProxyType({Kind.INVOKE: "Accept", Kind.STREAM: "X-Amzn-SageMaker-Accept"}),
        1024,
        r"\p{ASCII}*",
        _ASCII,
        joins=True,
    ),
    Field(
        "customAttributes",
        "custom_attributes",
        _both("X-Amzn-SageMaker-Custom-Attributes"),
        1024,
        r"\p{ASCII}*",
        _ASCII,
        sensitive=True,
    ),
    Field(
        "targetModel",
        "target_model",
        _invoke_only("X-Amzn-SageMaker-Target-Model"),
        1024,
        _PRINTABLE_PATTERN,
        _PRINTABLE,
    ),
    Field("targetVariant", "target_variant", _both("X-Amzn-SageMaker-Target-Variant"), 63, _NAME_PATTERN, _NAME),
    Field(
        "targetContainerHostname",
        "target_container_hostname",
        _both("X-Amzn-SageMaker-Target-Container-Hostname"),
        63,
        _NAME_PATTERN,
        _NAME,
    ),
    Field(
        "inferenceId",
        "inference_id",
        _both("X-Amzn-SageMaker-Inference-Id"),
        64,
        _PRINTABLE_PATTERN,
        _PRINTABLE,
    ),
    Field(
        "enableExplanations",
        "enable_explanations",
        _invoke_only("X-Amzn-SageMaker-Enable-Explanations"),
        64,
        r"\p{ASCII}*",
        _ASCII,
    ),
    Field(
        "inferenceComponentName",
        "component",
        _both("X-Amzn-SageMaker-Inference-Component"),
        63,
        r"^[a-zA-Z0-9]([\-a-zA-Z0-9]*[a-zA-Z0-9])?$",
        re.compile(r"[a-zA-Z0-9]([\-a-zA-Z0-9]*[a-zA-Z0-9])?"),
    ),
    Field(
        "sessionId",
        "session_id",
        _both("X-Amzn-SageMaker-Session-Id"),
        256,
        "^(NEW_SESSION)$|^[a-zA-Z0-9](-*[a-zA-Z0-9])*$",
        re.compile(r"NEW_SESSION|[a-zA-Z0-9](-*[a-zA-Z0-9])*"),
        streaming_accepts=_NAME,  # a stream can join a session, not open one
        streaming_pattern="^[a-zA-Z0-9](-*[a-zA-Z0-9])*$",
    ),
    Field(
        "prefixAwareId",
        "prefix_aware_id",
        _both("X-Amzn-SageMaker-Prefix-Aware-Id"),
        64,
        _PRINTABLE_PATTERN,
        _PRINTABLE,
    ),
)
"""Every modelled request header, in the order of the model."""


def _by_name(kind: Kind) -> Mapping[str, Field]:
    return MappingProxyType({field.wire[kind].lower(): field for field in FIELDS if kind in field.wire})


INVOKE_BY_NAME, STREAM_BY_NAME = _by_name(Kind.INVOKE), _by_name(Kind.STREAM)
"""Lower-case header name to field, for each operation."""
