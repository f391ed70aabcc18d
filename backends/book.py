"""What is known right now: of every target what is in flight and whether it was cold, of every route its budget.

One entry per replica and one per route, found by name, never scanned. `begin` and `end` write, `views` reads; `choose`
decides from the views and never sees the book.
"""

from __future__ import annotations

from collections.abc import Iterable

from policies.facts import FailureFacts, TargetView
from policies.retries import Budget, earned, spent
from policies.table import Route, Target, VllmSpec


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
        self._budgets: dict[str, Budget] = {}

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

    def arrived(self, route: Route, now: float) -> None:
        """A request of `route` has come: its share is put into the route's budget of repeats."""
        self._budgets[route.key] = earned(self._budgets.get(route.key, Budget(at=now)), route.retry.budget, now)

    def afford(self, route: Route, now: float) -> bool:
        """Take one repeat out of the route's budget; False when there is none left."""
        left = spent(self._budgets.get(route.key, Budget(at=now)), now)
        if left is None:
            return False
        self._budgets[route.key] = left
        return True

    def keep(self, names: Iterable[str], routes: Iterable[str] = ()) -> None:
        """Forget targets that no policy names any more and that nothing is in flight to, and routes that are gone."""
        kept, served = set(names), set(routes)
        self._budgets = {key: budget for key, budget in self._budgets.items() if key in served}
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
