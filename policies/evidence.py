"""What was seen of the old and the new target over one window: plain counts that add up over workers and machines.

A request belongs to the side that it was sent to first, whoever answered it in the end: a fallback must not hide what
the side did. Every number is a count or a sum, so that evidence of any two parts of the traffic is merged by adding,
in any order, and nothing is lost by it.

Latencies are counted in buckets each 1 % wider than the one before, so that a quantile is known to 1 %, and a gate of
+10 % means what it says. Only buckets that hold something are kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .agreement import Agreement
from .agreement import read as read_agreement

SHORTEST = 0.0005
"""Seconds: everything faster is in bucket 0."""
LONGEST = 3600.0
"""Seconds: everything slower is in the last bucket."""
WIDER = 1.01
_LOG = math.log(WIDER)
LAST = math.ceil(math.log(LONGEST / SHORTEST) / _LOG)
SLOT = 300.0
"""Seconds of a slot of time: a billing window of an imported model, whose cost follows from who was asked for when."""
SLOTS_KEPT = 8 * 288
"""Slots that are remembered: a whole week, and what of a day has begun."""

Buckets = Mapping[int, int]
"""Number of a bucket to what it counts."""


def bucket_of(seconds: float) -> int:
    """The bucket that a duration is counted in: the least `b` with `seconds <= upper(b)`, at most LAST."""
    if seconds <= SHORTEST:
        return 0
    return min(LAST, math.ceil(math.log(seconds / SHORTEST) / _LOG - 1e-9))


def upper(bucket: int) -> float:
    """The longest duration, in seconds, that a bucket holds; infinite for the last one."""
    return SHORTEST * WIDER**bucket if bucket < LAST else math.inf


def quantile(counts: Buckets, rank: float) -> float:
    """The quantile in seconds, to the width of a bucket: the top of the one that holds it. 0 of nothing."""
    left = rank * sum(counts.values())
    for bucket, count in counts.items():
        left -= count
        if left <= 0:
            return min(upper(bucket), LONGEST)
    return 0.0


def _frozen(counts: Mapping[int, int]) -> Buckets:
    return MappingProxyType({bucket: count for bucket, count in sorted(counts.items()) if count})


@dataclass(frozen=True, slots=True)
class Side:
    """What the requests of one side met."""

    requests: int = 0
    errors: int = 0
    """Requests whose first attempt got no 2xx answer, or whose stream broke, and those that a cold copy cost the
    client. What we turned away ourselves, and a client that left, is none."""
    cold: int = 0
    """Requests that met a copy that was not loaded."""
    latency: Buckets = field(default_factory=dict)
    """Seconds until the last byte. A client that left counts with what it waited: to drop it would hide slowness."""
    first_byte: Buckets = field(default_factory=dict)
    """Seconds until the answer, or the first piece of a streamed one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "latency", _frozen(self.latency))
        object.__setattr__(self, "first_byte", _frozen(self.first_byte))

    def __add__(self, other: Side) -> Side:
        return Side(
            self.requests + other.requests,
            self.errors + other.errors,
            self.cold + other.cold,
            _sum(self.latency, other.latency),
            _sum(self.first_byte, other.first_byte),
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """One route's evidence of one window."""

    old: Side = Side()
    new: Side = Side()
    """In a step without a share: of the copies."""
    agreement: Agreement | None = None
    """What comparing copies has shown; None: nothing has been compared."""
    cost: tuple[float, float, float] | None = None
    """The new target's cost at full share as a part of the old one's, at least and at most, after the time (as in `at`)
    at which that was worked out; None: nobody has."""
    at: float = 0.0
    """When the newest part of it was written, in seconds since 1970."""
    busy: frozenset[int] = frozenset()
    """Slots of `SLOT` seconds since 1970 in which clients asked for the route, lately and not in this window alone."""

    def __add__(self, other: Evidence) -> Evidence:
        """Both together; of two projections of the cost the newer one holds.

        Raises:
            ValueError: they have compared answers under different bounds.
        """
        return Evidence(
            self.old + other.old,
            self.new + other.new,
            _agreement(self.agreement, other.agreement),
            max((one for one in (self.cost, other.cost) if one is not None), default=None),
            max(self.at, other.at),
            self.busy | other.busy,
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back."""
        return {
            "old": _side_json(self.old),
            "new": _side_json(self.new),
            "agreement": None if self.agreement is None else self.agreement.document(),
            "cost": self.cost,
            "at": self.at,
            "busy": _packed(self.busy),
        }

    @classmethod
    def from_json(cls, data: Any) -> Evidence:
        """What `to_json` gave. Raises ValueError when it is something else."""
        try:
            return cls(
                old=_side(data["old"]),
                new=_side(data["new"]),
                agreement=None if data["agreement"] is None else read_agreement(data["agreement"]),
                cost=None if data["cost"] is None else _three(data["cost"]),
                at=float(data["at"]),
                busy=_unpacked(data.get("busy")),  # a version before this one wrote none
            )
        except (KeyError, TypeError, IndexError, AttributeError, ValueError, OverflowError) as error:
            message = "not evidence of a migration as this version writes it"
            raise ValueError(message) from error


def _three(data: Any) -> tuple[float, float, float]:
    at, least, most = data
    return float(at), float(least), float(most)


def _packed(slots: frozenset[int]) -> list[Any] | None:
    """The first slot, and a bit for each from there on, in hexadecimal: a week is 504 digits."""
    first = min(slots, default=0)
    return [first, f"{sum(1 << (slot - first) for slot in slots):x}"] if slots else None


def _unpacked(data: Any) -> frozenset[int]:
    if data is None:
        return frozenset()
    first, bits = int(data[0]), int(str(data[1])[-SLOTS_KEPT // 4 :], 16)
    return frozenset(first + place for place in range(bits.bit_length()) if bits >> place & 1)


def _agreement(one: Agreement | None, other: Agreement | None) -> Agreement | None:
    if one is None or other is None:
        return other if one is None else one
    return one.merged(other)


def _sum(one: Buckets, other: Buckets) -> Buckets:
    total = dict(one)
    for bucket, count in other.items():
        total[bucket] = total.get(bucket, 0) + count
    return total


def _side_json(side: Side) -> dict[str, Any]:
    return {
        "requests": side.requests,
        "errors": side.errors,
        "cold": side.cold,
        "latency": {str(bucket): count for bucket, count in side.latency.items()},
        "first_byte": {str(bucket): count for bucket, count in side.first_byte.items()},
    }


def _side(data: Any) -> Side:
    return Side(
        int(data["requests"]), int(data["errors"]), int(data["cold"]),
        _buckets(data["latency"]), _buckets(data["first_byte"]),
    )  # fmt: skip


def _buckets(data: Any) -> Buckets:
    return {min(LAST, max(0, int(bucket))): int(count) for bucket, count in data.items()}
