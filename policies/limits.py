"""How many requests a target may have at a time: a limit that finds its own value, as a value.

The limit grows while answers come about as fast as on a calm target, and shrinks when they do not (additive increase,
multiplicative decrease). "As fast" compares two paces (`policies.pace`): that of the answers of late, and that of
requests that were sent while few were in flight, each beyond what is usual for its kind (`policies.kinds`). They must
lie further apart than chance explains, since the answers of a healthy model differ by factors.

**Whose fault it is.** A target with too much to do answers late, and so does one that is slower for good, or whose
requests became longer. The one needs fewer requests; the other would be strangled. So it is tried out. Where answers
are no quicker with fewer requests in flight, the limit goes back and some way beyond. At the next turn of a clock
that all who send there have in common, whoever saw lateness of late holds the target to a quarter for some answers. If
those are quicker, it was the load; if not, what they take is the calm pace from then on. Without a common clock each
would measure the queue of the others.

What was sent before a limit shrank says nothing of the new one, and of what was sent since, the quick answers come
first: both are waited for before answers count. An answer that did not come while we or its client waited counts as one
that took so long; where hardly any comes, fewer and fewer are tried until some do. A target that throttles shrinks its
limit by saying so.

When for a while nobody has an answer and then all have theirs at once, something stood still: the target for a moment,
the network, or this very process, which cannot tell them apart. That time is taken out of what it delayed, as long as
it is rare. What a limit learnt fades: one that was shrunk and has no reason to be small any more finds its way back in
minutes, used or not.

Promises: the value stays inside the bounds; one burst shrinks it once; neither a standstill nor answers that differ by
chance shrink it. Times are seconds. The figures were found by simulation: `python -m benchmarks.limits`.
"""

from __future__ import annotations

import math
from dataclasses import replace

from .pace import LEAST_CALM, Pace, chance, heard, relieved
from .standstills import Stood, moved_on
from .values import value

START = 256.0
"""Requests at a time before anything is known, of all processes together."""
TOLERANCE = 2.0
"""Times the calm time to an answer at which a target counts as overloaded;"""
TOLERANCE_MANY, SOME, MANY = 3.0, 16.0, 64.0
"""and with so many requests in flight, from some on more and more: an engine that works on them together is slower
with each, and does more all the same."""
LEAVING, LEAVING_MANY = 0.5, 0.1
"""Of that, as a logarithm, where so large a share of the requests is given up by its clients, more than at a calm
target: so much waiting is too much then, and what is begun for who leaves is in vain. Where fewer do, more of it."""
SHRINK = 0.8
"""By so much at a time; where the limit is in use, to what Little's law says the target would do calmly, if less."""
ROOM = 1.5
"""Times what it would do calmly: it must not run dry between two requests."""
IN_VAIN = 3.0
"""Times what was in flight when lateness began, where fewer requests changed nothing: a slower target needs more."""
SMALL = 16.0
"""Up to here a limit may hear too few answers to find anything out while it is held."""
CALM = 0.25
"""Share of the limit up to which a target is calm, and to which it is held."""
CALM_FIRST = 4.0
"""Times the least limit up to which a target is calm whose limit has not been found yet."""
BUSY = 0.5
"""Share of the limit from which an answer is a reason to grow: what is not used needs no more room."""
FEW = 4
"""Answers without which nothing is said of a pace."""
FIRST = 8
"""Answers that are calm however many are in flight: there is nothing to compare them with."""
RECENT, RECENT_TIME = 30, 0.3
"""Answers that are the recent pace, and seconds, where there are more of them."""
LEARNT, LEARN_TIME = 50, 10.0
"""The same of the calm pace."""
LEARN_SLOWER = 120.0
"""Seconds in which a slower calm pace is mostly learnt once a limit was found, unless the target is held to try it
out: what few requests of ours meet may be the queue of others."""
SPREAD, SPREAD_PART, SPREAD_MOST = 0.25, 0.01, 9.0
"""How much answers differ (the variance of logarithms): what is believed at first, what one says, and at most."""
SETTLE = 1.3
"""Standard deviations of a single answer until so many of those that were sent are back that they speak for all."""
TURN, TURNS = 8.0, 32.0
"""Seconds between two turns of the clock at least, and in times an answer; doubled until it suffices, so that those
who find slightly different values meet all the same."""
HELD, HELD_MORE, HELD_MOST = 8, 40, 60
"""Answers that are waited for while it is held; so many more times the spread; at most."""
PATIENCE, PATIENCE_IN_DOUBT = 4.0, 16.0
"""Answers' times that it is held at most, as a matter of course and where it is in doubt."""
REGROWTH = 90.0
"""Seconds in which a limit below `START` that nothing keeps small grows by its own size."""
SHORTEST_QUEUE = 0.1
"""Seconds of waiting that a queue may always hold, however quick the target is."""
BURST = 0.5
"""Seconds of waiting that a queue may hold which was empty as many seconds ago."""

