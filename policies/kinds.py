"""What requests of one kind usually take beside those of others, as values.

A classification takes a tenth of a second and a page of text a minute, from the same target under the same load. More
of the one kind would pass for a slower target. So of each answer it is known what those like it usually take
(`Alike`), and paces are compared by what their answers took beyond that (`policies.pace`). How fast the target itself
is is left out of it: what all kinds share is not learnt here, else a target that is overloaded for long would seem
usual.

Sizes stand for work without a look into a body: what a model writes takes its time token by token, and what it reads
is as long as the request.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .pace import LEAST_CALM, Pace
from .values import value

LEARNT = 200
"""Answers of which a kind's usual time is the mean; the older ones count less."""


class Alike(NamedTuple):
    """What requests that take about as long have in common."""

    route: str
    streaming: bool
    asked: int
    """The request's size, by factors of four."""
    told: int | None
    """The whole answer's, by factors of two; None where it is a stream, or did not come."""


@value(frozen=True, slots=True)
class Kind:
    """Of some answers of one kind: natural logarithms of their seconds, averaged, beside those of the first kind of
    which there were any."""

    usual: float = 0.0
    count: int = LEARNT


@value(frozen=True, slots=True)
class Together:
    """Several kinds, each as often as it counts."""

    usual: float = 0.0
    """Added up."""
    count: int = 0


def alike(route: str, asked: int, told: int | None = None, *, streaming: bool = False) -> Alike:
    """The kind of a request of `asked` bytes, and of its answer of `told`."""
    return Alike(route, streaming, (asked.bit_length() + 1) // 2, None if told is None else told.bit_length())


def expected(known: Kind | None, others: int, seconds: float, pace: Pace | None) -> tuple[float, Kind]:
    """What an answer which took `seconds` would usually have taken beside one of the first kind, as a logarithm; and
    what is known of its kind with it. `known` is what was, `others` are the kinds known besides, and `pace` is that of
    all answers of late.

    The first kind of all is what the others are compared with. As long as it is the only one, nothing is learnt; one
    that is new is believed to be slower than usual now by as much as the others are that came in time. Those that did
    not are of no kind: nothing would ever make up for what they add, and what is usual would drift.
    """
    if not others:
        known = known or Kind()
        return known.usual, known
    unhurried = math.log(max(seconds, LEAST_CALM)) - (0.0 if pace is None else pace.common)
    if known is None:
        return unhurried, Kind(unhurried, 1)
    count = known.count + 1 if known.count < LEARNT else LEARNT
    return known.usual, Kind(known.usual + (unhurried - known.usual) / count, count)


def expected_of_none(route: Together | None, pace: Pace | None) -> float:
    """The same of an answer that did not come, whose size nobody knows: the mean of its route's other whole answers, or
    else of all of late. It says nothing of what is usual."""
    if route is None:
        return 0.0 if pace is None else pace.usual
    return route.usual / route.count
