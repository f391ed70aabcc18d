"""Moments in which everything stood still, as a value: nobody has an answer for a while, and then all at once have one.

The target stood for a moment, the network, or this very process, which cannot tell them apart. How late those answers
were is no sign of too many requests, so that time is taken out of what it delayed. Only as long as it is rare: what
stands again and again is slow. Times are seconds, on one clock.
"""

from __future__ import annotations

import math

from .pace import LEAST_CALM, Pace
from .values import value

LONG = 2.0
"""Times the calm time to an answer without any of them, after which everything counts as having stood."""
RARE = 3.0
"""Times its own length that must lie between a standstill and the one before."""


@value(frozen=True, slots=True)
class Stood:
    """When everything stood still last."""

    begin: float = -math.inf
    end: float = -math.inf


def moved_on(
    stood: Stood, seconds: float, now: float, since: float, calm: Pace | None, *, heeded: bool
) -> tuple[float | None, Stood]:
    """What an answer that came at `now`, after `seconds`, took without the time in which everything stood, None where
    that says nothing; and that time.

    `stood` is what was known of it, `since` the seconds since the answer before, and `calm` the pace of a calm target.
    Not `heeded`: no answers are looked at just now, so that their absence is no standstill.
    """
    sent = now - seconds
    if since <= LONG * LEAST_CALM and stood.end <= sent:
        return seconds, stood
    usual = LEAST_CALM if calm is None else calm.seconds
    if since > LONG * usual and seconds > LONG * usual and heeded:
        silent = min(since, seconds) - usual
        if now - silent - stood.end > RARE * silent:
            stood = Stood(now - silent, now)
    if stood.end <= sent:
        return seconds, stood
    took = seconds - stood.end + max(stood.begin, sent)
    # It was under way while everything stood, and counts if it was late all the same.
    return took if took > LONG * usual else None, stood
