"""Tokens as an OpenAI-compatible engine counts them, read from an answer when that costs next to nothing.

Bodies are opaque; this looks into one only when it is small, plain JSON, and seems to hold counts.
"""

from __future__ import annotations

import re

from ..base import Usage
from .restjson import media_type, read_count, read_object

_END = rb'(?:\s*,\s*"[a-z_]+"\s*:\s*null)*\s*\}\s*\Z'
_LAST = re.compile(rb'"usage"\s*:\s*(\{[^{}]*\})' + _END)
"""The last member of the body's object that is not null (vLLM has such behind it), which the counts mostly are: then
only they are parsed. What ends with the second closing brace is the object itself, and a text's own quotes are escaped,
so that nothing else looks so."""
_COUNT = rb"(?:0|[1-9]\d{0,14})"
_TOTAL = rb'"total_tokens": ?' + _COUNT
_USUAL = re.compile(
    rb'"usage": ?\{"prompt_tokens": ?(' + _COUNT + rb"), ?(?:" + _TOTAL + rb', ?)?"completion_tokens": ?(' + _COUNT
    + rb")(?:, ?" + _TOTAL + rb')?(?:, ?"prompt_tokens_details": ?null)?\}' + _END
)  # fmt: skip
"""The same where the counts stand as vLLM or OpenAI write them: they are read as they are found."""
_BEFORE_A_KEY = b"{, \n\r\t"
LIMIT = 64 * 1024
"""Bytes of the longest body that is parsed; orjson takes about 1 us a KiB."""


def usage_of(content_type: str | None, body: bytes) -> Usage | None:
    """The counts in `body`; None when it is no JSON of up to `LIMIT` bytes, or has none."""
    at = body.rfind(b'"usage"') if len(body) <= LIMIT else -1
    if at <= 0 or (content_type != "application/json" and media_type(content_type) != "application/json"):
        return None
    last = None
    if body[at - 1] in _BEFORE_A_KEY:
        usual = _USUAL.match(body, at)
        if usual is not None:
            return Usage(int(usual[1]), int(usual[2]))
        last = _LAST.match(body, at)
    counts = read_object(last[1]) if last else (read_object(body) or {}).get("usage")
    if not isinstance(counts, dict):
        return None
    prompt, completion = read_count(counts.get("prompt_tokens")), read_count(counts.get("completion_tokens"))
    return None if prompt is None or completion is None else Usage(prompt, completion)
