"""PURE. What a hosting costs in a month, and which of several is the cheapest that is warm enough.

Costs are USD before tax and discounts. Imported models are billed by copies x units x rate x 5 minutes x windows. The
Bedrock user guide's worked formula divides by 60 where it should multiply by 5, and so understates the bill 300-fold;
it is not used here. Instances are billed by the hour whether they are called or not; what is committed is paid in any
case and so is no reason to stay or to go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial

from .residency import WINDOW

DAY = 86_400.0


def windows_usd(units: int, usd_per_unit_minute: float, windows: float, copies: int = 1) -> float:
    """USD of that many billing windows for each of `copies` copies of a model of `units` custom model units."""
    return copies * units * usd_per_unit_minute * (WINDOW / 60) * windows


def windows_a_day(interval: float) -> float:
    """Billing windows a day of one otherwise idle copy that is pinged every `interval` seconds; 288 at most."""
    return DAY / max(interval, WINDOW)


def storage_usd(units: int, usd_per_unit_month: float) -> float:
    """USD a month for an imported model to exist, loaded or not, until it is deleted."""
    return units * usd_per_unit_month


def instances_usd(usd_per_hour: float, hours: float, count: int = 1, share: float = 1.0) -> float:
    """USD of `count` instances for that many hours, or of a component's share of them."""
    return usd_per_hour * hours * count * share


@dataclass(frozen=True, slots=True)
class Outcome:
    """A month of one way of hosting, under one idle limit."""

    usd: float
    cold: float = 0.0
    """Requests that meet a cold model."""
    cold_share: float = 0.0
    windows_a_day: float = 0.0
    """Billing windows of each copy; 0 on instances."""
    pings: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """One way of hosting a model: a target, and how it is kept warm."""

    target: str
    how: str
    """In words: `always on`, `every 14m`, a calendar, `no warmer`, or the instances."""
    outcomes: Mapping[float, Outcome]
    """By idle limit in seconds; all the same on instances."""
    sunk: float = 0.0
    """USD a month of it that are paid even when it is given up."""
    fixed: float = 0.0
    """USD a month of it that do not depend on traffic or pings: instances, storage."""

    @property
    def name(self) -> str:
        """Target and way, as a sentence needs them."""
        return f"{self.target} ({self.how})"

    def avoidable(self, idle_limit: float) -> float:
        """USD a month that are not spent when it is given up."""
        return self.outcomes[idle_limit].usd - self.sunk


class Action(Enum):
    """What is best done with a model."""

    MOVE = "move"
    STAY = "stay"
    REWARM = "stay, but warm it differently"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is best done with one model, and why."""

    action: Action
    best: Choice | None
    """The choice it comes to; today's for STAY."""
    saving: float
    """USD a month against today; negative when warmth costs more."""
    reason: str


@dataclass(frozen=True, slots=True)
class Demand:
    """What a choice must fulfil."""

    cold_share: float
    """Largest share of requests that may meet a cold model."""
    least_saving: float = 0.10
    """Share of today's avoidable cost below which moving is not worth the risk."""


def decide(choices: Sequence[Choice], today: Choice, idle_limit: float, demand: Demand) -> Verdict:
    """The cheapest of `choices`, `today` among them, that meets the demand, if it is better than today by enough."""
    warm = [each for each in choices if each.outcomes[idle_limit].cold_share <= demand.cold_share]
    limit = f"{100 * demand.cold_share:.3g}%"
    if not warm:
        return Verdict(Action.STAY, today, 0.0, f"no hosting of it keeps cold requests within {limit}")
    # Between equals today's wins, then the one that needs fewer pings, then the one without a warmer, which comes last.
    key = partial(_dearness, today=today, idle_limit=idle_limit)
    best = min(reversed(warm), key=key)
    paid = today.avoidable(idle_limit)
    saving = paid - best.avoidable(idle_limit)
    if best is today:
        return Verdict(Action.STAY, today, 0.0, _why_stay(warm, choices, today, idle_limit, limit))
    if today not in warm:
        share = today.outcomes[idle_limit].cold_share
        action = Action.REWARM if best.target == today.target else Action.MOVE
        return Verdict(action, best, saving, f"today {share:.1%} of requests meet it cold; this keeps within {limit}")
    if saving < demand.least_saving * paid:
        reason = f"{best.name} saves only {dollars(saving)} a month, less than {demand.least_saving:.0%}"
        return Verdict(Action.STAY, today, 0.0, reason)
    action = Action.REWARM if best.target == today.target else Action.MOVE
    return Verdict(action, best, saving, f"cheapest that keeps cold requests within {limit}")


def _dearness(choice: Choice, today: Choice, idle_limit: float) -> tuple[float, bool, float]:
    return choice.avoidable(idle_limit), choice is not today, choice.outcomes[idle_limit].pings


def _why_stay(warm: Sequence[Choice], choices: Sequence[Choice], today: Choice, idle_limit: float, limit: str) -> str:
    elsewhere = [each for each in warm if each.target != today.target]
    paid = f"; {dollars(today.sunk)} a month are committed" if today.sunk else ""
    if elsewhere:
        next_best = min(reversed(elsewhere), key=partial(_dearness, today=today, idle_limit=idle_limit))
        more = next_best.avoidable(idle_limit) - today.avoidable(idle_limit)
        return f"{next_best.name}, the next that is warm enough, costs {dollars(more)} a month more than staying{paid}"
    if any(each.target != today.target for each in choices):
        return f"nothing else keeps cold requests within {limit}"
    return "the policy names no other hosting for it, with its cost"


def dollars(usd: float) -> str:
    """An amount as people read it: whole dollars, cents below ten."""
    sign, size = ("-" if usd < 0 else ""), abs(usd)
    return f"{sign}${size:,.2f}" if 0 < size < 9.995 else f"{sign}${size:,.0f}"
