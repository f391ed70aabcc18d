"""How much an owner may ask for: buckets of requests and of tokens, as values.

A bucket holds what one period grants and refills evenly. A request is paid for when it comes; tokens are paid for when
the target has counted them, or they were estimated, so that a bucket may run into debt, and the next request waits
until it is paid off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

BYTES = 4
"""Bytes that count as a token where nobody has counted: about what English takes in the tokenizers of today."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds."""

    count: float
    period: float


@dataclass(frozen=True, slots=True)
class Quota:
    """What the policy grants one owner; None: any amount."""

    owner: str
    requests: Rate | None = None
    tokens: Rate | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is left of one rate, at one moment."""

    left: float
    at: float


def full(rate: Rate, now: float) -> Bucket:
    """A bucket nobody has taken from."""
    return Bucket(rate.count, now)


def refilled(bucket: Bucket, rate: Rate, now: float) -> Bucket:
    """The bucket at `now`, or as it is where it has been looked at since: no time counts twice."""
    gained = max(0.0, now - bucket.at) * rate.count / rate.period
    return Bucket(min(rate.count, bucket.left + gained), max(now, bucket.at))


def wait_for(bucket: Bucket, rate: Rate, amount: float) -> float:
    """Seconds until the bucket holds `amount`; 0 when it does, infinite when it never will."""
    missing = min(amount, rate.count) - bucket.left
    if missing <= 0:
        return 0.0
    return missing * rate.period / rate.count if rate.count else math.inf


def taken(bucket: Bucket, amount: float) -> Bucket:
    """The bucket less `amount`, in debt if need be."""
    return Bucket(bucket.left - amount, bucket.at)


def estimated(asked: int, answered: int, events: int | None = None) -> int:
    """Tokens of a request of `asked` bytes and an answer of `answered` bytes, or of so many events, a token each."""
    return -(-asked // BYTES) + (-(-answered // BYTES) if events is None else events)
