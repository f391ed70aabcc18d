"""What a rehearsal showed, counted as it happens: by model, by target and over time."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backends.outcome import SHADOW, WARM, Outcome

SLICES = 96
"""Parts that the whole time is cut into for pictures: quarters of an hour of a day."""


def quantile(ordered: Sequence[float], part: float) -> float | None:
    """The value that at least `part` of them do not exceed; None where there are none."""
    return ordered[min(len(ordered) - 1, max(0, -int(-part * len(ordered) // 1) - 1))] if ordered else None


@dataclass(slots=True)
class Model:
    """One route's requests. Seconds are virtual, from a request's head to its last byte."""

    requests: int = 0
    cold: int = 0
    """Requests that met a cold target, whatever became of them."""
    spilled: int = 0
    held: int = 0
    failed_cold: int = 0
    """Refused for cold, by the policy."""
    statuses: Counter[int] = field(default_factory=Counter)
    answered_by: Counter[str] = field(default_factory=Counter)
    seconds: array[float] = field(default_factory=lambda: array("d"))
    """Of requests that were answered with 200."""
    first: array[float] = field(default_factory=lambda: array("d"))
    """Of streams: to the first piece of the answer."""
    slices: list[array[float]] = field(default_factory=lambda: [array("d") for _ in range(SLICES)])
    shares: list[Counter[str]] = field(default_factory=lambda: [Counter() for _ in range(SLICES)])

    @property
    def failed(self) -> int:
        """Requests with another answer than 200."""
        return self.requests - self.statuses[200]


@dataclass(slots=True)
class Warmed:
    """Warm-ups and restore probes of one target."""

    sent: int = 0
    met_cold: int = 0
    failed: int = 0


class Tally:
    """`replay.Audience` that counts; `span` is how long the rehearsal lasts, in seconds."""

    def __init__(self, span: float) -> None:
        self.span = span
        self.models: dict[str, Model] = {}
        self.warmed: dict[str, Warmed] = {}
        self.copies: Counter[str] = Counter()
        """Copies of requests for the new targets of migrations, by target."""
        self.states: dict[str, list[tuple[float, str]]] = {}
        """By stand-in: since when it was what; only changes."""
        self.requests = 0
        self.now = 0.0

    def told(self, outcome: Outcome, now: float) -> None:
        """See `Audience.told`."""
        self.now = max(self.now, now)
        if outcome.operation == WARM:
            self._warm(outcome)
        elif outcome.operation == SHADOW:
            self.copies[outcome.target or ""] += 1
        else:
            self._request(outcome, now)

    def looked(self, states: Mapping[str, str], now: float) -> None:
        """See `Audience.looked`."""
        self.now = max(self.now, now)
        for name, state in states.items():
            seen = self.states.setdefault(name, [])
            if not seen or seen[-1][1] != state:
                seen.append((now, state))

    def _warm(self, outcome: Outcome) -> None:
        warmed = self.warmed.setdefault(outcome.target or "", Warmed())
        warmed.sent += 1
        warmed.met_cold += any(each.cold for each in outcome.attempts)
        warmed.failed += outcome.status != 200

    def _request(self, outcome: Outcome, now: float) -> None:
        key = outcome.endpoint if outcome.component is None else f"{outcome.endpoint}/{outcome.component}"
        model = self.models.setdefault(key, Model())
        self.requests += 1
        model.requests += 1
        model.statuses[outcome.status] += 1
        model.spilled += outcome.cold == "spill"
        model.held += outcome.cold == "hold"
        model.failed_cold += outcome.cold == "fail"
        model.cold += outcome.cold is not None or any(each.cold for each in outcome.attempts)
        if outcome.status != 200:
            return
        place = min(SLICES - 1, int(max(0.0, now - outcome.seconds) / self.span * SLICES))
        model.answered_by[outcome.target or ""] += 1
        model.shares[place][outcome.target or ""] += 1
        model.seconds.append(outcome.seconds)
        model.slices[place].append(outcome.seconds)
        if outcome.first_chunk_seconds is not None:
            model.first.append(outcome.first_chunk_seconds)
