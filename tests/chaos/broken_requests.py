"""Requests that are none, or ask for more than there is. Read wrongly, one client could speak for another."""

from __future__ import annotations

from dataclasses import dataclass

from .broken_answers import HEALTHY
from .broken_streams import chunks

BODY_LIMIT = 9
"""MiB that the suite's proxy takes."""
LINE = f"POST /endpoints/{HEALTHY.slug}/invocations HTTP/1.1\r\nHost: h\r\n".encode()
CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"
TOO_LONG = BODY_LIMIT * 1024 * 1024 + 1


@dataclass(frozen=True, slots=True)
class Malformed:
    """Bytes that a client sends, and the status of the one typed answer."""

    name: str
    status: int
    sent: bytes


REQUESTS = (
    Malformed(
        "request: TLS towards the plain port", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n"
    ),
    Malformed("request: two Content-Lengths", 400, LINE + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    Malformed("request: Content-Length that is no number", 400, LINE + b"Content-Length: -2\r\n\r\n{}"),
    Malformed("request: both Content-Length and chunks", 400, LINE + b"Content-Length: 2\r\n" + CHUNKED[len(LINE) :]),
    Malformed(
        "request: a coding beside chunked", 400, CHUNKED.replace(b": ch", b": gzip, ch") + b"2\r\n{}\r\n0\r\n\r\n"
    ),
    Malformed("request: chunked in a folded field", 400, CHUNKED.replace(b": ", b":\r\n ") + b"2\r\n{}\r\n0\r\n\r\n"),
    Malformed("request: line feeds alone", 400, LINE.replace(b"\r", b"") + b"Content-Length: 2\n\n{}"),
    Malformed("request: a carriage return in a field", 400, LINE + b"X: y\rContent-Length: 2\r\n\r\n{}"),
    Malformed("request: no Host", 400, LINE.replace(b"Host: h\r\n", b"") + b"Content-Length: 2\r\n\r\n{}"),
    Malformed("request: two Hosts", 400, LINE + b"Host: other\r\nContent-Length: 2\r\n\r\n{}"),
    Malformed("request: HTTP/0.9", 400, b"GET /v1/models\r\n\r\n"),
    Malformed("request: HTTP/2.0 in words", 400, LINE.replace(b"1.1", b"2.0") + b"Content-Length: 2\r\n\r\n{}"),
    Malformed("request: a length among the trailer", 400, CHUNKED + b"2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n"),
    Malformed("request: chunk size that is no number", 400, CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"),
    Malformed("request: header field without end", 400, LINE + b"X-Long: " + b"x" * 100_000),
    Malformed("request: too many header fields", 400, LINE + b"X: v\r\n" * 1000 + b"\r\n"),
    Malformed("request: trailer field without end", 400, CHUNKED + b"2\r\n{}\r\n0\r\nX: " + b"x" * 100_000),
    Malformed("request: too many trailer fields", 400, CHUNKED + b"2\r\n{}\r\n0\r\n" + b"X: v\r\n" * 1000 + b"\r\n"),
    Malformed("request: body that says it is too long", 413, LINE + b"Content-Length: %d\r\n\r\n" % TOO_LONG),
    Malformed("request: chunks without end", 413, CHUNKED + chunks([b"x" * 0x10000] * 16 * (BODY_LIMIT + 1))),
    Malformed(
        "request: no endpoint of that name",
        400,
        LINE.replace(b"nothing-wrong", b"nobody") + b"Content-Length: 2\r\n\r\n{}",
    ),
)
