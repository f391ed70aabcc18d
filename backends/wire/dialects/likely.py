"""Whether a 200 can be an answer of a dialect, told from its type and its ends, for bodies that nobody parses.

Where client and target speak the same, bodies pass unread. But a target that declares a dialect answers in JSON, in
lines or events of it, and what a load balancer or a server that is going down says with a 200 (a page of HTML, half a
document) is no answer: it would reach a program as a broken one, and no fallback would be tried. The look costs about
a microsecond whatever the length. Other types pass: a container answers some requests (sessions) in plain text.
"""

from __future__ import annotations

from ..restjson import media_type

_PAGES = frozenset({"text/html", "application/xhtml+xml", "application/xml", "text/xml"})
"""Types that no dialect has."""
_SPACE = 64
"""Bytes at either end in which a document has to begin and to end."""


def unlikely(content_type: str | None, body: bytes | None) -> str | None:
    """What an answer of a declared dialect can't be, in words for the log; None when it may be one.

    `body` is a whole one; None of a stream, of which the type alone is looked at.
    """
    kind = "application/json" if content_type == "application/json" else media_type(content_type)
    if kind in _PAGES:
        return f"a body of type {kind}"
    if body is None or kind != "application/json":
        return None
    if body[:_SPACE].lstrip()[:1] not in {b"{", b"["}:
        return "a body that does not begin as JSON does"
    return None if body[-_SPACE:].rstrip()[-1:] in {b"}", b"]"} else "a body that ends in the middle of its JSON"
