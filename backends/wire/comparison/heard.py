"""What came back from a target, as far as clients can see it: the material of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_CADENCE = 4096
"""Gaps of a stream that are kept; those after them say nothing new about its pace."""


@dataclass(frozen=True, slots=True)
class Cadence:
    """The pace of a streamed answer, in seconds."""

    first: float
    """From the request to the first piece."""
    gaps: tuple[float, ...] = ()
    """Between one piece and the next; the first `LONGEST_CADENCE` of them."""

    def gap(self, share: float = 0.95) -> float:
        """The gap that this share of the gaps does not exceed; 0 where there is none."""
        if not self.gaps:
            return 0.0
        ordered = sorted(self.gaps)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer or one failure."""

    status: int = 200
    """HTTP status as the model's container gave it."""
    error: str | None = None
    """AWS error type, or another word for the class of the failure; None: it answered."""
    content_type: str | None = None
    attributes: bool = False
    """The answer carries custom attributes."""
    body: bytes = b""
    """The whole body; of a stream its pieces joined."""
    cadence: Cadence | None = None
    """None: it was not streamed."""
    broken: bool = False
    """A stream that began and did not end properly."""

    @property
    def answered(self) -> bool:
        return 200 <= self.status < 300 and self.error is None and not self.broken
