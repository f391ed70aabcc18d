"""What is known of whether a target is loaded: unknown, ready, cooling, warming or cold, as a value.

A target without a ready copy is in a state, not in error. Evidence moves it: an answer (ready), a refusal that means
cold (cold, and warming while one restore probe is out), and a first answer that took as long as the shortest declared
restore, as it does where the service holds a cold call. Time moves it too: unused for its idle limit it is cooling, it
may be gone, and the next call finds out.

The idle limit is the declared one, or the shortest gap between two calls that ended cold; a longer gap that ended warm
is newer evidence and takes those gaps back. Restores are measured from the moment it was found cold to the moment it
took a call again, and what a caller is told to wait is the median of those, less what has passed.

Promises: an answer always makes it ready; only a refusal that means cold, or a call that waits for longer than the
shortest restore, makes it cold or warming; the history is bounded. Times are seconds on the clock of `now`.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace
from statistics import median

KEPT = 50
"""Restores and gaps that count."""
RESTORE = (60.0, 300.0)
"""Seconds that a restore takes where nothing is declared: third parties measured 60 to 120, and Bedrock serves within
five minutes or says that the model is not ready (user guide, "Invoke your imported model")."""
SLOW_START = 10.0
"""Seconds over which a target that is back gets its traffic again, as after a breaker: one copy is back, not all."""
FIRST_SHARE = 0.1
"""Of its usual traffic, when it is just back."""
LONGEST_PACE = 5.0
"""Seconds between two calls of a restore probe, at most."""
SOONEST = 1.0
"""Seconds that a restore is taken to need at least from now on, however long it has taken already."""


class Warmth(enum.IntEnum):
    """As the metric `pointsman_target_temperature` has it: of several processes the coldest is shown."""

    UNKNOWN = 0
    READY = 1
    COOLING = 2
    WARMING = 3
    COLD = 4


@dataclass(frozen=True, slots=True)
class Temperature:
    """What is known of one target."""

    used: float | None = None
    """When it last answered; None: not known."""
    asked: float | None = None
    """When the first call was sent that is still without an answer, while it is not known to be ready."""
    cold_since: float | None = None
    """When it was found cold; None: it is not, as far as is known."""
    restoring: bool = False
    """A restore probe is out."""
    restored: float = -math.inf
    """When it was last back from cold."""
    restores: tuple[float, ...] = ()
    """Seconds that restores took, the newest last."""
    gaps: tuple[float, ...] = ()
    """Seconds without use after which it was found cold, the newest last."""
    copies: tuple[int, int] | None = None
    """At least and at most so many copies answered the last warm-up; None: not known."""


NEW = Temperature()


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a restore takes, in seconds."""

    median: float
    p90: float
    measured: int
    """Restores that it rests on; 0: it is what the policy declares, or `RESTORE`."""


def idle_limit(temperature: Temperature, declared: float | None) -> float:
    """Seconds without use after which it may be gone; infinite when nothing is known."""
    return min((*temperature.gaps, math.inf if declared is None else declared))


def warmth(temperature: Temperature, now: float, declared: float | None, shortest: float) -> Warmth:
    """What it is at `now`. `declared` is the policy's idle limit, `shortest` the shortest restore."""
    if temperature.cold_since is not None:
        return Warmth.WARMING if temperature.restoring else Warmth.COLD
    if temperature.asked is not None and now - temperature.asked >= shortest:
        return Warmth.WARMING
    if temperature.used is None:
        return Warmth.UNKNOWN
    return Warmth.COOLING if now - temperature.used >= idle_limit(temperature, declared) else Warmth.READY


def share(temperature: Temperature, now: float) -> float:
    """The share of its usual traffic that it may get, from `FIRST_SHARE` when it is just back to 1."""
    return min(1.0, max(FIRST_SHARE, (now - temperature.restored) / SLOW_START))


def sent(temperature: Temperature, now: float) -> Temperature:
    """After a call was sent while it was not known to be ready."""
    return temperature if temperature.asked is not None else replace(temperature, asked=now)


def met_cold(temperature: Temperature, now: float) -> Temperature:
    """After a call was refused in words that mean cold."""
    if temperature.cold_since is not None:
        return replace(temperature, asked=None)
    return replace(temperature, asked=None, cold_since=now, gaps=_gaps(temperature, now), copies=None)


def restoring(temperature: Temperature, out: bool) -> Temperature:
    """After a restore probe went out, or came back without an answer."""
    return replace(temperature, restoring=out)


