"""What the pipeline and the faces work with, as one frozen value; only `wiring` makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backends.base import Backend
from backends.book import Book
from backends.gates import Gates
from backends.http.limits import LIMITS
from backends.meters import Meters
from backends.temperatures import Temperatures
from warmers.restoring import Restorer
from warmers.runner import Warmer
from warmers.uses import Uses

from .access_log import RequestLog
from .afterwards import Afterwards
from .door import Door
from .handlers.registry import Handlers
from .papers import Papers
from .policy_source import Policy
from .telemetry import Telemetry

if TYPE_CHECKING:  # a process without shared state loads none of these
    from warmers.migrations.controller import Controller
    from warmers.migrations.follower import Follower
    from warmers.shadow import Shadows

    from .alerts import Alerts


@dataclass(frozen=True, slots=True)
class Services:
    """The process's parts."""

    policy: Policy
    backends: Mapping[str, Backend]
    """By target kind."""
    handlers: Handlers
    """The customers' own code."""
    book: Book
    meters: Meters
    telemetry: Telemetry
    log: RequestLog
    now: Callable[[], float]
    """Seconds on the event loop's clock: deadlines and durations."""
    wall: Callable[[], float]
    """Seconds since the epoch: log lines and spans."""
    draw: Callable[[], float]
    """A fresh random number in [0, 1)."""
    new_id: Callable[[], str]
    """A fresh request id."""
    body_limit: int
    """Largest request body, in bytes."""
    body_time: float = LIMITS.body_time
    """Seconds in which a request's body has to arrive, from its head."""
    gates: Gates = field(default_factory=Gates)
    """Who gets in when a target or an owner has enough."""
    door: Door | None = None
    """Who may call at all; None where the network or the platform decides."""
    papers: Papers = field(default_factory=Papers)
    """What its files held when they were good, where a supervisor keeps it."""
    warmer: Warmer | None = None
    """Keeps targets warm; None where nothing does."""
    shadows: Shadows | None = None
    """Copies requests for the new targets of migrations; None where nothing does."""
    follower: Follower | None = None
    """Knows where migrations stand; None where there is no shared state."""
    alerts: Alerts | None = None
    """Tells an address of what should wake somebody; None where none is named."""
    controller: Controller | None = None
    """Moves migrations on, when it is this process's turn."""
    temperatures: Temperatures = field(default_factory=Temperatures)
    """How warm every target is."""
    restorer: Restorer | None = None
    """Brings cold targets back; None where only callers' own requests do."""
    afterwards: Afterwards = field(default_factory=Afterwards)
    """What waits until the answers of this turn are on their way."""
    uses: Uses | None = None
    """What the fleet uses; None where the process is on its own."""
