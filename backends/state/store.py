"""The operations of the fleet's shared state, the same for every place that can hold it.

Each is atomic on one name, which is all that a file, Valkey and S3's conditional writes have in common:

- A lease is held until it expires; taking one that has expired gives a new, higher token. Tokens are never used twice,
  also where the store has lost its memory in between.
- A document is written with the token of the writer's lease and refused once somebody with a higher one has written it
  (fencing): a holder that was stopped for a while and does not know it has lost the duty can't overwrite its successor.
- An item of a group is replaced by who has seen its version (compare and set), or put by its only writer. What is only
  ever swapped in where there is none makes a record that grows and is never overwritten.

`wall` is seconds since 1970 as the caller's machine sees it: machines that share a store need clocks that agree to a
small part of a lease's period. A write whose answer was lost may have been done: StoreError says that nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

SCHEMA_VERSION = 2
"""2 added groups. A store that a newer version has written is refused."""


class StoreError(Exception):
    """The store can't be reached or used; the message says which and why, and holds no password."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A duty that one holder has until `expires` (seconds since 1970)."""

    name: str
    holder: str
    token: int
    """Higher than that of every holder before."""
    expires: float


@dataclass(frozen=True, slots=True)
class Item:
    """One of a group."""

    version: int
    """1, and one more with each `swap`; 0 where it was `put`."""
    value: bytes


def next_token(before: int, wall: float) -> int:
    """The token of a new holder. The clock is in it, so that a store which has lost its memory gives no smaller ones:
    who writes with one from before would keep all successors from writing."""
    return max(before + 1, int(wall))


class Store(Protocol):
    """The fleet's shared state. Every method raises StoreError when the store can't be reached.

    Names are any text. Values are a few kilobytes at most: they are read whole.
    """

    async def take(self, name: str, holder: str, wall: float, period: float) -> Lease | None:
        """The lease until `wall + period`: renewed if `holder` has it, taken if it has expired, else None."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give it up, so that another can take it at once; without effect when it is another's by now."""
        ...

    async def read(self, name: str) -> bytes | None:
        """The document of that name; None when there is none."""
        ...

    async def write(self, name: str, value: bytes, token: int) -> bool:
        """Replace the document; False, and nothing changes, when a holder with a higher token has written it."""
        ...

    async def items(self, group: str) -> Mapping[str, Item]:
        """All of a group by name; empty when nothing was ever written to it."""
        ...

    async def swap(self, group: str, name: str, value: bytes, version: int) -> bool:
        """Replace the item that has this version, 0 where there is none; False, and nothing changes, for another."""
        ...

    async def put(self, group: str, name: str, value: bytes) -> None:
        """Replace the item whatever it is: for items that only one process writes."""
        ...

    async def drop(self, group: str, name: str) -> None:
        """The item is no more, if it ever was."""
        ...

    async def aclose(self) -> None:
        """Let go of files and connections; nothing may be asked afterwards."""
        ...
