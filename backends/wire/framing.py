"""Re-cuts a streamed body so that one SSE event, or one JSON line, is exactly one part of the answer.

Some widely used clients parse every PayloadPart by itself and silently lose tokens when a part holds two events or
half of one. So the pieces in which TCP delivered a body are never passed on for these content types.

Strategy: keep the bytes of the unfinished unit in one buffer, look for its end only where it was not looked for before,
hand out every unit as soon as its last byte is there. A unit longer than `PART_LIMIT` goes out in pieces that end
between characters. Bodies of other types pass through as they come.

Promises: the parts joined are the bytes fed, plus at most one `\\n` at the very end of an SSE or JSON-lines body that
ends without a newline (an empty body stays empty); the parts don't depend on how the bytes were cut when fed; no part
is empty; at most `PART_LIMIT` bytes and one fed chunk are held; the work is linear.

What one SSE event is follows the WHATWG specification: lines end in LF, CRLF or CR, a blank line ends the event. A
comment (keep-alive) with its blank line is a unit like an event; a blank line too many is a unit of its own. Two CRs
end an event at once, without waiting for an LF that could follow: a stream that uses CR must not lag by one event.
"""

from __future__ import annotations

import re
from typing import Protocol

PART_LIMIT = 1024 * 1024
"""Bytes of the longest part that is still one event or line; what is longer is cut."""

_EVENT_STREAMS = frozenset({"text/event-stream", "text/event-stream; charset=utf-8"})
"""With vLLM's way to write it, so that most need not be taken apart."""
_JSON_LINES = frozenset(
    {
        "application/jsonlines",
        "application/x-jsonlines",
        "application/json-lines",
        "application/jsonl",
        "application/x-jsonl",
        "application/ndjson",
        "application/x-ndjson",
        "application/json-seq",
    }
)

# Two line ends in a row; the first may be the LF of a CRLF. After an LF, a CR counts once the next byte shows that it
# is no CRLF; after a CR it counts at once.
_BLANK = re.compile(rb"\n(?:\n|\r\n|\r(?=[^\n]))|\r\r")
_LEADING_BLANK = re.compile(rb"\n|\r\n|\r(?=[^\n])")
_UNDECIDED = 2
"""Bytes at the end of what is held in which a blank line may have begun: LF, CR."""
_LF, _CR = b"\n\r"


class Reframer(Protocol):
    """Cuts one body. After `finish` it is used up.

    A caller whose upstream broke does not call `finish`: half an event is no part, and the break is told otherwise.
    """

    def feed(self, data: bytes) -> list[bytes]:
        """The parts that `data` completes."""
        ...

    def finish(self) -> list[bytes]:
        """What is left at the body's proper end, with the newline it may lack."""
        ...


def reframer(content_type: str | None) -> Reframer:
    """The reframer for a body of this type; parameters and case don't matter, None is an unknown type."""
    if in_events(content_type):
        return _Units(events=True)
    if _kind(content_type) in _JSON_LINES:
        return _Units(events=False)
    return _PassThrough()


def in_events(content_type: str | None) -> bool:
    """Whether a body of this type is an event stream, of which a part is an event."""
    return content_type in _EVENT_STREAMS or _kind(content_type) in _EVENT_STREAMS


def _kind(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def _whole(data: bytes) -> list[bytes] | None:
    """The events of a piece that is whole ones, each ended by two line feeds and by nothing else: what engines send.

    None for any other piece. Splits take a third of the search below, and one by lines half of one by pairs of them.
    """
    if not data.endswith(b"\n\n") or b"\r" in data or len(data) > PART_LIMIT:
        return None
    lines = data.split(b"\n")
    if all(lines[:-1:2]) and not any(lines[1::2]):  # every event has one line
        return [line + b"\n\n" for line in lines[:-1:2]]
    if data.startswith(b"\n") or b"\n\n\n" in data:
        return None
    return [unit + b"\n\n" for unit in data[:-2].split(b"\n\n")]


class _PassThrough:
    """Parts are the chunks of the upstream."""

    __slots__ = ()

    def feed(self, data: bytes) -> list[bytes]:
        return [data] if data else []

    def finish(self) -> list[bytes]:
        return []


class _Units:
    """Parts are SSE events or lines."""

    __slots__ = ("_events", "_held", "_inside", "_last", "_scanned")

    def __init__(self, *, events: bool) -> None:
        self._events = events
        self._held = bytearray()
        self._scanned = 0
        """Before this index of `_held` no end of a unit begins, whatever follows."""
        self._inside = False
        """`_held` begins in the middle of a unit whose first pieces are out."""
        self._last = 0
        """Last byte of the body so far; 0 while it is empty."""

    def feed(self, data: bytes) -> list[bytes]:
        if not data:
            return []
        self._last = data[-1]
        held = self._held
        if not held and not self._inside and self._events:
            whole = _whole(data)
            if whole is not None:
                return whole
        held += data
        parts: list[bytes] = []
        start = 0
        while end := self._end(start):
            start = self._cut(start, end, parts)
            parts.append(bytes(memoryview(held)[start:end]))
            start = self._scanned = end
            self._inside = False
        cut = self._cut(start, len(held), parts)
        self._inside = self._inside or cut > start
        del held[:cut]
        self._scanned = max(self._scanned - cut, 0)
        return parts

    def finish(self) -> list[bytes]:
        held = self._held
        if held and not (self._last == _LF or (self._events and self._last == _CR)):
            held += b"\n"
        parts: list[bytes] = []
        start = self._cut(0, len(held), parts)
        if start < len(held):
            parts.append(bytes(memoryview(held)[start:]))
        held.clear()
        return parts

    def _end(self, start: int) -> int:
        """The index after the unit that begins at `start`, or 0 while its end has not come."""
        held = self._held
        if not self._events:
            end = held.find(b"\n", self._scanned) + 1
            self._scanned = len(held)
            return end
        blank = None if self._inside else _LEADING_BLANK.match(held, start)
        blank = blank or _BLANK.search(held, self._scanned)
        if blank is not None:
            return blank.end()
        self._scanned = max(start, len(held) - _UNDECIDED)
        return 0

    def _cut(self, start: int, end: int, parts: list[bytes]) -> int:
        """Append pieces of `held[start:end]` until no more than `PART_LIMIT` bytes are left; where those begin."""
        held = self._held
        while end - start > PART_LIMIT:
            limit = start + PART_LIMIT
            cut = limit
            while cut > limit - 4 and held[cut] & 0xC0 == 0x80:
                cut -= 1
            if cut == limit - 4:
                cut = limit
            while self._events and cut > limit - 8 and held[cut - 1] in (_LF, _CR):
                cut -= 1
            parts.append(bytes(memoryview(held)[start:cut]))
            start = cut
        return start