def answered(temperature: Temperature, sent_at: float, now: float, shortest: float) -> Temperature:
    """After a call that was sent at `sent_at` was answered, or began to be, at `now`."""
    held = now - sent_at >= shortest
    found = temperature.cold_since
    if found is not None:
        if sent_at < found and not held:
            return _ready(temperature, now)  # it was under way before: nothing was restored for it
        took = (now if held else sent_at) - min(found, sent_at)
        return _ready(temperature, now, restored=now, restores=(*temperature.restores, took)[-KEPT:])
    if held and temperature.asked is not None:
        # Nobody else has been answered since it was sent: the service held a call that met it cold.
        restores = (*temperature.restores, now - sent_at)[-KEPT:]
        return _ready(temperature, now, restored=now, restores=restores, gaps=_gaps(temperature, sent_at))
    gap_seen = 0.0 if temperature.used is None else sent_at - temperature.used
    return _ready(temperature, now, gaps=tuple(gap for gap in temperature.gaps if gap > gap_seen))


def heard(temperature: Temperature, at: float) -> Temperature:
    """After it became known that somebody else had an answer of it at `at`."""
    if temperature.cold_since is not None and at <= temperature.cold_since:
        return temperature
    used = at if temperature.used is None else max(at, temperature.used)
    restored = temperature.restored if temperature.cold_since is None else at
    return replace(temperature, used=used, cold_since=None, restored=restored)


def failed(temperature: Temperature, sent_at: float, now: float, shortest: float) -> Temperature:
    """After a call that was sent at `sent_at` ended without an answer, and not in words that mean cold.

    One that was given up after the shortest restore, with nobody answered meanwhile, was held by a cold target.
    """
    if temperature.asked is None or temperature.asked > sent_at:
        return temperature
    if now - sent_at >= shortest:
        return replace(met_cold(temperature, sent_at), asked=None)
    return replace(temperature, asked=None)


def doubted(temperature: Temperature) -> Temperature:
    """After a restore probe failed for another reason than cold: what it is has to be found out anew."""
    return replace(temperature, used=None, asked=None, cold_since=None, restoring=False)


def estimate(temperature: Temperature, declared: tuple[float, float] | None) -> Estimate:
    """How long its restores take: as measured, else as the policy declares."""
    known = sorted(temperature.restores)
    if not known:
        low, high = declared or RESTORE
        return Estimate(math.sqrt(low * high), high, 0)
    return Estimate(median(known), known[math.ceil(0.9 * len(known)) - 1], len(known))


def remaining(temperature: Temperature, now: float, declared: tuple[float, float] | None) -> float:
    """Seconds, at least `SOONEST`, until it is probably ready: the median of the restores that took longer so far."""
    since = temperature.cold_since if temperature.cold_since is not None else temperature.asked
    passed = 0.0 if since is None else now - since
    longer = [one for one in temperature.restores if one > passed]
    if not longer:
        told = estimate(temperature, declared)
        longer = [one for one in (told.median, told.p90, (declared or RESTORE)[1]) if one > passed][:1]
    return max(SOONEST, median(longer) - passed) if longer else max(SOONEST, passed / 4)


def earliest(temperature: Temperature, now: float, declared: tuple[float, float] | None) -> float:
    """Seconds before which it was never seen ready, or is declared not to be; 0 when that has passed."""
    since = temperature.cold_since if temperature.cold_since is not None else temperature.asked
    passed = 0.0 if since is None else now - since
    quickest = min((*temperature.restores, *(declared or RESTORE)[:1]))
    return max(0.0, quickest - passed)


def pace(declared: tuple[float, float] | None) -> float:
    """Seconds between two calls of one restore probe: a twelfth of the shortest restore."""
    return min(LONGEST_PACE, (declared or RESTORE)[0] / 12)


def own_pace(declared: tuple[float, float] | None) -> float:
    """Seconds between two callers' own requests that are the probe, where no other can be made.

    As `pace`, but for a target of which nothing is declared: it may be back at once, and who comes in between is turned
    away unasked.
    """
    return SOONEST if declared is None else pace(declared)


def _gaps(temperature: Temperature, found: float) -> tuple[float, ...]:
    """The gaps that ended cold, and the one that ended at `found`; lost at once, it was not lost to idleness."""
    if temperature.used is None or found <= temperature.used:
        return temperature.gaps
    return (*temperature.gaps, found - temperature.used)[-KEPT:]


def _ready(
    temperature: Temperature,
    now: float,
    restored: float | None = None,
    restores: tuple[float, ...] | None = None,
    gaps: tuple[float, ...] | None = None,
) -> Temperature:
    return replace(
        temperature,
        used=now,
        asked=None,
        cold_since=None,
        restoring=False,
        restored=temperature.restored if restored is None else restored,
        restores=temperature.restores if restores is None else restores,
        gaps=temperature.gaps if gaps is None else gaps,
    )