LATE = math.log(TOLERANCE)
OVERTAKEN = math.log(4.0)
"""Times what is usual on a calm target, as a logarithm, by which those that were answered had been sent later than one
that was not and says nothing for that reason."""
AS_CALM = LATE / 4.0
"""By how much answers may be slower than on a calm target, as a logarithm, where lateness counts as past."""
LATE_MORE = math.log(TOLERANCE_MANY / TOLERANCE) / math.log(MANY / SOME)
"""For each factor of e of requests in flight, from `SOME` to `MANY`."""


@value(frozen=True, slots=True)
class Bounds:
    """What the policy says of one target."""

    least: int = 4
    most: int = 1000


@value(frozen=True, slots=True)
class Episode:
    """Answers are late, and the limit has shrunk for it."""

    before: Pace
    """The recent pace when it began."""
    limit: float
    """The limit then."""
    in_vain: bool = False
    """Fewer requests made nothing quicker."""


@value(frozen=True, slots=True)
class Hold:
    """The target is held to few requests, to see what they take."""

    before: Pace
    """The recent pace when it began."""
    calm: Pace
    lasting: int
    """Streams that went on then."""
    back: float
    """The limit to go back to,"""
    back_unless: float
    """and that where few requests are no quicker."""
    doubtful: bool
    until: float
    """It is over by then, whatever has come."""


@value(frozen=True, slots=True)
class Limit:
    """What is known of one target's capacity."""

    value: float = START
    calm: Pace | None = None
    """Of requests that were sent while few were in flight."""
    recent: Pace | None = None
    """Of all that were sent since the limit shrank."""
    spread: float = SPREAD
    sent_from: float = -math.inf
    """Requests that were sent before are not in the recent pace,"""
    heard_from: float = -math.inf
    """nor are answers that came before: the quick ones come first."""
    episode: Episode | None = None
    hold: Hold | None = None
    found: bool = False
    """It has been shrunk once; until then it doubles, as TCP's slow start does."""
    shrunk_at: float = -math.inf
    late_at: float = -math.inf
    """When it shrank because answers were late."""
    answered_at: float = -math.inf
    """When the last answer came."""
    stood: Stood = Stood()
    newest: float = -math.inf
    """When the last of those that were answered had been sent."""

    @property
    def pace(self) -> Pace | None:
        """How long answers take of late, as far as anything is known of it."""
        tried = self.hold or self.episode
        return self.recent or (tried.before if tried else self.calm)

    @property
    def seconds(self) -> float | None:
        """What an answer takes of late."""
        pace = self.pace
        return None if pace is None else pace.seconds


