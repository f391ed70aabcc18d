"""What the world told us, as values that decisions are made from."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .values import value


class Fault(enum.Enum):
    """Whose doing a failure is. The face picks the wire error from it; nobody else does."""

    CALLER = "caller"
    """The request itself is wrong; sending it elsewhere would be wrong as well."""
    MODEL = "model"
    """The model or its container answered with an error, or not in time."""
    PLATFORM = "platform"
    """The hosting service failed: unavailable, throttled, internal error, model not ready."""
    NETWORK = "network"
    """No answer could be had: refused, reset, name not resolved, garbage."""
    CONFIG = "config"
    """Our side is set up wrongly: credentials, a target that does not exist."""


@dataclass(frozen=True, slots=True)
class FailureFacts:
    """What is known of one failed attempt; strategies and faces decide from it, and from nothing else."""

    fault: Fault
    retry_safe: bool | None
    """True: the model has not run, False: sending again would fail again, None: it may have run."""
    retry_after: float | None = None
    """Seconds the other side asked us to wait."""
    throttled: bool = False
    timed_out: bool = False
    cold: bool = False
    """The target is a scaled-to-zero copy that is not ready: a state, not an error."""
    shed: bool = False
    """We refused it ourselves, before anything was sent: the target or its owner has enough."""


@value(frozen=True, slots=True)
class TargetView:
    """What is known of one target (or of one replica of it) at the moment of choice."""

    in_flight: int = 0
    cold: bool = False
    """The last attempt found it not ready."""
    health: float = 1.0
    """Share of its usual traffic that it may get: 0 when its breaker has ejected it, rising to 1 after recovery."""
    back_at: float = 0.0
    """When an ejected one may be tried again, on the clock of the moment of choice."""
    refuses: bool = False
    """It has turned away whatever it was asked of late. That opens no breaker, but others are asked before it."""
