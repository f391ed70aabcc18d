"""What this process sees of migrating routes: counts by window and side, handed to the shared state now and then.

A request whose route does not migrate never comes here. One that does costs a dictionary look-up and a few additions.
It is counted for the window that was in force when its target was chosen, and for the side that it was meant for,
whoever answered it in the end: neither a fallback nor a breaker must hide what the side did.

What was counted since the last hand-over is lost with a process that is killed: seconds of one worker's requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from backends.outcome import Outcome
from policies.evidence import SLOT, SLOTS_KEPT, Evidence, Side, bucket_of
from policies.migrating import Shift

from .ledger import together

CLIENT_GONE = "client_gone"
BROKEN = frozenset({"upstream_broken", "deadline", "failed"})
"""How a request ends that its target began to answer and did not finish."""


@dataclass(slots=True)
class _Side:
    requests: int = 0
    errors: int = 0
    cold: int = 0
    latency: Counter[int] = field(default_factory=Counter)
    first_byte: Counter[int] = field(default_factory=Counter)

    def add(self, seconds: float, first_byte: float | None, *, error: bool, cold: bool) -> None:
        self.requests += 1
        self.errors += error
        self.cold += cold
        self.latency[bucket_of(seconds)] += 1
        if first_byte is not None:
            self.first_byte[bucket_of(first_byte)] += 1

    def frozen(self) -> Side:
        return Side(self.requests, self.errors, self.cold, dict(self.latency), dict(self.first_byte))


@dataclass(slots=True)
class _Tally:
    old: _Side = field(default_factory=_Side)
    new: _Side = field(default_factory=_Side)
    beside: Evidence = field(default_factory=Evidence)
    changed: bool = True
    asked: bool = False
    """By a client, since it was looked at last."""


class Witness:
    """The counts of one process."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], dict[str, _Tally]] = {}
        self._busy: dict[str, set[int]] = {}
        """By route the slots of time in which clients asked for it: they outlast a window, which may be minutes."""

    def saw(self, route: str, shift: Shift, outcome: Outcome) -> None:
        """A client's request of a migrating route is over."""
        first = outcome.attempts[0] if outcome.attempts else None
        meant = outcome.side or (first.target if first is not None else "")
        tally = self._tally(route, shift.migration, shift.window)
        side = {shift.old: tally.old, shift.new: tally.new}.get(meant)
        if side is None or (first is None and outcome.cold is None):
            return  # it was meant for neither side, or turned away by us before anyone was asked
        tally.asked = True
        rescued = outcome.status < 400
        cold = outcome.cold is not None or (first is not None and first.cold)
        if first is None or first.target != meant:
            # Its side was left out: a cold one costs the client nothing where another answered, an ejected one failed.
            side.add(outcome.seconds, None, error=not (cold and rescued), cold=cold)
            return
        alone = len(outcome.attempts) == 1
        left = outcome.ended == CLIENT_GONE and alone
        unanswered = first.failure is not None and not (first.cold and rescued)
        failed = not left and (unanswered or (alone and outcome.ended in BROKEN))
        begun = outcome.first_chunk_seconds if outcome.first_chunk_seconds is not None else outcome.backend_seconds
        answered = first.failure is None and not left
        side.add(outcome.seconds, begun if answered else None, error=failed, cold=cold)

    def add(self, route: str, migration: str, window: str, evidence: Evidence) -> None:
        """What was seen of a route beside its requests: copies, comparisons, costs."""
        tally = self._tally(route, migration, window)
        tally.beside = together(tally.beside, evidence)

    def changed(self, now: float) -> Mapping[tuple[str, str], Mapping[str, Evidence]]:
        """By migration and window what each route has seen, where that has changed since the last time.

        `now` is in seconds since 1970.
        """
        found: dict[tuple[str, str], dict[str, Evidence]] = {}
        for tallies in self._tallies.values():
            self._note(tallies, int(now / SLOT))
        for window, tallies in list(self._tallies.items()):
            new = {
                route: _evidence(tally, now, self._busy.get(route, ()))
                for route, tally in tallies.items()
                if tally.changed
            }
            for tally in tallies.values():
                tally.changed = False
            if new:
                found[window] = new
        return found

    def _note(self, tallies: Mapping[str, _Tally], slot: int) -> None:
        """Write down which of these routes have been asked for since the last time."""
        for route, tally in tallies.items():
            if tally.asked:
                tally.asked = False
                slots = self._busy.setdefault(route, set())
                if slot not in slots:
                    slots.add(slot)
                    slots -= {one for one in slots if one <= slot - SLOTS_KEPT}

    def keep(self, windows: frozenset[tuple[str, str]]) -> None:
        """Forget what belongs to none of these windows and has been handed over."""
        for window, tallies in list(self._tallies.items()):
            if window not in windows and not any(tally.changed for tally in tallies.values()):
                del self._tallies[window]

    def unsaid(self, window: tuple[str, str]) -> None:
        """What was taken with `changed` did not get through: it is to be said again."""
        for tally in self._tallies.get(window, {}).values():
            tally.changed = True

    def _tally(self, route: str, migration: str, window: str) -> _Tally:
        tallies = self._tallies.setdefault((migration, window), {})
        tally = tallies.setdefault(route, _Tally())
        tally.changed = True
        return tally


def _evidence(tally: _Tally, now: float, busy: Iterable[int]) -> Evidence:
    return replace(Evidence(tally.old.frozen(), tally.new.frozen()) + tally.beside, at=now, busy=frozenset(busy))
