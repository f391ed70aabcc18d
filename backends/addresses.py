"""Where the requests to targets go, and as what they are signed: made when a target is first called, then found by its
name.

Promises: a target that a reload changed is not the one that was known, and gets its own; at most `KEPT` are known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import FIFOCache

from policies.table import Target

from .http.transport import Road
from .wire.sigv4 import Place

KEPT = 4096
"""Targets of which something is known at once; one more forgets the one known for longest. Which was used for longest
is not kept, since that costs a microsecond a request."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Address:
    """One operation of one target."""

    road: Road
    """To its URL, percent-encoded as it goes out."""
    place: Place | None
    """What its signatures know of it; None: requests to it are not signed."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The two operations of one target."""

    whole: Address
    streamed: Address


class AddressBook(Generic[T]):
    """What is made once for each of a backend's targets: their addresses, mostly."""

    __slots__ = ("_known", "_make")

    def __init__(self, make: Callable[[Target], T]) -> None:
        """`make` is asked for a target that is not known; what it raises is raised."""
        self._make = make
        self._known: FIFOCache[str, tuple[Target, T]] = FIFOCache(KEPT)

    def of(self, target: Target) -> T:
        """What is known of `target`."""
        try:
            known, made = self._known[target.name]
            if known is target:
                return made
        except KeyError:
            pass
        made = self._make(target)
        self._known[target.name] = (target, made)
        return made
