"""Two hundred rollbacks at random moments, with the old target scaled in: no call fails.

A model of everything around the state machine: an old target that has been scaled in to little more than it carries and
comes back in its own time, a capacity that is measured every fifteen seconds, proxies that hear of a share up to ten
seconds late, controllers that are dead for a while, a store that is cut off. The state machine, the overlay and the
choice of targets are the real ones. A call fails when the old target gets more in a second than it can take, since
nobody else may answer it.
"""

from __future__ import annotations

import functools
import math
import random
from collections import deque
from dataclasses import dataclass, field, replace

from policies.choose import first_plan
from policies.migrating import Shift
from policies.migration import step
from policies.migration_state import Command, Phase, Seen, State, Verb
from policies.overlay import laid, overlay
from policies.table import Route, RouteTable, Weighted
from policies.verdicts import Answer

from .moves import NOW, plan, reached, said
from .written import target

PLAN = plan()
OLD, NEW = target("old"), target("new")
TABLE = RouteTable(
    "0" * 12,
    {("x", None): Route("x", None, (Weighted(OLD, 1.0),), rule="endpoints.x.serve_from")},
    {"old": OLD, "new": NEW},
    "d",
    migrations={"x": PLAN},
)
CALLS = 400
"""A second."""
SPARE = 60
"""Calls a second that a target can take beyond its part, so that chance alone overruns nobody: six deviations."""
UNITS = 20
"""Instances that the old target had when it carried everything."""


@dataclass
class OldTarget:
    """It has been scaled in, and is scaled out from the moment somebody asks, or load does, one instance at a time."""

    units: int
    seconds: float
    """That one instance takes to come."""
    begins: float | None = None
    failed: int = 0

    def serve(self, calls: int, now: float) -> None:
        room = CALLS * self.units / UNITS + SPARE
        self.failed += calls > room
        if self.begins is not None and self.units < UNITS and now >= self.begins:
            self.units += 1
            self.begins = now + self.seconds


@dataclass
class Controller:
    """Looks every four seconds while it lives and the store answers."""

    state: State
    chance: random.Random
    rooms: dict[str, float] = field(default_factory=dict)
    asleep: float = 0.0
    measured: float = -1e9

    def look(self, old: OldTarget, commands: list[Command], red: bool, now: float) -> None:
        if now < self.asleep:
            return
        if self.chance.random() < 0.05:  # killed, or cut off from the store; another takes over, later
            self.asleep = now + self.chance.uniform(4, 40)
            return
        if now - self.measured >= 15:
            self.measured, self.rooms = now, {"x": old.units / UNITS}
        bad = said(PLAN, self.state, latency_p95=Answer.RED, errors=Answer.RED) if red else ()
        seen = Seen(self.state.window_id, bad, self.rooms)
        self.state = step(self.state, PLAN, seen, commands, now).state


@functools.cache
def old_side(share: float) -> list[bool]:
    """Which of 400 callers are on the old side, by the real choice of targets."""
    shifts = {"x": Shift("x", "1.1", "old", "new", share)} if share else {}
    route = laid(TABLE, shifts).routes["x", None]
    return [first_plan(route, {}, f"caller-{number}", float).attempts[0].target.name == "old" for number in range(400)]


def in_force(state: State) -> float:
    """The share that proxies hear of."""
    shifts = overlay([PLAN], {"x": state})
    return shifts["x"].share if shifts else 0.0


def rollback(seed: int) -> tuple[OldTarget, State, float]:
    """One rollback: what became of the old target, where the migration ended, and how long that took."""
    chance = random.Random(seed)
    state = replace(reached(PLAN, chance.choice([1, 2, 2, 4])), applied=())
    carried = 1 - state.share
    least = max(1, round(UNITS * carried))
    old = OldTarget(min(UNITS, least + chance.randrange(3)), chance.uniform(5, 30))
    controller = Controller(state, chance)
    told: deque[tuple[float, float]] = deque([(0.0, in_force(state))])
    begins = chance.uniform(10, 60)
    by_breach = chance.random() < 0.5 and state.phase is Phase.RUNNING
    commands = [Command("c", Verb.ROLLBACK, "bad", "ann", NOW + begins)]
    now = 0.0
    while now < 3600:
        asked = now >= begins
        if asked and old.begins is None:
            old.begins = now + chance.uniform(0, 120)  # somebody scales it out, or its load does
        if now % 4 == 0:
            given = commands if asked and not by_breach else []
            controller.look(old, given, red=asked and by_breach, now=NOW + now)
            heard = now + chance.uniform(0, 10)
            told.append((max(heard, told[-1][0]), in_force(controller.state)))
        while len(told) > 1 and told[1][0] <= now:
            told.popleft()
        sides = old_side(told[0][1])
        part = sum(sides) / len(sides)
        old.serve(round(chance.gauss(CALLS * part, math.sqrt(CALLS * part * (1 - part)))), now)
        if controller.state.phase is Phase.ROLLED_BACK and len(told) == 1 and all(sides):
            break
        now += 1.0
    return old, controller.state, now - begins


def test_two_hundred_rollbacks_without_a_failed_call() -> None:
    """From 10 %, 50 % or done, by command or by breach, whatever is dead or late meanwhile; all of them arrive."""
    ended = [rollback(seed) for seed in range(200)]
    assert sum(old.failed for old, _, _ in ended) == 0
    assert {state.phase for _, state, _ in ended} == {Phase.ROLLED_BACK}
    assert max(took for *_, took in ended) < 1800


def test_model_notices_a_rollback_that_does_not_wait() -> None:
    """Sent home at once, as a bypass does it, a scaled-in target is overrun: the model can fail."""
    old = OldTarget(10, 30.0)
    old.serve(CALLS, 0.0)
    assert old.failed == 1
