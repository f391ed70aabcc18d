"""Tokens as an OpenAI-compatible engine, or TGI, counts them, read from an answer when that costs next to nothing.

Bodies are opaque; this looks into one only when it is small, plain JSON, and seems to hold counts. That can wait until
the answer is on its way: a `Reply` then has the body that is still to be looked into.
"""

from __future__ import annotations

import re

from ..base import Reply, Usage
from .restjson import media_type, read_count, read_object

_END = rb'(?:\s*,\s*"[a-z_]+"\s*:\s*null)*\s*\}\s*\Z'
_LAST = re.compile(rb'"usage"\s*:\s*(\{[^{}]*\})' + _END)
"""The last member of the body's object that is not null (vLLM has such behind it), which the counts mostly are: then
only they are parsed. What ends with the second closing brace is the object itself, and a text's own quotes are escaped,
so that nothing else looks so."""
_DETAILS = re.compile(rb'"details"\s*:\s*(\{[^{}]*\})' + _END)
"""The same of TGI's last event, whose text before it may be longer than what is kept of a stream's end."""
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


def uncounted(content_type: str | None, body: bytes) -> bytes | None:
    """`body`, where it may hold counts: JSON of up to `LIMIT` bytes."""
    if not body or len(body) > LIMIT:
        return None
    return body if content_type == "application/json" or media_type(content_type) == "application/json" else None


def counted(reply: Reply) -> Usage | None:
    """The counts of an answer: in its body, where that is still to be looked into, or as they were said beside it."""
    if reply.counts is not None:
        return reply.counts.usage or reply.usage
    return (None if reply.uncounted is None else usage_of(reply.uncounted)) or reply.usage


def usage_at_end(events: bytes, *, details: bool = False) -> Usage | None:
    """The counts that the last of these Server-Sent Events tells which has any; the first of them may lack its
    beginning. Engines tell them in an event of its own behind the text, some with each piece of it, and TGI as
    `details` of its last event."""
    key, read = (b'"details"', details_of) if details else (b'"usage"', usage_of)
    before = len(events)
    while (at := events.rfind(key, 0, before)) >= 0:
        begin, end = events.rfind(b"\ndata:", 0, at) + 1, events.find(b"\n", at)  # a text's own line ends are escaped
        usage = read(events[begin : end if end >= 0 else len(events)].removeprefix(b"data:").strip())
        if usage is not None:
            return usage
        before = begin
    return None


def usage_of(body: bytes) -> Usage | None:
    """The counts in a small JSON body; None when it has none."""
    at = body.rfind(b'"usage"')
    if at <= 0:
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


def details_of(event: bytes) -> Usage | None:
    """The counts in the last event of a stream of TGI's, of which the beginning may be missing; None where it has none,
    as of releases that do not count the prompt."""
    at = event.rfind(b'"details"')
    if at <= 0:
        return None
    last = _DETAILS.match(event, at) if event[at - 1] in _BEFORE_A_KEY else None
    told = read_object(last[1]) if last else (read_object(event) or {}).get("details")
    if not isinstance(told, dict):
        return None
    prefill, completion = told.get("prefill"), read_count(told.get("generated_tokens"))
    prompt = len(prefill) if isinstance(prefill, list) and prefill else read_count(told.get("input_length"))
    return None if prompt is None or completion is None else Usage(prompt, completion)
