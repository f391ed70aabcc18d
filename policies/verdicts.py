"""What a gate says of one window's evidence: green, red, or not yet."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .migrating import Measure


class Answer(enum.Enum):
    """Green and red are both proven; between them lies what the evidence cannot tell yet."""

    GREEN = "green"
    RED = "red"
    NOT_YET = "not yet"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One gate of one route over one window."""

    route: str
    measure: Measure
    answer: Answer
    text: str
    """What was measured and what is allowed, for people: `old 0.31 %, new 0.44 %; allowed +0.2 points`."""
    missing: bool = False
    """There is no evidence at all, or none that is recent: never green, and nobody may wave it through."""
    far: bool = False
    """Not yet, but what was measured lies far beyond what is allowed: nobody may wave it through."""
    more: int | None = None
    """About how many further requests on the new side an answer takes, when things stay as they are."""
