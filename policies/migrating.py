"""A migration as the policy wants it, compiled: what moves where, by which steps, and what has to hold on the way.

Everything here is written by people and frozen; what has happened so far is `migration_state.State`, and what follows
from both is `migration.step`. Targets are named, not held, so that a table can hold these. Shares are fractions of 1,
times seconds, money US dollars.
"""

from __future__ import annotations

import enum
import hashlib
import json
from dataclasses import dataclass, field

from .calendar import Calendar
from .redaction import Keeping

START = -1
"""The step before the first: everything is served from the old target, and nothing is shadowed."""


class Measure(enum.Enum):
    """What a gate looks at, by the key that a policy writes."""

    ERRORS = "errors"
    COLD_SHARE = "cold_share"
    LATENCY_P95 = "latency_p95"
    LATENCY_P99 = "latency_p99"
    FIRST_BYTE_P95 = "first_byte_p95"
    FIRST_BYTE_P99 = "first_byte_p99"
    AGREEMENT = "agreement"
    COST = "cost_at_full_share"


@dataclass(frozen=True, slots=True)
class Gate:
    """One thing that the new target may not do worse than is allowed."""

    measure: Measure
    allowed: float
    """Errors and cold share: how much more, as a fraction (`+0.2 points` is 0.002). Latencies: how much longer,
    relative (`+10% relative` is 0.1). Agreement: least part of the A/A floor. Cost: largest part of the old cost."""


@dataclass(frozen=True, slots=True)
class Step:
    """One position of the points."""

    share: float = 0.0
    """Part of the route's keys that goes to the new target."""
    shadow: float = 0.0
    """Part of the requests served by the old target of which the new one gets a copy."""
    hold: float = 0.0
    """Seconds that it lasts at least."""
    approve: str | None = None
    """Who has to agree before it is left; None: nobody."""
    budget: float | None = None
    """What its copies may cost a day; None: no limit."""


@dataclass(frozen=True, slots=True)
class Keep:
    """What is kept of the old target so that a rollback finds room."""

    can_take: float = 1.0
    """Part of the route's traffic that it has to be shown able to take, before each step and while it holds."""
    until: float = 14 * 86_400.0
    """Seconds after 100 %."""
    trust: bool = False
    """It counts as able to take `can_take` while nobody can say what it could take."""


@dataclass(frozen=True, slots=True)
class Approvals:
    """Who may agree to leave a step that asks for it. Names are as they are given: this is no authentication."""

    by: tuple[str, ...] = ()
    """Names; empty: anybody."""
    four_eyes: bool = False
    """Not who started the migration."""


@dataclass(frozen=True, slots=True)
class Member:
    """One route that moves: from exactly one target to exactly one other."""

    route: str
    """Key of the route: `endpoint` or `endpoint/component`."""
    old: str
    new: str
    gates: tuple[Gate, ...] = ()
    keep: Keep = Keep()
    release: str = ""
    """What the two names stand for (ARNs, endpoints, models): another release is another migration."""
    differences: Keeping | None = None
    """Which differences of shadowed answers are kept; None: none is."""


@dataclass(frozen=True, slots=True)
class Migration:
    """Routes that move and roll back together; mostly one."""

    name: str
    """The group's, else the route's key: what commands and records call it."""
    members: tuple[Member, ...]
    steps: tuple[Step, ...]
    """Growing; the last is 100 %."""
    false_alarms: float = 0.01
    """How probable it may be that any gate is called breached, from start to end, while none is."""
    to_start: frozenset[Measure] = frozenset()
    """Measures whose breach goes all the way back; the others' goes back to the last good step."""
    freeze: Calendar | None = None
    """When it never grows."""
    approvals: Approvals = Approvals()
    source_line: int = field(default=0, compare=False)

    identity: str = field(init=False, compare=False)
    """12 hex digits for what moves where. A state of another identity says nothing about this migration."""
    course: str = field(init=False, compare=False)
    """12 hex digits for the steps, by which a state notices that they have been rewritten."""

    def __post_init__(self) -> None:
        moved = [(one.route, one.old, one.new, one.release) for one in self.members]
        object.__setattr__(self, "identity", _digest(moved))
        course = [(one.share, one.shadow, one.hold, one.approve) for one in self.steps]
        object.__setattr__(self, "course", _digest(course))

    def share_at(self, step: int) -> float:
        """The share of a step; 0 at START."""
        return self.steps[step].share if step > START else 0.0


def gates_at(member: Member, step: Step) -> tuple[Gate, ...]:
    """The gates that a step has to pass: all that it gives evidence for.

    Agreement is judged by copies. At 100 % the old target answers nothing that the new one could be held against.
    """
    if step.share >= 1.0:
        return ()
    return tuple(gate for gate in member.gates if gate.measure is not Measure.AGREEMENT or step.shadow > 0)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a migration stood when a request of one of its routes came, for the request log."""

    name: str
    step: int
    """From 1; 0 before the first, and on the way back to the start."""
    to: str
    share: float
    shadow: float
    bypassed: bool


@dataclass(frozen=True, slots=True)
class Shift:
    """What a migration does to one route now."""

    migration: str
    window: str
    """Which window the route's evidence belongs to; it changes with every step."""
    old: str
    new: str
    share: float
    """Part of the keys that goes to `new`."""
    shadow: float = 0.0
    """Part of the requests that `old` serves of which `new` gets a copy."""
    budget: float | None = None
    """What the copies may cost a day, in US dollars, for the whole fleet; None: no limit."""
    step: int = START
    bypassed: bool = False
    place: Place = field(init=False, compare=False)
    """The same for the log, made once and not for every request."""

    def __post_init__(self) -> None:
        place = Place(self.migration, self.step + 1, self.new, self.share, self.shadow, self.bypassed)
        object.__setattr__(self, "place", place)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]