def after_answer(
    limit: Limit, seconds: float, in_flight: int, now: float, bounds: Bounds,
    lasting: int = 0, clock: float = 0.0, usual: float = 0.0, came: bool = True,
) -> Limit:  # fmt: skip
    """The limit after an answer that took `seconds`. `in_flight` are the requests when it was sent, with itself, of
    which `lasting` had their answers and went on as streams; `now + clock` is the time that all who send requests
    there have in common; `usual` is what one of its kind usually takes (`policies.kinds`). Not `came`: nobody waited
    for it any longer."""
    if not came and not _tells(limit, seconds, usual, now):
        return limit
    newest = max(limit.newest, now - seconds) if came else limit.newest
    calm, recent, spread, stood = _heard(limit, seconds, in_flight, usual, now, bounds, came=came)
    room, episode = min(max(limit.value, bounds.least), bounds.most), limit.episode
    heeded = recent if recent is not None and recent.count >= FEW else None
    late = heeded is not None and calm is not None and _is_late(heeded, calm, spread, lasting)
    if limit.hold is None and not late and (heeded is not None or in_flight <= _few(limit, bounds)):
        if episode is not None and heeded is not None and calm is not None and _is_over(heeded, calm, spread, lasting):
            episode = None
        if episode is None or not episode.in_vain:
            room = _grown(limit, room, in_flight, now, bounds)
    # Not `replace`, which costs five times as much, on each answer.
    after = Limit(
        room, calm, recent, spread, limit.sent_from, limit.heard_from, episode, limit.hold, limit.found,
        limit.shrunk_at, limit.late_at, now, stood, newest,
    )  # fmt: skip
    if limit.hold is not None:
        return _tried(after, limit.hold, now, bounds)
    if calm is None or calm.count < FIRST:
        return after
    if limit.found:
        pace = heeded or (episode.before if episode is not None else None)
        if pace is not None and _is_turn(after, pace, limit.answered_at, clock, lasting):
            return _held(after, pace, calm, lasting, now, bounds)
    return _late(after, heeded, calm, (in_flight, lasting), now, bounds) if late and heeded is not None else after


def after_pushback(limit: Limit, now: float, bounds: Bounds) -> Limit:
    """The limit after the target said that it has too much to do."""
    # Until the requests that were sent under the old value have come back, they say nothing of the new one.
    if now - limit.shrunk_at < max(limit.seconds or 0.0, 0.05):
        return limit
    hold = replace(limit.hold, back=limit.hold.back * SHRINK) if limit.hold is not None else None
    value = min(max(limit.value * SHRINK, bounds.least), bounds.most)
    return replace(limit, value=value, hold=hold, shrunk_at=now, found=True)


def after_silence(limit: Limit, now: float, bounds: Bounds) -> Limit:
    """The limit when somebody finds no room: what is held for too long, since no answer came, is let go."""
    if limit.hold is None or now < limit.hold.until:
        return limit
    return _tried(limit, limit.hold, now, bounds)


def queue_holds(limit: Limit, age: float) -> float:
    """Seconds of waiting that the target's queue may hold, when it was empty `age` seconds ago."""
    pace = limit.pace
    turn = 0.0 if pace is None else pace.seconds * (1.0 - pace.lost)  # clients who leave have no time to wait
    return max(turn, BURST if age < BURST else SHORTEST_QUEUE)


def _tells(limit: Limit, seconds: float, usual: float, now: float) -> bool:
    """Whether a request that nobody waits for any longer says anything. Not where a calm target would not have answered
    by then; nor where some that were sent much later have been answered: whatever kept this one is over."""
    if limit.calm is None:
        return True
    waited, overtaken = max(seconds, LEAST_CALM), max(limit.newest - (now - seconds), LEAST_CALM)
    usually = limit.calm.beyond + usual
    return math.log(waited) >= usually and math.log(overtaken) < usually + OVERTAKEN


