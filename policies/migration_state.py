"""How far a migration has come: the one value that a fleet agrees on, what can happen to it, and what it says.

`State` is stored as JSON under a version, written by compare-and-set, and changed by `migration.step` alone. All times
are seconds since 1970, so that a state survives restarts and moves between machines.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .migrating import START, Migration
from .verdicts import Verdict

FORMAT = 1


class Phase(enum.Enum):
    """What is going on. Pauses, freezes, approvals and bypasses are conditions beside it: see `State` and `Waiting`."""

    PLANNED = "planned"
    """It stands in the policy, and nobody has started it."""
    RUNNING = "running"
    """At a step, and on its way to the next."""
    ROLLING_BACK = "rolling back"
    """On its way to an earlier step, as fast as the old target can take the load."""
    ROLLED_BACK = "rolled back"
    """Everything is served from the old target again; `start` begins anew."""
    DONE = "done"
    """At 100 %; the old target is kept for a while."""


@dataclass(frozen=True, slots=True)
class State:
    """Where a migration stands. `State.planned` makes the first one."""

    name: str
    identity: str
    """`Migration.identity` of what it is about."""
    course: str
    """`Migration.course` of the steps that `step` is an index of."""
    version: int = 0
    """Grows by one with every change; a write is refused unless it follows the version that was read."""
    phase: Phase = Phase.PLANNED
    run: int = 0
    """How often it has been started."""
    started_by: str | None = None
    step: int = START
    share: float = 0.0
    """The new target's part of the keys, a bypass left aside."""
    shadow: float = 0.0
    since: float = 0.0
    """When it came to where it is; a hold is counted from here."""
    window: int = 0
    """Number of the window, in this run, that evidence is collected in."""
    approved: str | None = None
    """Who has agreed to leave the step."""
    waived: bool = False
    """Somebody has said `promote`: the rest of the hold, and answers still open, are not waited for. Not kept: a
    promotion that can't be followed at once is refused."""
    paused: str | None = None
    """Why it stands still until `resume`; None: it does not."""
    bypass: float | None = None
    """Everything goes to the old target until then; None: no bypass."""
    goal: int = START
    """Step that a rollback leads to."""
    halt: str | None = None
    """Why it is to stand still once the rollback is at its goal."""
    ramped: float = 0.0
    """When the last part of a rollback was moved."""
    done_at: float | None = None
    why: str = "not started"
    """What brought it to where it is, in words."""
    applied: tuple[tuple[str, float], ...] = ()
    """Commands of the last day that have been dealt with, and when they were given: each counts once."""

    @classmethod
    def planned(cls, plan: Migration, run: int = 0) -> State:
        """The state of a migration that nobody has started."""
        return cls(plan.name, plan.identity, plan.course, run=run)

    @property
    def window_id(self) -> str:
        """Names the window within the migration, over all its runs."""
        return f"{self.run}.{self.window}"

    @property
    def in_force(self) -> tuple[float, float]:
        """Share and shadow that routing is to use now."""
        return (0.0, 0.0) if self.bypass is not None else (self.share, self.shadow)

    def to_json(self) -> bytes:
        """JSON that `from_json` reads back, whichever process of this version does."""
        data: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(data | {"format": FORMAT, "phase": self.phase.value}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> State:
        """What `to_json` gave.

        Raises:
            ValueError: it is something else, or was written by a newer version of this code.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            form = data.pop("format")
            if form != FORMAT:
                message = f"the state of a migration has format {form}, this version knows {FORMAT}"
                raise ValueError(message)
            data["phase"] = Phase(data["phase"])
            data["applied"] = tuple((str(one), float(at)) for one, at in data["applied"])
            return _sound(cls(**data))
        except (KeyError, TypeError, AttributeError) as error:
            message = "not the state of a migration"
            raise ValueError(message) from error


def _sound(state: State) -> State:
    """The state, whose numbers are numbers: others would break whoever reckons with them. Raises TypeError."""
    maybe = [each for each in (state.bypass, state.done_at) if each is not None]
    numbers = [state.share, state.shadow, state.since, state.ramped, *maybe]
    if not (
        all(type(each) is int for each in (state.version, state.run, state.step, state.window, state.goal))
        and all(type(each) in (int, float) and math.isfinite(each) for each in numbers)
        and 0.0 <= state.share <= 1.0
        and 0.0 <= state.shadow <= 1.0
    ):
        message = "a number is none, or out of its bounds"
        raise TypeError(message)
    return state


class Verb(enum.Enum):
    """What a person can ask of a migration."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    APPROVE = "approve"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    BYPASS = "bypass"


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `id` is unique; the same command is carried out once, however often it is read."""

    id: str
    verb: Verb
    reason: str
    who: str
    at: float
    """When it was given."""
    until: float | None = None
    """Of a bypass: when it ends."""

    def to_json(self) -> bytes:
        """JSON that `from_json` reads back."""
        data: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(data | {"verb": self.verb.value}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Command:
        """What `to_json` gave. Raises ValueError when it is something else."""
        try:
            data: dict[str, Any] = json.loads(text)
            return cls(**data | {"verb": Verb(data["verb"])})
        except (KeyError, TypeError, AttributeError) as error:
            message = "not a command to a migration"
            raise ValueError(message) from error


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known at one moment."""

    window: str = ""
    """The window (`State.window_id`) that the verdicts are about; those of another window count for nothing."""
    verdicts: tuple[Verdict, ...] = ()
    rooms: Mapping[str, float] = field(default_factory=dict)
    """By key of the route: which part of its whole traffic the old target is shown able to take now. What it carries
    anyway needs no showing; a route that is not in here has shown nothing else."""
    shared: bool = True
    """False: the store can't be reached, so that nobody else would learn of a growing share."""


class Waiting(enum.Enum):
    """What keeps a running migration from going on."""

    PAUSED = "paused"
    BYPASSED = "bypassed"
    FROZEN = "frozen"
    STORE = "the store is lost"
    HOLD = "holding"
    EVIDENCE = "collecting evidence"
    APPROVAL = "awaiting approval"
    ROOM = "waiting for room for a rollback"


@dataclass(frozen=True, slots=True)
class Wait:
    """One reason why a migration stands where it is."""

    what: Waiting
    text: str


class Event(enum.Enum):
    """What a decision did."""

    STARTED = "started"
    GREW = "grew"
    DONE = "done"
    BREACHED = "breached"
    ROLLBACK = "rollback"
    """Asked for by a person."""
    RAMPED = "ramped"
    """A part of the way back, as much as the old target could take."""
    ROLLED_BACK = "rolled back"
    RETREATED = "went back a step"
    PAUSED = "paused"
    RESUMED = "resumed"
    APPROVED = "approved"
    PROMOTED = "promoted"
    BYPASSED = "bypassed"
    BYPASS_OVER = "bypass over"
    REPLACED = "replaced"
    RECHARTED = "steps rewritten"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing that was decided: the audit record of a change, or of a command that was refused."""

    migration: str
    event: Event
    at: float
    who: str
    """The person who commanded it, or CONTROLLER."""
    why: str
    """The reason: the person's own, or what the evidence says."""
    before: float
    """Share in force before."""
    after: float
    step: int
    """Index of the step afterwards; START before the first."""
    version: int
    """Version of the state that it led to."""
    window: str = ""
    """The window whose evidence it was made from."""
    command: str | None = None
    """Id of the command that it answers."""
    alert: bool = False
    """Somebody should be woken: `summary` is for the pager."""

    @property
    def summary(self) -> str:
        """One line."""
        moved = f"{self.before:.4g} -> {self.after:.4g} of the traffic" if self.before != self.after else "share stays"
        return f"migration {self.migration} {self.event.value}: {self.why} ({moved}; {self.who})"


CONTROLLER = "controller"


@dataclass(frozen=True, slots=True)
class Move:
    """What follows from a state and what is known: the next state, and what was decided on the way."""

    state: State
    decisions: tuple[Decision, ...] = ()
    waits: tuple[Wait, ...] = ()
    """Why a running migration does not go on at this moment; for `status`, not to be stored."""

    @property
    def changed(self) -> bool:
        """There is something to write."""
        return bool(self.decisions)


def standing(state: State, waits: tuple[Wait, ...] = ()) -> str:
    """Where a migration stands, in a few words: `shadow`, `holding`, `awaiting approval`, `frozen`, `done`, ..."""
    if state.bypass is not None:
        return "bypassed"
    if state.phase is not Phase.RUNNING:
        return str(state.phase.value)
    if state.paused is not None:
        return "paused"
    kinds = {wait.what for wait in waits}
    if Waiting.HOLD in kinds and state.share == 0.0 and Waiting.STORE not in kinds:
        return "shadow"
    return next((str(what.value) for what in _TOLD if what in kinds), "going on")


_TOLD = (
    Waiting.STORE, Waiting.HOLD, Waiting.EVIDENCE, Waiting.ROOM, Waiting.APPROVAL, Waiting.FROZEN,
)  # fmt: skip
"""What is said of a running migration when several things keep it, the gravest first."""
