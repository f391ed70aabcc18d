"""Tokens as an OpenAI-compatible engine counts them, read from an answer when that costs next to nothing.

Bodies are opaque; this looks into one only when it is small, plain JSON, and seems to hold counts.
"""

from __future__ import annotations

import re

from ..base import Usage
from .restjson import media_type, read_count, read_object

_LAST = re.compile(rb'"usage"\s*:\s*(\{[^{}]*\})\s*\}\s*\Z')
"""The last member of the body's object, which the counts mostly are: then only they are parsed. What ends with the
second closing brace is the object itself, and a text's own quotes are escaped, so that nothing else looks so."""
_BEFORE_A_KEY = b"{, \n\r\t"
LIMIT = 64 * 1024
"""Bytes of the longest body that is parsed; orjson takes about 1 us a KiB."""


def usage_of(content_type: str | None, body: bytes) -> Usage | None:
    """The counts in `body`; None when it is no JSON of up to `LIMIT` bytes, or has none."""
    at = body.rfind(b'"usage"') if len(body) <= LIMIT else -1
    if at <= 0 or (content_type != "application/json" and media_type(content_type) != "application/json"):
        return None
    last = _LAST.match(body, at) if body[at - 1] in _BEFORE_A_KEY else None
    counts = read_object(last[1]) if last else (read_object(body) or {}).get("usage")
    if not isinstance(counts, dict):
        return None
    prompt, completion = read_count(counts.get("prompt_tokens")), read_count(counts.get("completion_tokens"))
    return None if prompt is None or completion is None else Usage(prompt, completion)
