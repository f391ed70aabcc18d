"""Plain integer counters and mergeable histograms: the request path only adds, exporters read.

One process's event loop owns one `Meters`: no locks. A request costs one look-up of its label set and a few additions.
The number of label sets is bounded whatever clients send: a name outside the policy is counted as `_unknown`, and
beyond `cap` label sets of one family everything lands in `_other`. Values of several workers are added with `merge`,
after `snapshot` and `restore` where a process boundary lies between. Names and meanings: metric_names.py.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import orjson

from . import exposition
from .cold_counts import ColdCounts
from .limit_counts import LimitCounts
from .metric_names import (
    ATTEMPTS,
    BREAKER,
    BUILD,
    CONCURRENT,
    EXTRAS,
    HEDGES,
    HOOK_TIME,
    HOOKS,
    LOOP_HELD,
    METRICS,
    OTHER,
    POLICY,
    RELOADS,
    REQUEST_COUNTERS,
    REQUEST_HISTOGRAMS,
    RESPONSES,
    SHED,
    UNKNOWN,
    WARM_LIMIT,
    WARM_PINGS,
    WORKERS,
)
from .migration_counts import MigrationCounts
from .outcome import AttemptOutcome, Course, Note, Outcome
from .series import CLIENT_GONE, Flight, Histogram, HookKey, Labels, Series
from .shadow_counts import ShadowCounts

BATCH: Final = 32
"""Requests that are counted at once: counted one by one each finds its code and data gone from the caches."""
CAP: Final = 1000
"""Label sets per family. A policy of a hundred endpoints with three targets each needs about a third of it."""

_hook_time = functools.partial(Histogram, HOOK_TIME.bounds)
_loop_held = functools.partial(Histogram, LOOP_HELD.bounds)

T = TypeVar("T")


class Meters:
    """All counts of one process, or of several after `merge`."""

    def __init__(self, version: str = "unknown", cap: int = CAP) -> None:
        self._version = version
        self._cap = cap
        self._uncounted: list[Outcome | Note] = []
        self._hooked: list[tuple[HookKey, float]] = []
        self.hooked: Final = self._hooked.append
        """As `hook`, with the first words made once for many; for hooks of requests that `record` is told of."""
        self._series: dict[Labels, Series] = {}
        self._responses: dict[Labels, int] = {}
        self._attempts: dict[Labels, int] = {}
        self._hooks: dict[Labels, int] = {}
        self._hook_times: dict[Labels, Histogram] = {}
        self._loop_held: dict[Labels, Histogram] = {}
        self._in_flight: dict[str, Flight] = {}
        self._reloads = {"ok": 0, "refused": 0}
        self._policy: tuple[str, int] | None = None
        self._breakers: dict[Labels, int] = {}
        self._warm_pings: dict[Labels, int] = {}
        self._warm_limits: dict[Labels, float] = {}
        self._shed: dict[Labels, int] = {}
        self._hedges: dict[Labels, int] = {}
        self._workers: dict[str, dict[Labels, float]] = {}
        self.kept: dict[str, float] = {}
        """Counts that others keep and want to cross a process boundary with these, by names of their own."""
        self.cold = ColdCounts(cap)
        """What is counted of cold targets."""
        self.limits = LimitCounts(cap)
        self.shadow = ShadowCounts(cap)
        self.migrations = MigrationCounts(cap)
        """What is counted of copies for the new target of a migration."""

    def record(self, outcome: Outcome | Note) -> None:
        """Count one request that is over. `outcome.endpoint` is empty when the policy has no such endpoint."""
        self._uncounted.append(outcome)
        if len(self._uncounted) >= BATCH:
            self._count()

    def _count(self) -> None:
        """Count what waits; who reads the counts does so first. What went the usual way is counted by kind."""
        self._count_hooks()
        waiting, self._uncounted = self._uncounted, []
        alike: defaultdict[Course, list[Note]] = defaultdict(list)
        for outcome in waiting:
            if isinstance(outcome, tuple):
                alike[outcome[0]].append(outcome)
            else:
                self._record(outcome)
        for course, notes in alike.items():
            endpoint, component, count = course.endpoint, course.component or "", len(notes)
            self._of(self._series, (endpoint, component, course.target, course.kind), Series).answered(notes)
            self._add(self._responses, (endpoint, component, "200", "", "done"), count)
            self._add(self._attempts, (course.target, course.kind, "answered"), count)

    def _count_hooks(self) -> None:
        alike: defaultdict[HookKey, list[float]] = defaultdict(list)
        for key, seconds in self._hooked:
            alike[key].append(seconds)
        self._hooked.clear()
        for (handler, step, result, held), times in alike.items():
            if step:
                self._add(self._hooks, (handler, step, result), len(times))
                self._of(self._hook_times, (handler, step), _hook_time).observe_all(times)
            if held:
                self._of(self._loop_held, (handler,), _loop_held).observe_all(times)

    def _record(self, outcome: Outcome) -> None:
        endpoint = outcome.endpoint or UNKNOWN
        # Where the policy has no such endpoint the component is a word of the client's, and makes no label either.
        component = (outcome.component or "") if outcome.endpoint else ""
        attempts = outcome.attempts
        target, kind = (attempts[-1].target, attempts[-1].kind) if attempts else ("", "")
        self._of(self._series, (endpoint, component, target, kind), Series).record(outcome)
        key = (endpoint, component, str(outcome.status), outcome.error_type or "", outcome.ended)
        self._add(self._responses, key, 1)
        if outcome.cold is not None:
            self.cold.request(f"{endpoint}/{component}" if component else endpoint, outcome.cold)
        for attempt in attempts:
            given_up = attempt is attempts[-1] and outcome.ended == CLIENT_GONE
            self._add(self._attempts, (attempt.target, attempt.kind, result_of(attempt, given_up)), 1)

    def flight(self, key: str) -> Flight:
        """Where requests of the route `key` count themselves in and out; the same at every call."""
        flight = self._in_flight.get(key)
        if flight is None:
            key = key if len(self._in_flight) < self._cap else OTHER
            flight = self._in_flight.setdefault(key, Flight())
        return flight

    def hook(self, handler: str, step: str, result: str, seconds: float, *, held: bool = False) -> None:
        """A hook of a customer's handler is over; `held`: it held the event loop all the time."""
        self._hooked.append(((handler, step, result, held), seconds))
        if len(self._hooked) >= BATCH:
            self._count()

    def held(self, handler: str, seconds: float) -> None:
        """A hook held the event loop for so long at a stretch."""
        self._hooked.append(((handler, "", "", True), seconds))

    def reload(self, ok: bool) -> None:
        """A changed policy was put in force, or refused while the old one stays."""
        self._reloads["ok" if ok else "refused"] += 1

    def policy(self, digest: str, generation: int) -> None:
        """The policy in force, first load included."""
        self._policy = (digest, generation)

    def shed(self, key: str, reason: str) -> None:
        """A request of the route `key` was turned away: `target` or `owner` had enough."""
        self._add(self._shed, (key, reason), 1)

    def hedge(self, key: str, result: str) -> None:
        """A request of the route `key` would have been hedged; HEDGES has the results."""
        self._add(self._hedges, (key, result), 1)

    def warm_ping(self, target: str, met: str) -> None:
        """A warm-up is over: it met the target `warm`, `cold`, or it `failed`."""
        self._add(self._warm_pings, (target, met), 1)

    def warm_limit(self, target: str, bound: str, seconds: float) -> None:
        """What warm-ups have shown of a target's idle limit; `bound` is `at_least` or `at_most`."""
        if len(self._warm_limits) < self._cap or (target, bound) in self._warm_limits:
            self._warm_limits[target, bound] = seconds

    def breakers(self, states: Iterable[tuple[str, int, int]]) -> None:
        """What every breaker is now, by target and replica: 0 closed, 1 half open, 2 open."""
        self._breakers = {}
        for target, replica, state in states:
            self._worst((target, str(replica)), int(state))

    def worker(self, number: int, values: Mapping[str, float]) -> None:
        """What is known of one worker process, by the keys of WORKERS; in no snapshot, since its owner exports it."""
        for key, value in values.items():
            self._workers.setdefault(key, {})[(str(number),)] = value

    def settle(self) -> None:
        """Forget what a process has now: it is gone, and only what it has counted remains."""
        self._in_flight, self._breakers, self._policy = {}, {}, None
        self.cold.settle()
        self.limits.settle()
        self.migrations.settle()

    def merge(self, other: Meters) -> None:
        """Add the counts of another process. The newest policy generation wins."""
        self._count()
        other._count()
        for labels, series in other._series.items():
            self._of(self._series, labels, Series).merge(series)
        counts = (
            (self._responses, other._responses),
            (self._attempts, other._attempts),
            (self._hooks, other._hooks),
            (self._shed, other._shed),
            (self._hedges, other._hedges),
            (self._warm_pings, other._warm_pings),
        )
        for mine, theirs in counts:
            for labels, count in theirs.items():
                self._add(mine, labels, count)
        for own, others in ((self._hook_times, other._hook_times), (self._loop_held, other._loop_held)):
            for labels, histogram in others.items():
                self._of(own, labels, functools.partial(Histogram, histogram.bounds)).merge(histogram)
        self._merge_limits(other)
        self.cold.merge(other.cold)
        self.limits.merge(other.limits)
        self.shadow.merge(other.shadow)
        self.migrations.merge(other.migrations)
        for key, flight in other._in_flight.items():
            self.flight(key).count += flight.count
        for labels, state in other._breakers.items():
            self._worst(labels, state)
        for result, count in other._reloads.items():
            self._reloads[result] += count
        if other._policy and (self._policy is None or other._policy[1] > self._policy[1]):
            self._policy = other._policy

    def _merge_limits(self, other: Meters) -> None:
        for (target, bound), seconds in other._warm_limits.items():
            closer = max if bound == "at_least" else min
            self.warm_limit(target, bound, closer(seconds, self._warm_limits.get((target, bound), seconds)))

    def snapshot(self) -> bytes:
        """All counts as JSON, to cross a process boundary; `restore` reads it back."""
        self._count()
        return orjson.dumps(
            {
                "version": self._version,
                "series": [[labels, series.dump()] for labels, series in self._series.items()],
                "responses": list(self._responses.items()),
                "attempts": list(self._attempts.items()),
                "hooks": list(self._hooks.items()),
                "hook_seconds": _dump(self._hook_times),
                "held_seconds": _dump(self._loop_held),
                **dict.fromkeys(("hook_times", "loop_held"), ()),  # where the first releases look for fewer buckets
                "in_flight": {key: flight.count for key, flight in self._in_flight.items()},
                "shed": list(self._shed.items()),
                "hedges": list(self._hedges.items()),
                "breakers": list(self._breakers.items()),
                "warm_pings": list(self._warm_pings.items()),
                "warm_limits": list(self._warm_limits.items()),
                "cold": self.cold.dump(),
                "limits": self.limits.dump(),
                "shadow": self.shadow.dump(),
                "migrations": self.migrations.dump(),
                "reloads": self._reloads,
                "policy": self._policy,
                "kept": self.kept,
            }
        )

    @classmethod
    def restore(cls, snapshot: bytes) -> Meters:
        """The meters of another process running the same version of this code.

        Raises:
            ValueError: this is no snapshot of such a process.
        """
        try:
            data = orjson.loads(snapshot)
            meters = cls(data["version"])
            meters._series = {tuple(labels): Series.load(values) for labels, values in data["series"]}
            meters._responses = {tuple(labels): int(count) for labels, count in data["responses"]}
            meters._attempts = {tuple(labels): int(count) for labels, count in data["attempts"]}
            meters._hooks = {tuple(labels): int(count) for labels, count in data["hooks"]}
            meters._hook_times = _load(data.get("hook_seconds", ()), HOOK_TIME.bounds)
            meters._loop_held = _load(data.get("held_seconds", ()), LOOP_HELD.bounds)
            meters._in_flight = {key: Flight(int(count)) for key, count in data["in_flight"].items()}
            meters._shed = {tuple(labels): int(count) for labels, count in data["shed"]}
            meters._hedges = {tuple(labels): int(count) for labels, count in data["hedges"]}
            meters._warm_pings = {tuple(labels): int(count) for labels, count in data["warm_pings"]}
            meters._warm_limits = {tuple(labels): float(seconds) for labels, seconds in data["warm_limits"]}
            meters.cold = ColdCounts.load(data["cold"], meters._cap)
            meters.limits = LimitCounts.load(data.get("limits"), meters._cap)
            meters.shadow = ShadowCounts.load(data["shadow"], meters._cap)
            meters.migrations = MigrationCounts.load(data["migrations"], meters._cap)
            meters._breakers = {tuple(labels): int(state) for labels, state in data["breakers"]}
            meters._reloads = {result: int(data["reloads"][result]) for result in ("ok", "refused")}
            meters._policy = (str(data["policy"][0]), int(data["policy"][1])) if data["policy"] else None
            meters.kept = {name: float(count) for name, count in data.get("kept", {}).items()}
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            message = "not a snapshot of these meters; do all workers run the same version?"
            raise ValueError(message) from error
        return meters

    def render(self, extra: Mapping[str, float]) -> str:
        """Everything in Prometheus' text format 0.0.4, durations in seconds.

        `extra` are gauges and counters that others keep, by metric name (EXTRAS has the known ones).

        Raises:
            ValueError: a name in `extra` is no metric name.
        """
        self._count()
        blocks = [
            exposition.scalars(metric, [(labels, getattr(series, field)) for labels, series in self._series.items()])
            for field, metric in REQUEST_COUNTERS.items()
        ]
        blocks += [
            exposition.histograms(metric, [(labels, getattr(series, field)) for labels, series in self._series.items()])
            for field, metric in REQUEST_HISTOGRAMS.items()
        ]
        blocks += [
            exposition.scalars(RESPONSES, self._responses.items()),
            exposition.scalars(ATTEMPTS, self._attempts.items()),
            exposition.scalars(CONCURRENT, [((key,), flight.count) for key, flight in self._in_flight.items()]),
            exposition.scalars(RELOADS, [((result,), count) for result, count in self._reloads.items()]),
            exposition.scalars(POLICY, [((self._policy[0], str(self._policy[1])), 1)] if self._policy else []),
            exposition.scalars(HOOKS, self._hooks.items()),
            exposition.histograms(HOOK_TIME, self._hook_times.items()),
            exposition.histograms(LOOP_HELD, self._loop_held.items()),
            exposition.scalars(BREAKER, self._breakers.items()),
            exposition.scalars(SHED, self._shed.items()),
            exposition.scalars(HEDGES, self._hedges.items()),
            *self.limits.render(),
            exposition.scalars(WARM_PINGS, self._warm_pings.items()),
            exposition.scalars(WARM_LIMIT, self._warm_limits.items()),
            *self.cold.render(),
            *self.shadow.render(),
            *self.migrations.render(),
            *(exposition.scalars(metric, self._workers.get(key, {}).items()) for key, metric in WORKERS.items()),
            exposition.scalars(BUILD, [((self._version,), 1)]),
            exposition.extras(EXTRAS, extra, taken=frozenset(metric.name for metric in METRICS) - _EXTRA_NAMES),
        ]
        return "".join(blocks)

    def _worst(self, labels: Labels, state: int) -> None:
        if labels not in self._breakers and len(self._breakers) >= self._cap:
            labels = (OTHER,) * len(labels)
        self._breakers[labels] = max(state, self._breakers.get(labels, 0))

    def _of(self, family: dict[Labels, T], labels: Labels, new: Callable[[], T]) -> T:
        found = family.get(labels)
        if found is not None:
            return found
        if len(family) >= self._cap:
            labels = (OTHER,) * len(labels)
            if labels in family:
                return family[labels]
        return family.setdefault(labels, new())

    def _add(self, family: dict[Labels, int], labels: Labels, count: int) -> None:
        known = family.get(labels)
        if known is None and len(family) >= self._cap:
            labels = (OTHER,) * len(labels)
            known = family.get(labels)
        family[labels] = count if known is None else known + count


def _dump(family: Mapping[Labels, Histogram]) -> list[object]:
    return [[labels, histogram.sum, histogram.counts] for labels, histogram in family.items()]


def _load(rows: Iterable[Any], bounds: tuple[float, ...]) -> dict[Labels, Histogram]:
    family: dict[Labels, Histogram] = {}
    for labels, total, counts in rows:
        histogram = Histogram(bounds)
        if len(counts) == len(histogram.counts):  # a release that had other buckets begins anew
            histogram.sum, histogram.counts = float(total), [int(count) for count in counts]
            family[tuple(labels)] = histogram
    return family


_EXTRA_NAMES = frozenset(metric.name for metric in EXTRAS)


def result_of(attempt: AttemptOutcome, given_up: bool) -> str:
    """How an attempt ended, in one word: `answered`, `cold`, `throttled`, `timed_out`, `failed` or `given_up`.

    `given_up`: the client left while this attempt was the current one; it counts when nothing else is known.
    """
    if attempt.failure is None:
        return "answered"
    if attempt.cold:
        return "cold"
    if attempt.throttled:
        return "throttled"
    if attempt.timed_out:
        return "timed_out"
    return "given_up" if given_up or attempt.given_up else "failed"
