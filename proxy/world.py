"""What a process has from outside, the network apart: time, chance, and where its log and its state are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from backends.owners import Owners
from backends.state import Store

from .access_log import RequestLog
from .papers import Papers
from .replays import Replays

Loads = Callable[[str], Awaitable[None]]
"""Told what is loaded next, and while an environment is built, once a second, that it still is."""


async def untold(_: str) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class World:
    """The real one is made by `wiring`; a rehearsal makes another."""

    now: Callable[[], float]
    """Seconds on the event loop's clock."""
    wall: Callable[[], float]
    """Seconds since 1970."""
    draw: Callable[[], float]
    """A fresh random number in [0, 1)."""
    bits: Callable[[int], int]
    """A fresh random number of that many bits."""
    open_store: Callable[[str], Store]
    """The shared state at an address. Raises StoreError."""
    log: RequestLog | None = None
    """Where the request log goes, instead of the place that the settings name."""
    replays: Replays | None = None
    """Memory of signatures that several processes share; None: each has its own."""
    owners: Owners | None = None
    """Memory of what owners have left of their quotas, likewise."""
    loads: Loads = untold
    """Told what the process loads next, while it starts and when it reloads."""
    papers: Papers = field(default_factory=Papers)
    """What the door's files held when they were good, where a supervisor keeps it."""
