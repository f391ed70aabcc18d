"""Who called what, how many tokens, and what an import's copies have cost.

An import is billed by copy in windows of five minutes; a window is opened by a copy's first successful call outside
an open window and costs units x price x 5, whole (Bedrock guide and pricing page). Calls that fail open nothing.
Endpoints, components and engines are billed by the instance whether called or not: for them only calls and tokens are
counted.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .config import Price

WINDOW = 300.0
"""Seconds of a billing window."""


@dataclass(slots=True)
class _Copy:
    windows: list[float] = field(default_factory=list)
    calls: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Ledger:
    """One model's account."""

    def __init__(self, prices: Sequence[Price], units: int, *, windows: bool) -> None:
        self._prices = sorted(prices, key=lambda price: price.since)
        self._units = units
        self._windows = windows
        self._copies: dict[str, _Copy] = {}

    def succeeded(self, copy: str, prompt_tokens: int, completion_tokens: int, now: float) -> None:
        """A call ended well on `copy` at `now` (seconds since 1970)."""
        entry = self._copies.setdefault(copy, _Copy())
        entry.calls += 1
        entry.prompt_tokens += prompt_tokens
        entry.completion_tokens += completion_tokens
        if self._windows and (not entry.windows or now >= entry.windows[-1] + WINDOW):
            entry.windows.append(now)

    def failed(self, copy: str) -> None:
        """A call that had reached `copy` ended badly."""
        self._copies.setdefault(copy, _Copy()).failed += 1

    def price_at(self, moment: float) -> float | None:
        """USD per unit and minute in force at `moment`; None before the first dated price."""
        day = datetime.datetime.fromtimestamp(moment, datetime.UTC).date()
        known = [price.usd_per_unit_minute for price in self._prices if price.since <= day]
        return known[-1] if known else None

    def cost(self) -> float | None:
        """USD of all windows opened so far; None when one of them has no dated price."""
        total = 0.0
        for entry in self._copies.values():
            for start in entry.windows:
                price = self.price_at(start)
                if price is None:
                    return None
                total += self._units * price * WINDOW / 60
        return round(total, 9)

    def report(self) -> dict[str, Any]:
        """The account as JSON."""
        copies = {
            name: {
                "calls": entry.calls,
                "failed": entry.failed,
                "prompt_tokens": entry.prompt_tokens,
                "completion_tokens": entry.completion_tokens,
                **({"windows": [_iso(start) for start in entry.windows]} if self._windows else {}),
            }
            for name, entry in self._copies.items()
        }
        found: dict[str, Any] = {
            "calls": sum(entry.calls for entry in self._copies.values()),
            "failed": sum(entry.failed for entry in self._copies.values()),
            "prompt_tokens": sum(entry.prompt_tokens for entry in self._copies.values()),
            "completion_tokens": sum(entry.completion_tokens for entry in self._copies.values()),
            "copies": copies,
        }
        if self._windows:
            windows = sum(len(entry.windows) for entry in self._copies.values())
            found |= {"windows": windows, "units_per_copy": self._units, "cost_usd": self.cost()}
        return found


def _iso(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
