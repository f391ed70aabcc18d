"""A migration of three steps and the fleet around it, for tests: a clock that is moved, a store in memory, outcomes."""

from __future__ import annotations

import itertools

from backends.outcome import AttemptOutcome, Outcome
from policies.migrating import Gate, Measure, Member, Migration, Shift, Step
from policies.migration_state import Command, Verb
from policies.table import EndpointSpec, Route, RouteTable, Target, Weighted
from tests.memory import MemoryStore
from warmers.migrations.ledger import Ledger

HOUR = 3600.0
PLAN = Migration(
    "apexguru",
    (Member("apexguru", "gpu", "import", (Gate(Measure.ERRORS, 0.01),)),),
    (Step(share=0.1, hold=HOUR), Step(share=0.5, hold=HOUR), Step(share=1.0)),
)
SHIFT = Shift("apexguru", "1.1", "gpu", "import", 0.1)
_IDS = itertools.count(1)


def table(plan: Migration = PLAN) -> RouteTable:
    """A policy with that migration: one route from `gpu` to `import`."""
    old, new = (Target(name, "endpoint", EndpointSpec(name)) for name in ("gpu", "import"))
    route = Route("apexguru", None, (Weighted(old, 1.0),), fallback=(old,))
    routes: dict[tuple[str, str | None], Route] = {("apexguru", None): route}
    return RouteTable("1", routes, {"gpu": old, "import": new}, "d", migrations={plan.name: plan})


class Clock:
    """Seconds since 1970, moved by the test."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Fleet:
    """One store, one clock."""

    def __init__(self) -> None:
        self.cut = False
        self.store = MemoryStore(lambda: self.cut)
        self.clock = Clock()
        self.ledger = Ledger(self.store)

    def command(self, verb: Verb, until: float | None = None) -> Command:
        return Command(f"c{next(_IDS)}", verb, "because", "ann@laptop", self.clock(), until)


def attempt(target: str, failure: str | None = None, *, cold: bool = False) -> AttemptOutcome:
    return AttemptOutcome(target, "endpoint", 0, 0.2, failure, cold=cold)


def outcome(
    *attempts: AttemptOutcome,
    ended: str = "done",
    seconds: float = 0.25,
    chunk: float | None = None,
    status: int = 200,
    side: str | None = None,
    cold: str | None = None,
) -> Outcome:
    return Outcome(
        request_id="r",
        endpoint="apexguru",
        component=None,
        operation="InvokeEndpoint",
        status=status,
        error_type=None,
        ended=ended,
        started=0.0,
        seconds=seconds,
        backend_seconds=0.2,
        first_chunk_seconds=chunk,
        first_chunk_backend_seconds=None,
        attempts=attempts,
        bytes_in=0,
        bytes_out=0,
        parts_out=0,
        policy="",
        why="",
        side=side,
        cold=cold,
    )
