"""What SageMaker Runtime and Bedrock Runtime share: AWS's rest-json protocol, as a client of it sees it.

An error's type stands in the header `x-amzn-ErrorType`, behind which AWS appends `:` and a URL, or in the body as
`__type` (with a namespace before `#`) or `code`; its text as `Message` or `message`. Read in the order botocore reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from ..base import Headers

EVENT_STREAM = "application/vnd.amazon.eventstream"
LONGEST_WAIT = 3600.0
"""Seconds; a server that asks for more is not believed."""
_DATE = 40
"""Characters of the longest date that HTTP has, and some."""
_MOST = 10**15
"""No number of tokens comes to this."""


@dataclass(frozen=True, slots=True)
class ErrorDocument:
    """An error answer, taken apart. `message` is never a page of HTML."""

    type: str | None
    message: str
    fields: Mapping[str, object]
    retry_after: float | None


def header(headers: Headers, name: str) -> str | None:
    """The first value of a header field that is not empty; `name` in lower case."""
    return next((value for key, value in headers if value and key.lower() == name), None)


def is_event_stream(content_type: str | None) -> bool:
    """Whether the body is framed; a decoder fed with anything else reports wrong checksums and hides what was said."""
    return media_type(content_type) == EVENT_STREAM


def media_type(content_type: str | None) -> str:
    """A Content-Type without parameters, in lower case."""
    return (content_type or "").partition(";")[0].strip().lower()


def read_document(status: int, headers: Headers, body: bytes) -> ErrorDocument:
    """What an error answer says, as far as it says anything."""
    fields = read_object(body) or {}
    named = header(headers, "x-amzn-errortype") or fields.get("__type") or fields.get("code")
    said = fields.get("Message") or fields.get("message")
    return ErrorDocument(
        type=_bare(named) if isinstance(named, str) else None,
        message=said if isinstance(said, str) else f"HTTP {status}",
        fields=fields,
        retry_after=read_wait(lambda name: header(headers, name)),
    )


def read_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object that `body` is; None when it is anything else."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def read_count(value: object) -> int | None:
    """A number of tokens, or an HTTP status, from JSON or from a header.

    One of more than 15 digits is none, like 2**64 - 1 where -1 was meant: sums of such have no place in JSON.
    """
    if type(value) is int:  # what nearly all are; True is not
        return value if 0 <= value < _MOST else None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 15:
        return int(value)
    return None


def _bare(name: str) -> str | None:
    return name.partition(":")[0].rpartition("#")[2].strip() or None


def read_wait(header: Callable[[str], str | None]) -> float | None:
    """Seconds that the other side asks us to wait, an hour at most: AWS's `x-amz-retry-after` in milliseconds, else
    `Retry-After`, in seconds or as a date (RFC 9110). A date is held against the answer's own `Date`, so that nobody's
    clock has to be right; without one it says nothing. `header` gives a field's value by its name in lower case.
    """
    for name, unit in (("x-amz-retry-after", 1000.0), ("retry-after", 1.0)):
        value = (header(name) or "").strip()
        whole, _, part = value.partition(".")  # a part of a second is nothing that RFC 9110 has, but some send it
        if value.isascii() and whole.isdecimal() and (not part or part.isdecimal()):
            return min(float(value[:_DATE]) / unit, LONGEST_WAIT)
    then, now = _moment(header("retry-after")), _moment(header("date"))
    return None if then is None or now is None else min(max(0.0, then - now), LONGEST_WAIT)


def _moment(value: str | None) -> float | None:
    """Seconds since 1970 of a date in a header."""
    try:
        return None if value is None or len(value) > _DATE else parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
