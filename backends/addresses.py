"""Where the requests to a target go, and as what they are signed: made when it is first called, then found by its name.

Promises: a target that a reload changed is not the one that was known, and gets its own; at most `KEPT` are known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from policies.table import Target

from .wire.sigv4 import Place

KEPT = 4096
"""Targets whose addresses are known at once; one more forgets the one unused for longest."""


@dataclass(frozen=True, slots=True)
class Address:
    """One operation of one target."""

    url: str
    """Percent-encoded as it goes out."""
    place: Place | None
    """What its signatures know of it; None: requests to it are not signed."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The two operations of one target."""

    target: Target
    whole: Address
    streamed: Address


class AddressBook:
    """The addresses of a backend's targets."""

    __slots__ = ("_known", "_make")

    def __init__(self, make: Callable[[Target], Addresses]) -> None:
        """`make` finds them for a target that is not known; what it raises is raised."""
        self._make = make
        self._known: LRUCache[str, Addresses] = LRUCache(KEPT)

    def of(self, target: Target, *, streamed: bool) -> Address:
        """Where a request to `target` goes whose answer is to be streamed, or not."""
        try:
            known = self._known[target.name]
        except KeyError:
            known = None
        if known is None or known.target is not target:
            known = self._known[target.name] = self._make(target)
        return known.streamed if streamed else known.whole
