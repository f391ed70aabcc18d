"""What is known of every target right now: requests in flight and whether it was cold when last tried.

One entry per replica, found by name, never scanned. `begin` and `end` write, `views` reads; `choose` decides from the
views and never sees the book.
"""

from __future__ import annotations

from collections.abc import Iterable

from policies.facts import FailureFacts, TargetView
from policies.table import Target, VllmSpec


class _Replica:
    __slots__ = ("cold", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self.cold = False


def replicas(target: Target) -> int:
    """How many interchangeable copies of `target` we address ourselves."""
    return len(target.spec.urls) if isinstance(target.spec, VllmSpec) else 1


class Book:
    """Live state of all targets of one process."""

    def __init__(self) -> None:
        self._replicas: dict[str, list[_Replica]] = {}

    def begin(self, target: Target, replica: int) -> None:
        """A request is about to be sent."""
        self._of(target)[replica].in_flight += 1

    def end(self, target: Target, replica: int, failure: FailureFacts | None) -> None:
        """The request that `begin` announced is over: its stream ended, or it failed with `failure`."""
        entry = self._of(target)[replica]
        entry.in_flight -= 1
        entry.cold = failure is not None and failure.cold

    def views(self, targets: Iterable[Target]) -> dict[str, tuple[TargetView, ...]]:
        """One view per replica of each target, by the target's name."""
        return {
            target.name: tuple(TargetView(entry.in_flight, entry.cold) for entry in self._of(target))
            for target in targets
        }

    def keep(self, names: Iterable[str]) -> None:
        """Forget targets that no policy names any more and that nothing is in flight to."""
        kept = set(names)
        for name in [name for name in self._replicas if name not in kept]:
            if all(entry.in_flight == 0 for entry in self._replicas[name]):
                del self._replicas[name]

    def _of(self, target: Target) -> list[_Replica]:
        entries = self._replicas.get(target.name)
        wanted = replicas(target)
        if entries is None:
            entries = self._replicas[target.name] = [_Replica() for _ in range(wanted)]
        elif len(entries) < wanted:
            entries.extend(_Replica() for _ in range(wanted - len(entries)))
        return entries[:wanted] if len(entries) > wanted else entries
