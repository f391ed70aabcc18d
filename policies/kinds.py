"""What requests of one kind usually take beside those of others, as values.

Requests of two routes to one target, or streams and whole answers of one route, may take a tenth of a second and a
minute. More of the one kind would pass for a slower target. So of each answer it is known what its kind usually takes,
and paces are compared by what their answers took beyond that (`policies.pace`). How fast the target itself is is left
out of it: what all kinds share is not learnt here, else a target that is overloaded for long would seem usual.
"""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from typing import TypeVar

from .limits import LEAST_CALM
from .pace import Pace
from .values import value

LEARNT = 200
"""Answers of which a kind's usual time is the mean; the older ones count less."""

K = TypeVar("K")


@value(frozen=True, slots=True)
class Kind:
    """Of some answers of one kind: natural logarithms of their seconds, averaged, beside those of the first kind of
    which there were any."""

    usual: float = 0.0
    count: int = LEARNT


def expected(kinds: MutableMapping[K, Kind], kind: K, seconds: float, pace: Pace | None) -> float:
    """What an answer of `kind`, which took `seconds`, would usually have taken beside one of the first kind, as a
    logarithm; and have `kinds` learn of it. `pace` is that of all answers of late.

    The first kind of all is what the others are compared with. As long as it is the only one, nothing is learnt; one
    that is new is believed to be slower than usual now by as much as the others are.
    """
    known = kinds.get(kind)
    if not kinds:
        kinds[kind] = known = Kind()
    if known is not None and len(kinds) == 1:
        return known.usual
    unhurried = math.log(max(seconds, LEAST_CALM)) - (0.0 if pace is None else pace.beyond)
    if known is None:
        kinds[kind] = Kind(unhurried, 1)
        return unhurried
    count = known.count + 1 if known.count < LEARNT else LEARNT
    kinds[kind] = Kind(known.usual + (unhurried - known.usual) / count, count)
    return known.usual
