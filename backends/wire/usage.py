"""Tokens as an OpenAI-compatible engine counts them, read from an answer when that costs next to nothing.

Bodies are opaque; this looks into one only when it is small, plain JSON, and seems to hold counts.
"""

from __future__ import annotations

from ..base import Usage
from .restjson import media_type, read_count, read_object

LIMIT = 64 * 1024
"""Bytes of the longest body that is parsed; orjson takes about 1 us a KiB."""


def usage_of(content_type: str | None, body: bytes) -> Usage | None:
    """The counts in `body`; None when it is no JSON of up to `LIMIT` bytes, or has none."""
    if len(body) > LIMIT or b'"usage"' not in body:
        return None
    if content_type != "application/json" and media_type(content_type) != "application/json":
        return None
    counts = (read_object(body) or {}).get("usage")
    if not isinstance(counts, dict):
        return None
    prompt, completion = read_count(counts.get("prompt_tokens")), read_count(counts.get("completion_tokens"))
    return None if prompt is None or completion is None else Usage(prompt, completion)
