"""Tokens as an OpenAI-compatible engine counts them, read from an answer when that costs next to nothing.

Bodies are opaque; this looks into one only when it is small, plain JSON, and seems to hold counts.
"""

from __future__ import annotations

import re

from ..base import Usage
from .restjson import media_type, read_count, read_object

_TAIL = 400
_LAST = re.compile(rb'[,{]\s*"usage"\s*:\s*(\{[^{}]*\})\s*\}\s*\Z')
"""The last member of the body's object, which the counts mostly are: then only they are parsed. What ends with the
second closing brace is the object itself, and no quote of a text is left unescaped, so that nothing else looks so."""
LIMIT = 64 * 1024
"""Bytes of the longest body that is parsed; orjson takes about 1 us a KiB."""


def usage_of(content_type: str | None, body: bytes) -> Usage | None:
    """The counts in `body`; None when it is no JSON of up to `LIMIT` bytes, or has none."""
    if len(body) > LIMIT or b'"usage"' not in body:
        return None
    if content_type != "application/json" and media_type(content_type) != "application/json":
        return None
    last = _LAST.search(body, max(0, len(body) - _TAIL))
    counts = read_object(last[1]) if last else (read_object(body) or {}).get("usage")
    if not isinstance(counts, dict):
        return None
    prompt, completion = read_count(counts.get("prompt_tokens")), read_count(counts.get("completion_tokens"))
    return None if prompt is None or completion is None else Usage(prompt, completion)
