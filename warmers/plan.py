"""PURE. The plan of a fleet: every model's ways of hosting compared over its own arrivals, and what should move.

A model is a route of the policy. Its ways are the targets that the route names (serve_from, split, fallback), each of
them as its kind can be run: instances as they are; an import always on, pinged at intervals, by a calendar, or let go
cold. Every import is replayed under each of the published idle limits, because which one holds is AWS's to know.

What the plan leaves out: throughput (say with `cost: {copies}` how many copies the traffic needs; all of them are
pinged and billed alike), transfer and tokens of warm-ups, and the price of slower answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from policies.calendar import Calendar, open_spans
from policies.quantities import show_seconds
from policies.table import ImportCost, InstanceCost, Route, Target, Warmup

from .arrivals import Arrivals, Runs, in_runs, repeated
from .economics import (
    DAY,
    Action,
    Choice,
    Demand,
    Outcome,
    Verdict,
    decide,
    dollars,
    instances_usd,
    storage_usd,
    windows_usd,
)
from .prices import Prices
from .residency import Warming, play, reach

IDLE_LIMITS = (300.0, 900.0, 3600.0)
"""Seconds. 5 minutes: AWS blogs; 15: what pings every 14 imply; "normally one hour": AWS knowledge center."""
ALWAYS_ON = 270.0
"""Seconds between the pings that keep a copy loaded under the shortest of them, with half a minute to spare."""
RESTORE = 300.0
"""Seconds until a cold copy is back where the policy does not say: the longest that AWS's samples tell of."""
WEEK = 7 * DAY
MODELS_PER_REGION = 3
"""Imported models in an account and region, by default (Bedrock quotas, L-45B04988; can be raised)."""
A_MINUTE = 232 / 3
"""Requests a minute that a copy was seen to answer: Salesforce published 232 on three of a 13B model, AWS nothing."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the plan is made under."""

    prices: Prices
    demand: Demand
    idle_limit: float
    """Seconds; the one that decides. The other limits are shown beside it."""
    intervals: tuple[float, ...]
    """Ping intervals to compare, in seconds."""
    calendars: tuple[tuple[str, Calendar], ...]
    """Hours to compare, with the text they were read from."""
    calendar_interval: float
    """Seconds between pings in those hours."""
    monday: float
    """Seconds since 1970 at which a trace starts that does not say when."""

    @property
    def limits(self) -> tuple[float, ...]:
        """Every idle limit that is looked at, ascending."""
        return tuple(sorted({*IDLE_LIMITS, self.idle_limit}))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One model."""

    key: str
    requests: float
    """A month."""
    busiest_minute: int
    choices: tuple[Choice, ...]
    today: Choice | None
    verdicts: Mapping[float, Verdict]
    """By idle limit."""
    missing: tuple[str, ...] = ()
    """Targets of it that have no `cost`."""
    shared_with: tuple[str, ...] = ()
    """Other models whose requests today's target serves as well; each is charged an even part."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole fleet under the idle limit that decides."""

    comparisons: tuple[Comparison, ...]
    idle_limit: float
    proxies: float
    """USD a month of the proxies that moving anything needs."""
    today: float
    """USD a month of today's hosting, as far as it can be told."""
    planned: float
    """USD a month of hosting as the plan has it, without the proxies."""
    notes: tuple[str, ...]

    def verdict(self, comparison: Comparison) -> Verdict:
        """What this plan does with one of its models."""
        return comparison.verdicts[self.idle_limit]

    def at_stake(self, comparison: Comparison) -> float:
        """USD a month that this plan moves with a model; of one that stays, what it costs today."""
        verdict, today = self.verdict(comparison), comparison.today
        if verdict.saving or today is None:
            return abs(verdict.saving)
        return today.outcomes[self.idle_limit].usd

    @property
    def moves(self) -> tuple[Comparison, ...]:
        """The models that should move."""
        return tuple(each for each in self.comparisons if self.verdict(each).action is Action.MOVE)

    @property
    def stays(self) -> tuple[Comparison, ...]:
        """The models that should not."""
        return tuple(each for each in self.comparisons if self.verdict(each).action in (Action.STAY, Action.REWARM))

    @property
    def unknown(self) -> tuple[Comparison, ...]:
        """The models that nothing can be said of."""
        return tuple(each for each in self.comparisons if self.verdict(each).action is Action.UNKNOWN)


