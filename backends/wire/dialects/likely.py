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
_BEGINS, _ENDS = (b"{", b"["), (b"}", b"]")
_SPACE = 64
"""Bytes at either end in which a document has to begin and to end."""


def unlikely(content_type: str | None, body: bytes | None) -> str | None:
    """What an answer of a declared dialect can't be, in words for the log; None when it may be one.

    `body` is a whole one; None of a stream, of which the type alone is looked at.
    """
    if content_type == "application/json" and (
        body is None or (body.startswith(_BEGINS) and body.endswith(_ENDS))  # nearly all, without white space around
    ):
        return None
    kind = media_type(content_type)
    if kind in _PAGES:
        return f"a body of type {kind}"
    if body is None or kind != "application/json":
        return None
    if not body[:_SPACE].lstrip().startswith(_BEGINS):
        return "a body that does not begin as JSON does"
    return None if body[-_SPACE:].rstrip().endswith(_ENDS) else "a body that ends in the middle of its JSON"
