"""PURE. What is remembered of one target's warm-ups between processes, and its form in the shared state.

A document is written when a warm-up begins and again when it is over. One that began and never ended was cut off with
its process: whoever takes over can't know whether it reached the target, sends it again, and counts it as doubled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from .idle import IdleLimit, Seen


@dataclass(frozen=True, slots=True)
class Memory:
    """One target's warm-ups. Moments are seconds since 1970."""

    begun: float | None = None
    ended: float | None = None
    """End of the last one that was answered."""
    open: bool = False
    """The one that began has not ended."""
    doubled: int = 0
    """How many were sent again by a successor, since their sender died or lost the duty."""
    limit: IdleLimit = field(default_factory=IdleLimit)
    at: str = ""
    """Of which place (`backends.book.named_place`): the name may be of another under another policy. Empty: unknown."""


def document(target: str) -> str:
    """The name of a target's document."""
    return f"warm/{target}"


def write(memory: Memory) -> bytes:
    """The document."""
    seen = [[one.gap, one.cold, one.alone] for one in memory.limit.seen]
    fields = {"begun": memory.begun, "ended": memory.ended, "open": memory.open, "doubled": memory.doubled}
    return json.dumps(fields | {"seen": seen, "at": memory.at}, separators=(",", ":")).encode()


def read(text: bytes | None) -> Memory:
    """What a document says; nothing is remembered when there is none, or it is of another form."""
    try:
        value = json.loads(text or b"null")
        seen = tuple(Seen(float(gap), bool(cold), bool(alone)) for gap, cold, alone in value["seen"])
        begun, ended = (None if value[key] is None else float(value[key]) for key in ("begun", "ended"))
        at = str(value.get("at", ""))
        return Memory(begun, ended, bool(value["open"]), int(value["doubled"]), IdleLimit(seen), at)
    except (ValueError, TypeError, KeyError, OverflowError):
        return Memory()
