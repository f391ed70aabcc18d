"""How long answers take, as far as some of them have shown it, as a value.

Answers of a model differ by factors and not by seconds: one with a hundred tokens takes ten times as long as one with
ten, from the same target under the same load. So it is logarithms that are averaged (a geometric mean, which one long
answer does not move), and two paces are compared by how far they lie apart beside what chance would do with so many
answers that are so different. Each pace also knows how many requests were in flight when those were sent: only so
can it be told whether fewer requests at a time made the answers quicker.
"""

from __future__ import annotations

import math

from .values import value

LEAST_CALM = 0.02
"""Seconds that an answer counts for at least. What is less is also this process's own: a loop with a thousand
requests a second takes that long to come round, and a machine that stalls for a moment is no sign of a target."""
DOUBT = 2.0
"""Standard errors by which two paces must lie apart, beyond what is asked for, to count as different."""
SLOWEST = 1e-3
"""Weight of an answer at least, however many come."""
HARDLY = 0.9
"""Share of answers that do not come in time from which hardly any comes."""


@value(frozen=True, slots=True)
class Pace:
    """Of some answers: natural logarithms, averaged."""

    mean: float
    """Of their seconds."""
    load: float
    """Of the requests that were in flight when each was sent, itself included."""
    count: int
    """Answers that it rests on; the older ones count less."""
    usual: float = 0.0
    """Of what answers of their kinds usually take, averaged likewise."""
    lost: float = 0.0
    """Share of those that did not come in time: they would have taken longer, and nobody knows how long."""
    held_up: float = 0.0
    """By how much all took longer, beyond what is usual, than those that came in time."""

    @property
    def seconds(self) -> float:
        """The geometric mean of what they took."""
        return math.exp(self.mean)

    @property
    def beyond(self) -> float:
        """By how much they took longer than is usual for their kinds; by this two paces are compared."""
        return self.mean - self.usual

    @property
    def common(self) -> float:
        """The same of those that came in time; of all before one did."""
        return self.beyond - self.held_up

    @property
    def unknown(self) -> bool:
        """Hardly any came in time, and what the others would have taken nobody knows."""
        return self.lost > HARDLY

    @property
    def in_flight(self) -> float:
        """The geometric mean of how many were in flight."""
        return math.exp(self.load)


def heard(
    pace: Pace | None, mean: float, load: float, usual: float, most: int, share: float, *, slowly: bool = False,
    came: bool = True,
) -> Pace:  # fmt: skip
    """The pace with one more answer.

    Of the first `most` each counts the same. Afterwards one counts for `share`, the part of the remembered time that
    has passed since the last, if that is less: many in a moment are not the whole picture. `slowly`: from the
    beginning. `came`: there was an answer.
    """
    if pace is None:
        return Pace(mean, load, 1, usual, 0.0 if came else 1.0)
    count = pace.count + 1 if pace.count < most else most
    part = 1.0 / count
    if slowly or count == most:
        part = min(part, max(share, SLOWEST))
    lost, common = pace.lost + ((0.0 if came else 1.0) - pace.lost) * part, pace.common
    if came:
        common += (mean - usual - common) * part / (1.0 - lost)
    mean, usual = pace.mean + (mean - pace.mean) * part, pace.usual + (usual - pace.usual) * part
    return Pace(mean, pace.load + (load - pace.load) * part, count, usual, lost, mean - usual - common)


def chance(one: Pace, other: Pace, spread: float) -> float:
    """How far chance alone may put the two apart, `spread` being the variance of single answers."""
    return DOUBT * math.sqrt(spread * (1.0 / one.count + 1.0 / other.count))


def relieved(before: Pace, after: Pace, doubt: float = 0.0) -> bool | None:
    """Whether answers became quicker with fewer requests in flight, by at least half of what a queue would make of it:
    with a queue at the target twice as few take half as long, and without one as long as before. None where there were
    not much fewer, or hardly any answer came in time. `doubt`: by how much more it has to be, where chance could make
    them seem quicker."""
    if after.unknown:
        return None
    fewer = before.load - after.load
    return before.beyond - after.beyond > fewer / 2.0 + doubt if fewer > 0.5 else None
