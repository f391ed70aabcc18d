"""Whether a candidate agrees with the old target as much as that one agrees with itself: evidence and verdict.

A model that samples does not answer twice alike. So each shadowed request is asked three times: the client's own answer
is compared with the candidate's (`candidate`, 0 to 1) and with a second one of the old target (`floor`, 0 to 1), and
what counts is their difference `candidate - bound * floor` for the bound that the policy declares: its mean is at least
0 exactly when the candidate agrees to that share of the floor. One request gives both numbers, so that what makes a
request hard to answer twice alike cancels out.

The test is sequential: it may be looked at after every request, and a false alarm over the whole time still has at most
the stated probability. A bet of a fixed share of what one has on every difference being negative (or positive) cannot
be expected to win where that is false, so that a fortune of 1 grows to 1/p with probability p at most (Ville's
inequality); several sizes of bets are averaged, since the best is not known (Waudby-Smith and Ramdas, "Estimating means
of bounded random variables by betting", 2024). The fortune depends on how often each difference occurred and not on the
order, so that counts of many workers and machines can be added. Differences are counted in steps of 1/`STEPS`, rounded
against what is to be shown.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .verdicts import Answer

STEPS = 500
"""Steps of a difference of 1 in which differences are counted; a bound of 0.97 leaves a margin of 15."""
BETS = tuple(0.95 / 2**halvings for halvings in range(8))
"""Shares of the fortune that are bet at a time, for differences between that of one step and all of it."""
_FUZZ = 1e-9
"""Of a step: what lies on its edge is not below it for the way in which floats are rounded."""
_NOTHING: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Agreement:
    """Evidence, as sums that can be added."""

    bound: float
    """Share of the floor that the candidate has to reach."""
    counts: Mapping[int, int] = field(default_factory=lambda: _NOTHING)
    """How often each difference occurred, by the step below it."""
    candidate: float = 0.0
    """Sum of the scores of the candidate's answers."""
    floor: float = 0.0
    """Sum of the scores of the old target's second answers."""
    parts: Mapping[str, tuple[int, float, float]] = field(default_factory=lambda: _NOTHING)
    """Of each part: how often it applied to both, sum of the candidate's values, sum of the floor's."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", MappingProxyType(dict(self.counts)))
        object.__setattr__(self, "parts", MappingProxyType(dict(self.parts)))

    @property
    def requests(self) -> int:
        return sum(self.counts.values())

    @property
    def share(self) -> float | None:
        """The candidate's agreement as a share of the floor; None: nothing has been compared, or the floor is 0."""
        return self.candidate / self.floor if self.floor > 0 else None

    def merged(self, other: Agreement) -> Agreement:
        """Both together. Raises ValueError for evidence about another bound."""
        if self.bound != other.bound:
            message = f"evidence about a bound of {other.bound:g} can't be added to that about {self.bound:g}"
            raise ValueError(message)
        parts = dict(self.parts)
        for name, (count, candidate, floor) in other.parts.items():
            before = parts.get(name, (0, 0.0, 0.0))
            parts[name] = (before[0] + count, before[1] + candidate, before[2] + floor)
        counts = Counter(self.counts) + Counter(other.counts)
        return Agreement(self.bound, counts, self.candidate + other.candidate, self.floor + other.floor, parts)

    def document(self) -> dict[str, Any]:
        """As JSON; `read` reads it back."""
        return {
            "bound": self.bound,
            "counts": {str(step): count for step, count in self.counts.items()},
            "candidate": self.candidate,
            "floor": self.floor,
            "parts": {name: list(sums) for name, sums in self.parts.items()},
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer and its reason in words."""

    answer: Answer
    why: str


def observed(
    bound: float,
    candidate: float,
    floor: float,
    candidate_parts: Mapping[str, float] = _NOTHING,
    floor_parts: Mapping[str, float] = _NOTHING,
) -> Agreement:
    """The evidence of one request: two scores in 0..1, and the parts that they are made of."""
    step = math.floor((candidate - bound * floor) * STEPS + _FUZZ)
    both = [name for name in candidate_parts if name in floor_parts]
    parts = {name: (1, candidate_parts[name], floor_parts[name]) for name in both}
    return Agreement(bound, {step: 1}, candidate, floor, parts)


def read(document: Mapping[str, Any]) -> Agreement:
    """What `document` wrote. Raises ValueError for anything else."""
    try:
        counts = {int(step): int(count) for step, count in document["counts"].items()}
        parts = {name: (int(row[0]), float(row[1]), float(row[2])) for name, row in document["parts"].items()}
        sums = float(document["candidate"]), float(document["floor"])
        return Agreement(float(document["bound"]), counts, *sums, parts)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        message = "not evidence of agreement as this version writes it"
        raise ValueError(message) from error


def judge(evidence: Agreement, chance: float) -> Verdict:
    """What can be said with `chance`, in (0, 1), of saying it wrongly at any time. Both sides have that chance."""
    if not evidence.requests:
        return Verdict(Answer.NOT_YET, "no request has been compared")
    shown = f"{evidence.requests} requests: {_share(evidence)} of the A/A floor, {evidence.bound:g} wanted"
    if _fortune(evidence, -1) >= math.log(1 / chance):
        worst = "; ".join(f"{name} {mine:.2f} against {theirs:.2f}" for name, mine, theirs in _worst(evidence))
        return Verdict(Answer.RED, f"{shown}{f' ({worst})' if worst else ''}")
    if _fortune(evidence, 1) >= math.log(1 / chance):
        return Verdict(Answer.GREEN, shown)
    return Verdict(Answer.NOT_YET, f"{shown}; about {required(evidence, chance)} are needed to tell")


def required(evidence: Agreement, chance: float) -> int:
    """About how many requests it takes in all to tell, if they go on as they have.

    Without evidence: for answers that are always alike, which is the least that any candidate needs.
    """
    counts = evidence.counts or {math.floor((1 - evidence.bound) * STEPS + _FUZZ): 1}
    seen = sum(counts.values())
    growth = max(_growths(counts, side, bet) / seen for side in (-1, 1) for bet in BETS)
    needed = (math.log(1 / chance) + math.log(len(BETS))) / growth if growth > 1e-6 else 1e6
    return min(1_000_000, math.ceil(needed))


def _share(evidence: Agreement) -> str:
    return "none" if evidence.share is None else f"{evidence.share:.3f}"


def _worst(evidence: Agreement) -> list[tuple[str, float, float]]:
    """The parts that fall furthest below their own floor, at most three."""
    means = [(name, mine / count, theirs / count) for name, (count, mine, theirs) in evidence.parts.items()]
    below = [row for row in means if row[1] < row[2] * evidence.bound]
    return sorted(below, key=lambda row: row[1] - row[2])[:3]


def _fortune(evidence: Agreement, side: int) -> float:
    """Logarithm of what bets on differences of that sign have made of 1, averaged over the sizes of bets."""
    made = [_growths(evidence.counts, side, bet) for bet in BETS]
    best = max(made)
    return best + math.log(sum(math.exp(one - best) for one in made) / len(made))


def _growths(counts: Mapping[int, int], side: int, bet: float) -> float:
    # A step below 0 is bet on as if it were its upper edge, one above 0 as if it were its lower one.
    edge = 1 if side < 0 else 0
    return sum(count * math.log1p(side * bet * min(1.0, (step + edge) / STEPS)) for step, count in counts.items())