def _heard(
    limit: Limit, seconds: float, in_flight: int, usual: float, now: float, bounds: Bounds, *, came: bool
) -> tuple[Pace | None, Pace | None, float, Stood]:
    """The calm and the recent pace with the answer, how much answers differ, and the last standstill."""
    calm, recent, spread = limit.calm, limit.recent, limit.spread
    since = now - limit.answered_at
    took, stood = moved_on(limit.stood, seconds, now, since, calm, heeded=recent is not None)
    if took is None:
        return calm, recent, spread, stood
    mean, load = math.log(max(took, LEAST_CALM)), math.log(max(in_flight, 1))
    if limit.hold is None and (calm is None or calm.count < FIRST or in_flight <= _few(limit, bounds)):
        # By all of late, not by each: of long and short ones calm would else be the pace of the short.
        slower = limit.found and calm is not None and (mean - usual if recent is None else recent.beyond) > calm.beyond
        share = since / (LEARN_SLOWER if slower else LEARN_TIME)
        calm = heard(calm, mean, load, usual, LEARNT, share, slowly=slower, came=came)
    if now - seconds >= limit.sent_from and now >= limit.heard_from:
        if recent is not None and came:
            spread += (min((mean - usual - recent.beyond) ** 2, SPREAD_MOST) - spread) * SPREAD_PART
        most = RECENT if limit.hold is None else HELD_MOST
        recent = heard(recent, mean, load, usual, most, since / RECENT_TIME, came=came)
    return calm, recent, spread, stood


def _few(limit: Limit, bounds: Bounds) -> float:
    """Requests at a time that are no load."""
    few = limit.value * CALM
    if not limit.found and few > bounds.least * CALM_FIRST:
        few = bounds.least * CALM_FIRST
    return few if few > 1.0 else 1.0


def _is_late(recent: Pace, calm: Pace, spread: float, lasting: int) -> bool:
    apart = recent.beyond - calm.beyond - _tolerance(recent, calm, lasting)
    return apart > 0.0 and apart > chance(recent, calm, spread)


def _is_over(recent: Pace, calm: Pace, spread: float, lasting: int) -> bool:
    """Whether an episode is: answers are surely not late, and not only by chance."""
    return recent.count >= 2 * FEW and calm.beyond + _tolerance(recent, calm, lasting) - recent.beyond > chance(
        recent, calm, spread
    )


def _tolerance(recent: Pace, calm: Pace, lasting: int) -> float:
    """By how much recent answers may be later than calm ones, as a logarithm. Streams that go on do not wait."""
    if recent.unknown:
        return 0.0
    many, leaving = min(recent.in_flight - lasting, MANY), recent.lost - calm.lost
    found = LATE + LATE_MORE * math.log(many / SOME) if many > SOME else LATE
    return found * max(1.0 - leaving * (1.0 - LEAVING) / LEAVING_MANY, LEAVING) if leaving > 0.0 else found


def _grown(limit: Limit, room: float, in_flight: int, now: float, bounds: Bounds) -> float:
    """What the limit becomes while answers are not late: more where it is in use, or was made small long ago."""
    if in_flight >= BUSY * room:
        room += 1.0 / room if limit.found else 1.0
    if room < START and limit.answered_at > -math.inf:
        room = min(START, room + room * min(1.0, (now - limit.answered_at) / REGROWTH))
    return room if room < bounds.most else float(bounds.most)


def _is_turn(limit: Limit, recent: Pace, before: float, clock: float, lasting: int) -> bool:
    """Whether the clock has come round since `before`, for whoever has a reason to try what few requests take."""
    now, turn = limit.answered_at, TURN
    while turn < TURNS * recent.seconds:
        turn *= 2.0
    if (now + clock) // turn == (before + clock) // turn:
        return False
    if limit.episode is not None and limit.episode.in_vain:
        return True
    return now - limit.late_at < 2.0 * turn and not _is_past(limit, recent, lasting)


def _is_past(limit: Limit, recent: Pace, lasting: int) -> bool:
    """Whether what was late is past, so that nothing has to be tried: answers take what they take on a calm target, and
    half of the limit is free. Both, since one alone may be so while others have a queue there. Of streams that go on
    it can't be said: they fill a target in which nothing waits."""
    calm = limit.calm
    if calm is None or limit.episode is not None or lasting > BUSY * recent.in_flight:
        return False
    slower = recent.beyond - calm.beyond
    return recent.in_flight < BUSY * limit.value and slower < max(AS_CALM, chance(recent, calm, limit.spread))