def make_plan(models: Sequence[tuple[Route, Arrivals]], terms: Terms, proxies: float) -> Plan:
    """Compare every model, then see whether the moves pay for the proxies together.

    Raises ValueError when a price is missing, with the place to add it.
    """
    users = Counter(_today(route).name for route, _ in models)
    compared = [compare(route, arrivals, terms, users[_today(route).name]) for route, arrivals in models]
    served = {route.key: _today(route).name for route, _ in models}
    compared = [replace(each, shared_with=_sharers(each.key, served)) for each in compared]
    compared = _together(compared, terms.idle_limit)
    saved = sum(_saved(each, terms.idle_limit) for each in compared)
    if 0 < saved <= proxies:
        reason = f"all moves together save {dollars(saved)} a month, and the proxies cost {dollars(proxies)}"
        compared = [_kept(each, terms.idle_limit, reason) for each in compared]
    costs = [each.today.outcomes[terms.idle_limit].usd for each in compared if each.today is not None]
    today = sum(costs)
    planned = today - sum(each.verdicts[terms.idle_limit].saving for each in compared)
    notes = tuple(_notes(models, compared, terms))
    return Plan(tuple(compared), terms.idle_limit, proxies, today, planned, notes)


def compare(route: Route, arrivals: Arrivals, terms: Terms, users: int = 1) -> Comparison:
    """One model; `users` models share today's target."""
    weeks = repeated(arrivals, WEEK)
    month = terms.prices.window_days * DAY / weeks.span
    requests = weeks.requests * month
    today_target = _today(route)
    choices: list[Choice] = []
    runs = in_runs(weeks, _reach(route, terms))
    for target in route.targets:
        part = users if target.name == today_target.name else 1
        choices += [_part(each, part) for each in choices_of(target, runs, terms, _warmup(route, target))]
    missing = tuple(target.name for target in route.targets if target.cost is None)
    # The last way of an import is the one it has now: as the policy warms it, or without a warmer.
    today = next((each for each in reversed(choices) if each.target == today_target.name), None)
    verdicts = {limit: _verdict(choices, today, limit, terms.demand, today_target) for limit in terms.limits}
    return Comparison(route.key, requests, arrivals.busiest_minute, tuple(choices), today, verdicts, missing)


def _reach(route: Route, terms: Terms) -> float:
    """Seconds between two requests below which they are one run in every way that is looked at."""
    ways = [way for warmup in (None, *route.warm) for _, way in _ways(DAY, 0.0, terms, warmup)]
    return min(reach(way, limit) for way in ways for limit in terms.limits)


def choices_of(target: Target, runs: Runs, terms: Terms, warmup: Warmup | None = None) -> tuple[Choice, ...]:
    """The ways to run one target; for an import the last is the policy's own, or the one without a warmer.

    `runs` reach no further than any of them allows.
    """
    cost = target.cost
    if cost is None:
        return ()
    if isinstance(cost, InstanceCost):
        return (_on_instances(target, cost, terms),)
    arrivals = runs.arrivals
    start = arrivals.start if arrivals.start is not None else terms.monday
    ways = _ways(arrivals.span, start, terms, warmup)
    return tuple(_of_import((target, cost), how, warming, runs, terms) for how, warming in ways)


def _on_instances(target: Target, cost: InstanceCost, terms: Terms) -> Choice:
    hour = terms.prices.instance_hour(target.region, cost.instance).usd
    usd = instances_usd(hour, terms.prices.instance_hours, cost.count, cost.share)
    sunk = instances_usd(hour, terms.prices.instance_hours, cost.committed, cost.share)
    share = f", {cost.share:.0%} of it" if cost.share < 1 else ""
    how = f"{cost.count} x {cost.instance}{share}"
    return Choice(target.name, how, {limit: Outcome(usd) for limit in terms.limits}, sunk, usd)


def _warmup(route: Route, target: Target) -> Warmup | None:
    return next((each for each in route.warm if each.target.name == target.name), None)


def _ways(span: float, start: float, terms: Terms, warmup: Warmup | None) -> list[tuple[str, Warming | None]]:
    ways: list[tuple[str, Warming | None]] = [("always on", Warming(min(ALWAYS_ON, 0.9 * terms.limits[0])))]
    ways += [(f"every {show_seconds(interval)}", Warming(interval)) for interval in terms.intervals]
    for text, calendar in terms.calendars:
        how = f"every {show_seconds(terms.calendar_interval)}, {text}"
        ways.append((how, Warming(terms.calendar_interval, _on_duty(calendar, start, span))))
    ways.append(("no warmer", None))
    if warmup is not None:
        how = f"every {show_seconds(warmup.every)}, as the policy says"
        ways.append((how, warming_of(warmup, start, span)))
    return ways


def warming_of(warmup: Warmup, start: float, span: float) -> Warming:
    """The pings of a policy over `span` seconds from `start` (seconds since 1970) on."""
    hours = None if warmup.hours is None else _on_duty(warmup.hours, start, span)
    # Jitter makes warm-ups earlier, by half of its share on average.
    return Warming(warmup.every * (1 - warmup.jitter / 2), hours)


def _on_duty(calendar: Calendar, start: float, span: float) -> tuple[tuple[float, float], ...]:
    return tuple((begin - start, end - start) for begin, end in open_spans(calendar, start, start + span))


