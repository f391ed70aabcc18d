"""An answer as a value and as bytes: one head, made once and written once."""

from __future__ import annotations

from http import HTTPStatus

from policies.values import value

from ..base import Headers

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HTTP2_GOAWAY = (
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # SETTINGS, empty: RFC 9113 section 3.4 wants it first
    b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0d"  # GOAWAY, error HTTP_1_1_REQUIRED
)

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


@value(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes
    silence: float = 0.0
    """Seconds that the face would rather say nothing first, since the caller may well be gone by then."""


def lines(headers: Headers) -> str:
    """Header fields as lines of a head.

    Raises:
        ValueError: a field holds a line break or a NUL, so that it would end the head or begin another field.
    """
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
    count = len(headers)
    if fields.count("\n") != count or fields.count("\r") != count or "\0" in fields:
        message = "a header field of an answer holds a line break"
        raise ValueError(message)
    return fields


def head(status: int, fields: str, framing: str) -> bytes:
    """The bytes of an answer's head. `fields` and `framing` are whole lines: the answer's own, and those that say what
    its body's length is and what becomes of the connection."""
    first = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    return f"{first}{fields}{framing}Server: pointsman\r\n\r\n".encode("utf-8", "surrogateescape")


def raw(answer: Answer) -> bytes:
    """A whole answer after which the connection is closed."""
    framing = f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n"
    return head(answer.status, lines(answer.headers), framing) + answer.body
