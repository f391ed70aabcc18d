"""An answer as a value and as bytes, for connections that have no request that aiohttp knows of."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from multidict import CIMultiDict

from ..base import Headers

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HTTP2_GOAWAY = (
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # SETTINGS, empty: RFC 9113 section 3.4 wants it first
    b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0d"  # GOAWAY, error HTTP_1_1_REQUIRED
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, for the cases that have no handler: what the parser refused."""

    status: int
    headers: Headers
    body: bytes


def fields(headers: Headers) -> CIMultiDict[str]:
    """Header fields for aiohttp, which would name itself and its version as the server."""
    found = CIMultiDict(headers)
    found["Server"] = "pointsman"
    return found


def raw(answer: Answer) -> bytes:
    """An answer as bytes, for connections that have no request."""
    named = [*fields(answer.headers).items(), ("Content-Length", str(len(answer.body))), ("Connection", "close")]
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        *(f"{key}: {text}" for key, text in named),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + answer.body