def _of_import(
    placed: tuple[Target, ImportCost], how: str, warming: Warming | None, runs: Runs, terms: Terms
) -> Choice:
    target, cost = placed
    rate = terms.prices.unit_minute(target.region, cost.version).usd
    kept = storage_usd(cost.units, terms.prices.storage.usd)
    days = runs.arrivals.span / DAY
    month = terms.prices.window_days / days
    outcomes: dict[float, Outcome] = {}
    for limit in terms.limits:
        tally = play(runs, warming, limit, target.restore[1] if target.restore else RESTORE)
        usd = kept + windows_usd(cost.units, rate, tally.windows * month, cost.copies)
        pings = tally.pings * month * cost.copies
        outcomes[limit] = Outcome(usd, tally.cold * month, tally.cold_share, tally.windows / days, pings)
    return Choice(target.name, how, outcomes, fixed=kept)


def _part(choice: Choice, users: int) -> Choice:
    if users == 1:
        return choice
    outcomes = {limit: replace(each, usd=each.usd / users) for limit, each in choice.outcomes.items()}
    return replace(choice, outcomes=outcomes, sunk=choice.sunk / users, fixed=choice.fixed / users)


def _today(route: Route) -> Target:
    return max(route.serve, key=lambda one: one.weight).target


def _verdict(choices: Sequence[Choice], today: Choice | None, limit: float, demand: Demand, target: Target) -> Verdict:
    if today is None:
        return Verdict(Action.UNKNOWN, None, 0.0, f"targets.{target.name} serves it and has no `cost`; add one")
    return decide(choices, today, limit, demand)


def _sharers(key: str, served: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(other for other, target in served.items() if target == served[key] and other != key)


def _saved(comparison: Comparison, limit: float) -> float:
    verdict = comparison.verdicts[limit]
    return verdict.saving if verdict.action is Action.MOVE else 0.0


def _kept(comparison: Comparison, limit: float, reason: str) -> Comparison:
    """The same, but for a move: it stays, for this reason."""
    if comparison.verdicts[limit].action is not Action.MOVE:
        return comparison
    stay = Verdict(Action.STAY, comparison.today, 0.0, reason)
    return replace(comparison, verdicts={**comparison.verdicts, limit: stay})


def _together(compared: Sequence[Comparison], limit: float) -> list[Comparison]:
    """Instances that several models share are given up by all of them or by none."""
    moving = {each.key for each in compared if each.verdicts[limit].action is Action.MOVE}
    kept: list[Comparison] = []
    for each in compared:
        held = [other for other in each.shared_with if other not in moving]
        reason = f"its hosting also serves {', '.join(held)}, which stays, so nothing would be saved"
        kept.append(_kept(each, limit, reason) if held else each)
    return kept


def _notes(models: Sequence[tuple[Route, Arrivals]], compared: Sequence[Comparison], terms: Terms) -> list[str]:
    notes: list[str] = []
    shortest = min((arrivals.span for _, arrivals in models), default=WEEK)
    if shortest < WEEK - 3600:
        notes.append(
            f"the trace covers {_length(shortest)} and is taken to repeat; one of a week has nights and weekends"
        )
    targets = {target.name: target for route, _ in models for target in route.targets}
    guessed: dict[str, list[str]] = {}
    for name, target in targets.items():
        if isinstance(target.cost, InstanceCost):
            price = terms.prices.instance_hour(target.region, target.cost.instance)
            if price.basis != "published":
                said = f"is {price.basis}: {terms.prices.sources[price.source]}"
                guessed.setdefault(f"the price of {target.cost.instance} for {{}} {said}", []).append(name)
    notes += [note.format(_several(names)) for note, names in guessed.items()]
    busy = Counter[str]()
    for each in compared:
        best = each.verdicts[terms.idle_limit].best
        if best is not None and isinstance(targets[best.target].cost, ImportCost):
            busy[targets[best.target].region or ""] += 1
    notes += [
        f"{count} imported models in {region}: more than the default quota of {MODELS_PER_REGION} (L-45B04988)"
        for region, count in busy.items()
        if count > MODELS_PER_REGION
    ]
    return [*notes, *_doubts(compared, targets, terms)]


def _doubts(compared: Sequence[Comparison], targets: Mapping[str, Target], terms: Terms) -> Iterator[str]:
    """Where the trace may not be of the model, or a copy may not be enough for it."""
    silent = [each.key for each in compared if not each.requests]
    if silent:
        yield f"the trace has no request of {_several(silent)}; if its series has another name, say so with --map"
    crowded: list[str] = []
    for each in compared:
        best = each.verdicts[terms.idle_limit].best
        cost = targets[best.target].cost if best is not None else None
        if isinstance(cost, ImportCost) and each.busiest_minute > cost.copies * A_MINUTE:
            crowded.append(each.key)
    if crowded:
        yield (
            f"{_several(crowded)}: more requests in the busiest minute than its copies may answer (Salesforce "
            f"published {A_MINUTE:.0f} a copy); measure with `pointsman bench-candidate`, and give `cost: {{copies}}`"
        )


def _several(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _length(span: float) -> str:
    return f"{span / DAY:.1f} days" if span >= DAY else f"{span / 3600:.1f} hours"
