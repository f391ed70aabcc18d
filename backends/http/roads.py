"""Where requests go, and their bytes: what of them is the same for every request to a URL is found once.

Promises: a request goes out exactly as it is given, with Host and Content-Length and nothing else; no URL and no header
field ends its head or begins another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from ..base import Headers
from .arriving import TransportError
from .connection import Home

_BROKEN = "a header field or the URL holds a line break"


@dataclass(frozen=True, slots=True, eq=False)
class Road:
    """Where a URL leads, and how its requests begin: found once, and kept by whoever sends there often."""

    url: str
    tls: bool
    host: str
    port: int
    authority: str
    """The value of `Host`: without user information and without the scheme's own port."""
    line: str
    """What follows the method: path and query as written, with what stands before them for a proxy, and `Host`."""
    home: Home
    """Where connections to it are kept."""


def road_to(url: str) -> Road:
    """The road that `url` names, with a home of its own. Raises TransportError where it is no address of HTTP's."""
    parts: SplitResult = urlsplit(url)
    tls = parts.scheme == "https"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        cause = "the target's URL is not an http or https address"
        raise TransportError(cause, sent=False)
    port = parts.port or (443 if tls else 80)
    netloc = parts.netloc.rpartition("@")[2]
    host = netloc.rpartition(":")[0] if parts.port is not None or netloc.endswith(":") else netloc
    suffix = "" if port == (443 if tls else 80) else f":{port}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    authority = host.rstrip(".") + suffix
    line = f"{target} HTTP/1.1\r\nHost: {authority}\r\n"
    if line.count("\n") != 2 or line.count("\r") != 2 or "\0" in line:
        raise TransportError(_BROKEN, sent=False)
    return Road(url, tls, parts.hostname, port, authority, line, Home())


def lines(headers: Headers) -> str:
    """Header fields as they are sent."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers])


def message_of(method: str, road: Road, fields: str, count: int, body: bytes) -> bytes:
    """The request's bytes. Raises TransportError for a field that would end the head or begin another."""
    if fields.count("\n") != count or fields.count("\r") != count or "\0" in fields:
        raise TransportError(_BROKEN, sent=False)
    head = f"{method} {road.line}{fields}Content-Length: {len(body)}\r\n\r\n"
    return head.encode("utf-8", "surrogateescape") + body
