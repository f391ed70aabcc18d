"""PURE. How long a target stays loaded without use, as far as warm-ups have shown, and whether an interval is enough.

AWS's pages name 5 minutes and "normally one hour" for imported models, and warm-ups every 14 minutes imply 15, so the
limit is measured: each warm-up had a gap since the last use and met the target warm or cold. The longest gap that ended
warm is a lower bound, the shortest that ended cold an upper bound. The two can contradict each other (the service moves
a copy, a load elsewhere pushes it out); then the cold one rules, because an interval has to be safe.

Only the last `KEPT` observations count, so that a change of the service's habits is noticed. A gap is the time since
the last use that this process knows of: where others use the target as well, the true gap is shorter. A cold end is
then still proof; a warm one is not, and `Seen.alone` says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

KEPT = 200
"""Observations that count: two days of warm-ups every 14 minutes."""
PUBLISHED = (3600.0, 900.0, 300.0)
"""Idle limits in seconds that AWS's pages and its customers name, longest first."""
MARGIN = 14 / 15
"""An interval's share of the limit it stays below: 14 minutes for 15."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One warm-up: how long the target had been without use, and how it was found."""

    gap: float
    """Seconds."""
    cold: bool
    alone: bool = True
    """Nobody else can have used the target in between."""


@dataclass(frozen=True, slots=True)
class IdleLimit:
    """What is known of one target's limit."""

    seen: tuple[Seen, ...] = ()
    """Oldest first."""

    def and_(self, seen: Seen) -> IdleLimit:
        """With one more observation."""
        return IdleLimit((*self.seen, seen)[-KEPT:])

    @property
    def at_most(self) -> float | None:
        """Seconds: the shortest gap after which it was cold; None when it never was."""
        return min((one.gap for one in self.seen if one.cold), default=None)

    @property
    def at_least(self) -> float | None:
        """Seconds: the longest gap after which it was warm, below `at_most`; None when none is known."""
        most = self.at_most
        warm = (one.gap for one in self.seen if not one.cold and one.alone and (most is None or one.gap < most))
        return max(warm, default=None)


@dataclass(frozen=True, slots=True)
class Advice:
    """An interval does not keep a target warm."""

    every: float
    """Seconds: the interval that does not."""
    at_most: float
    """Seconds: a shorter or equal gap that ended cold."""
    instead: float
    """Seconds: the interval that would."""
    proven: bool
    """Gaps as long as `instead` have ended warm; otherwise it lies below a limit that AWS or its customers name."""
    cold: int = field(default=1, compare=False)
    """Warm-ups after a gap of `at_most` or longer that met it cold; more of them are the same advice."""
    of: int = field(default=1, compare=False)
    """All warm-ups after such a gap. One cold of many may be an accident, not a limit: that is for people to judge."""


def advise(limit: IdleLimit, every: float) -> Advice | None:
    """Why warm-ups every `every` seconds do not keep the target warm, and the interval that would; None: they do."""
    most = limit.at_most
    if most is None or every < most:
        return None
    as_long = [one.cold for one in limit.seen if one.gap >= most]
    least = limit.at_least
    instead = _below(most) if least is None else least
    return Advice(every, most, instead, least is not None, sum(as_long), len(as_long))


def _below(most: float) -> float:
    """The longest interval that a published limit below `most` allows; else half of what was too long."""
    return next((limit * MARGIN for limit in PUBLISHED if limit * MARGIN < most), most / 2)
