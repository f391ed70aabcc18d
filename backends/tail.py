"""The end of a stream as its target sent it: whether it is whole, and the tokens that are told there."""

from __future__ import annotations

from collections import deque

from policies.table import Target

from .base import Usage
from .errors import BackendError, Said
from .wire.restjson import media_type
from .wire.sagemaker import STREAM_BROKEN
from .wire.usage import usage_at_end
from .wire.verdicts import GARBLED

SERVER_SENT_EVENTS = "text/event-stream"

_DONE = (b"data: [DONE]", b"data:[DONE]")
_PIECES = 8
"""Pieces at the end of a stream in which its last events are looked for; vLLM's with the counts has some 300 bytes.
They are kept as they came, since to join two for each piece would cost four times as much."""
_LONG = 2048
"""Bytes that are kept of a longer piece."""
_SHORT = 64
"""Bytes below which a piece is joined with the one before: `[DONE]` is found in whatever pieces it comes."""


def is_marked(target: Target, content_type: str | None) -> bool:
    """Whether a stream of that type has a mark at its end: `data: [DONE]` behind OpenAI's events.

    A server that is stopped in the middle of an answer may close its connection properly, so a proper end is no proof.
    Only what the target is declared to speak is looked for.
    """
    return target.speaks.startswith("openai") and media_type(content_type) == SERVER_SENT_EVENTS


def has_details(target: Target, content_type: str | None) -> bool:
    """Whether a stream of that type tells its counts as TGI's do, in the `details` of its last event."""
    return target.speaks == "tgi" and media_type(content_type) == SERVER_SENT_EVENTS


class Tail:
    """The end of a stream: its mark, where it is to have one, and its counts, where it has them."""

    __slots__ = ("_details", "_last", "_marked")

    def __init__(self, *, marked: bool, details: bool = False) -> None:
        """`details`: the counts are told as TGI tells them."""
        self._marked = marked
        self._details = details
        self._last: deque[bytes] = deque(maxlen=_PIECES)

    def feed(self, piece: bytes) -> None:
        """One more piece."""
        size, last = len(piece), self._last
        if size > _LONG:
            piece = piece[-_LONG:]
        elif size < _SHORT and last:
            piece = (last.pop() + piece)[-_LONG:]
        last.append(piece)

    def finish(self, target: Target) -> None:
        """The stream is over. Raises BackendError when it lacks its mark."""
        if self._marked and not b"".join(self._last).rstrip().endswith(_DONE):
            said = Said(502, "The stream of the model's answer broke.", "ModelStreamError", error_code=STREAM_BROKEN)
            raise BackendError(GARBLED, target, "the stream ended without [DONE]", said)

    @property
    def usage(self) -> Usage | None:
        """See `Counts`."""
        return usage_at_end(b"".join(self._last), details=self._details)