def _held(limit: Limit, recent: Pace, calm: Pace, lasting: int, now: float, bounds: Bounds) -> Limit:
    doubtful = limit.episode is not None and limit.episode.in_vain
    back_unless = max(limit.value, limit.episode.limit) if limit.episode is not None else limit.value
    few = max(recent.in_flight - lasting, 1.0) * CALM
    held = min(limit.value, max(bounds.least, lasting + few))
    long = min(PATIENCE_IN_DOUBT if doubtful else PATIENCE, max(2.0, _needed(limit) / max(few, bounds.least)))
    heard_from = now + recent.seconds * math.exp(SETTLE * math.sqrt(limit.spread)) + LEAST_CALM
    until = heard_from + recent.seconds * math.exp(limit.spread / 2.0) * long
    hold = Hold(recent, calm, lasting, limit.value, back_unless, doubtful, until)
    return replace(limit, value=held, recent=None, sent_from=now, heard_from=heard_from, hold=hold)


def _needed(limit: Limit) -> float:
    return min(HELD_MOST, HELD + HELD_MORE * limit.spread)


def _tried(limit: Limit, hold: Hold, now: float, bounds: Bounds) -> Limit:
    """The limit while it is held, and after: when enough answers have come, or none that help."""
    found, calm, back, late_at, episode = limit.recent, hold.calm, hold.back, limit.late_at, None
    if now < hold.until and (found is None or found.count < _needed(limit)):
        return limit
    if found is None or found.count < FEW:  # long streams leave no room for answers that could tell
        if hold.doubtful:
            calm, back = hold.before, hold.back_unless
        elif back <= SMALL or not hold.lasting:  # nothing was found out: what is known from before is not forgotten
            episode = limit.episode
    else:
        quicker = relieved(hold.before, found, chance(hold.before, found, limit.spread) / 2.0)
        apart = found.beyond - calm.beyond
        if not found.unknown and abs(apart) > chance(found, calm, limit.spread) and not (quicker and apart > 0.0):
            calm = found
        if quicker:
            waiting = max(found.in_flight - hold.lasting, 1.0)
            back = min(back, hold.lasting + waiting * math.exp(calm.beyond - found.beyond) * ROOM)
            late_at = now
        elif not found.unknown and (hold.doubtful or quicker is False):
            back = hold.back_unless
    return replace(
        limit, value=min(max(back, bounds.least), bounds.most), calm=calm, recent=None, sent_from=now,
        heard_from=now, episode=episode, hold=None, late_at=late_at,
    )  # fmt: skip


def _late(limit: Limit, recent: Pace, calm: Pace, sent: tuple[int, int], now: float, bounds: Bounds) -> Limit:
    """The limit where answers are late: smaller, unless that was in vain before."""
    in_flight, lasting = sent
    episode = limit.episode or Episode(recent, limit.value)
    if episode.in_vain:
        if not recent.unknown:
            return limit
        episode = Episode(recent, limit.value)
    if relieved(episode.before, recent) is False:
        value = max(limit.value, min(episode.limit, episode.before.in_flight * IN_VAIN))
        return replace(limit, value=value, episode=replace(episode, in_vain=True))
    enough = in_flight * ROOM
    if in_flight >= CALM * limit.value:
        enough = lasting + (in_flight - lasting) * math.exp(calm.beyond - recent.beyond) * ROOM
    value = max(min(limit.value * SHRINK, enough), bounds.least)
    if value >= limit.value:
        return limit
    heard_from = now + recent.seconds * math.exp(SETTLE * math.sqrt(limit.spread))
    return replace(
        limit, value=value, recent=None, sent_from=now, heard_from=heard_from, episode=episode, found=True,
        shrunk_at=now, late_at=now,
    )  # fmt: skip
