"""How many requests a target may have at a time: a limit that finds its own value, as a value.

The limit grows while answers come as fast as on a calm target, and shrinks when they do not (additive increase,
multiplicative decrease). "As fast" compares two running low values of the time to the answer: one of all answers, one
of those that came while few were in flight. Low values, since what a queue adds is added to every answer, while long
answers are no sign of one. At its smallest a limit counts as calm, so that a target that became slower for good is
learnt as such instead of being strangled. Throttling and missed deadlines shrink it as well.

A target with too much to do goes on answering, late. When for a while nobody has an answer and then all have theirs at
once, something stood still: the target for a moment, the network, or this very process, which cannot tell them apart.
That time is taken out of what it delayed, as long as it is rare. What a limit learnt fades: one that was shrunk and has
no reason to be small any more finds its way back in minutes, used or not.

Promises: the value stays inside the bounds; one burst shrinks it once, and one standstill does not. Times are seconds.
"""

from __future__ import annotations

import math
from dataclasses import replace

from .values import value

START = 256.0
"""Requests at a time before anything is known."""
TOLERANCE = 2.0
"""Times the calm time to an answer at which a target counts as overloaded; batching alone makes it about 1.5."""
LEAST_CALM = 0.02
"""Seconds that a calm answer counts for at least. What is less is also this process's own: a loop with a thousand
requests a second takes that long to come round, and a machine that stalls for a moment is no sign of a target."""
SHRINK = 0.8
"""By so much at a time; where the limit is in use, to what Little's law says the target would do calmly, if less."""
ROOM = 1.5
"""Times what it would do calmly: it must not run dry between two requests."""
CALM = 0.25
"""Share of the limit up to which a target in use is calm."""
BUSY = 0.5
"""Share of the limit from which an answer is a reason to grow: what is not used needs no more room."""
FALL, RISE = 0.5, 0.15
"""Weight of an answer that is faster than the recent low value, and of one that is slower, at most."""
RISE_TIME = 0.3
"""Seconds in which slower answers take the recent low value with them, however many they are: a hundred at once, as
come out of a burst, are one sign and not a hundred."""
RATE_TIME = 1.0
"""Seconds over which answers are counted; three calm answers, where those take longer."""
RARE = 3.0
"""Times its own length that must lie between a standstill and the one before; what stands more often is slow."""
REGROWTH = 90.0
"""Seconds in which a limit below `START` that nothing keeps small grows by its own size."""
SHORTEST_QUEUE = 0.1
"""Seconds of waiting that a queue may always hold, however quick the target is."""
BURST = 0.5
"""Seconds of waiting that a queue may hold which was empty as many seconds ago."""
LEARN = 120.0
"""Seconds in which a slower calm time is mostly learnt. Not counted in answers: at full load there are many of them in
a few seconds, and what is queued at the target would pass for its own pace."""


@value(frozen=True, slots=True)
class Bounds:
    """What the policy says of one target."""

    least: int = 4
    most: int = 1000


@value(frozen=True, slots=True)
class Limit:
    """What is known of one target's capacity."""

    value: float = START
    calm: float | None = None
    """Low value of the seconds to an answer while few were in flight."""
    calm_at: float = 0.0
    recent: float | None = None
    """The same of all answers."""
    shrunk_at: float = -math.inf
    found: bool = False
    """It has been shrunk once; until then it doubles, as TCP's slow start does."""
    answered_at: float = -math.inf
    """When the last answer came."""
    stood_from: float = -math.inf
    stood_until: float = -math.inf
    """The last standstill that counts as one: nobody had an answer."""
    rate: float = 0.0
    """Answers a second."""


def after_answer(limit: Limit, seconds: float, in_flight: int, now: float, bounds: Bounds) -> Limit:
    """The limit after an answer that took `seconds`, `in_flight` being the requests at that time."""
    room = limit.value
    if not bounds.least <= room <= bounds.most:
        room = min(max(room, bounds.least), bounds.most)
    calm, calm_at = limit.calm, limit.calm_at
    stood_from, stood_until = limit.stood_from, limit.stood_until
    since, sent = now - limit.answered_at, now - seconds
    usual = LEAST_CALM if calm is None or calm < LEAST_CALM else calm
    if since > TOLERANCE * usual and seconds > TOLERANCE * usual and limit.recent is not None:
        silent = min(since, seconds) - usual
        if now - silent - stood_until > RARE * silent:
            stood_from, stood_until = now - silent, now
    recent, rise = limit.recent, since / RISE_TIME if since < RISE * RISE_TIME else RISE
    if stood_until <= sent:
        recent = _low(recent, seconds, rise)
    else:  # it was under way while everything stood, and counts if it was late all the same
        took = seconds - stood_until + max(stood_from, sent)
        recent = _low(recent, took, rise) if took > TOLERANCE * usual else recent
    if calm is None or in_flight <= bounds.least or in_flight <= room * CALM:
        calm = _low(calm, seconds, _faded(now - calm_at) if room > bounds.least else rise)
        calm_at = now
        usual = LEAST_CALM if calm < LEAST_CALM else calm
    late = recent is not None and recent > TOLERANCE * usual
    if not late:
        if in_flight >= BUSY * room:
            room = min(bounds.most, room + (1.0 / room if limit.found else 1.0))
        if room < START:
            room = min(bounds.most, START, room + room * min(1.0, since / REGROWTH))
    span = RATE_TIME if usual < RATE_TIME / 3.0 else 3.0 * usual
    rate = limit.rate * (1.0 - since / span) + 1.0 / span if since < span else 1.0 / since
    # Not `replace`, which costs five times as much, on each answer.
    limit = Limit(room, calm, calm_at, recent, limit.shrunk_at, limit.found, now, stood_from, stood_until, rate)
    if recent is None or not late:
        return limit
    enough = max(rate, in_flight / recent) * usual * ROOM if in_flight >= CALM * room else room
    return _shrunk(limit, enough, now, bounds)


def after_pushback(limit: Limit, now: float, bounds: Bounds) -> Limit:
    """The limit after the target said that it has too much to do, or did not answer in time."""
    return _shrunk(limit, limit.value, now, bounds)


def queue_holds(limit: Limit, age: float) -> float:
    """Seconds of waiting that the target's queue may hold, when it was empty `age` seconds ago."""
    return max(limit.recent or 0.0, BURST if age < BURST else SHORTEST_QUEUE)


def _shrunk(limit: Limit, enough: float, now: float, bounds: Bounds) -> Limit:
    # Until the requests that were sent under the old value have come back, they say nothing of the new one.
    if now - limit.shrunk_at < max(limit.recent or 0.0, 0.05):
        return limit
    value = min(max(min(limit.value * SHRINK, enough), bounds.least), bounds.most)
    return replace(limit, value=value, shrunk_at=now, found=True)


def _faded(passed: float) -> float:
    """How much of what was learnt is gone after so many seconds."""
    return 1.0 - math.exp(-passed / LEARN) if passed > 0.0 else 0.0


def _low(low: float | None, seconds: float, rise: float) -> float:
    if low is None:
        return seconds
    return low + (seconds - low) * (FALL if seconds < low else rise)
