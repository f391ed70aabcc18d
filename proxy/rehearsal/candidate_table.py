"""PURE. The candidate's table: what was measured of a route's target and of its candidate, side by side, with cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NO_ANSWER = "no answer"
PUBLISHED: Mapping[int, tuple[float, float]] = {1: (7.2, 11), 4: (7.96, 41), 16: (9.35, 133), 32: (10.44, 232)}
"""Concurrency: P95 in seconds and requests a minute of ApexGuru (QWEN-2.5 13B) on an import, from one to three copies
of 1 custom model unit, as Salesforce published them (AWS Machine Learning blog; ZenML's LLMOps database)."""


FEW = 20
"""Answers of which the 95th percentile is nothing but the longest."""


@dataclass(frozen=True, slots=True)
class Row:
    """One target under one number of clients."""

    concurrency: int
    p95: float | None
    """Seconds; None when nothing was answered."""
    per_minute: float
    failures: Mapping[str, int]
    """How many calls failed, by status or `NO_ANSWER`."""
    copies: int | None
    """Copies at the end; None where nobody can say."""
    served: Mapping[str, int] = field(default_factory=dict)
    """Answers by the target that the proxy named."""
    seconds: float = 0.0
    """How long it was counted."""
    whole: bool = True
    """False: it was stopped before its time."""
    before: Mapping[str, int] = field(default_factory=dict)
    """What came of calls that were over before counting began, by status or `NO_ANSWER`."""


@dataclass(frozen=True, slots=True)
class Hourly:
    """What a target costs an hour."""

    usd: float
    copies: int | None = None
    """None: `usd` is for all there is. Else `usd` is for one copy, and so many are assumed where none was counted."""


@dataclass(frozen=True, slots=True)
class Sided:
    """One side of the table."""

    target: str
    rows: list[Row]
    hourly: Hourly | None
    """None: the policy or the prices do not say."""


def per_thousand(row: Row, hourly: Hourly | None) -> float | None:
    """USD for 1,000 answers at this rate; None where that is not known."""
    if hourly is None or not row.per_minute:
        return None
    copies = 1 if hourly.copies is None else row.copies if row.copies is not None else hourly.copies
    return hourly.usd * copies / row.per_minute / 60 * 1000


def table(sides: Sequence[Sided], *, published: bool) -> list[tuple[str, ...]]:
    """Rows of text, heading first; the second side is the one that was published."""
    head = ["target", "concurrency", "P95", "requests/min", "copies", "failed", "USD/1000 requests"]
    rows = [tuple(head + (["published P95", "published/min", "P95 off", "rate off"] if published else []))]
    for number, side in enumerate(sides):
        for row in side.rows:
            usd = per_thousand(row, side.hourly)
            cells = [
                side.target,
                f"{row.concurrency}",
                "-" if row.p95 is None else f"{row.p95:.2f}s",
                f"{row.per_minute:.0f}",
                "-" if row.copies is None else f"{row.copies}",
                f"{sum(row.failures.values())}",
                "-" if usd is None else f"{usd:.2f}",
            ]
            if published:
                known = PUBLISHED.get(row.concurrency) if number == 1 else None
                off = _off(row) if known is not None else None
                cells += ["-"] * 4 if off is None or known is None else [f"{known[0]:.2f}s", f"{known[1]:.0f}"]
                cells += [] if off is None else [f"{one:+.0%}" for one in off]
            rows.append(tuple(cells))
    return rows


def compared(sides: Sequence[Sided]) -> Iterator[str]:
    """Sentences: how far the candidate is from today's target, in P95 and in cost, at each concurrency."""
    if len(sides) < 2:
        return
    today, candidate = sides
    for before, after in _pairs(today, candidate):
        said = []
        if before.p95 and after.p95:
            said.append(f"the P95 of {candidate.target} is {_apart(after.p95 / before.p95)} that of {today.target}")
        costs = per_thousand(before, today.hourly), per_thousand(after, candidate.hourly)
        if costs[0] and costs[1] is not None:
            part = costs[1] / costs[0]
            said.append(f"a request costs {abs(1 - part):.0%} {'less' if part <= 1 else 'more'}")
        if said:
            yield f"at concurrency {before.concurrency} {', and '.join(said)}"


def notes(sides: Sequence[Sided]) -> Iterator[str]:
    """What somebody who reads the table has to know beside it."""
    for side in sides:
        if side.hourly is not None and side.hourly.copies is not None and any(row.copies is None for row in side.rows):
            copies = f"{side.hourly.copies} {'copy' if side.hourly.copies == 1 else 'copies'}"
            yield f"{side.target}: its cost is that of {copies}, as the policy has it; nobody tells how many there were"
        for row in side.rows:
            answers = sum(row.served.values())
            if 0 < answers < FEW:
                yield f"{side.target} at {row.concurrency}: its P95 is of {answers} answers only; give it more time"
            if not row.whole:
                yield f"{side.target} at {row.concurrency}: stopped when {row.seconds:.0f} s had been counted"
            others = sum(count for name, count in row.served.items() if name not in ("", side.target))
            if others:
                yield f"{side.target} at {row.concurrency}: {others / answers:.0%} of the answers are another target's"


def as_json(route: str, how: str, sides: Sequence[Sided], *, published: bool) -> dict[str, Any]:
    """The same for a program. `how`: what was measured."""
    return {
        "route": route,
        "measured": how,
        "rows": [
            _row_json(side, row, published and number == 1) for number, side in enumerate(sides) for row in side.rows
        ],
        "compared": [_pair_json(sides, *pair) for pair in _pairs(*sides)] if len(sides) == 2 else [],
        "notes": list(notes(sides)),
    }


def _row_json(side: Sided, row: Row, published: bool) -> dict[str, Any]:
    beside: dict[str, Any] = {}
    off = _off(row) if published else None
    if off is not None:
        p95, rate = PUBLISHED[row.concurrency]
        beside = {"published": {"p95": p95, "requests_per_minute": rate}}
        beside["published"] |= {"p95_off": round(off[0], 4), "rate_off": round(off[1], 4)}
    return {
        "target": side.target,
        "concurrency": row.concurrency,
        "seconds": round(row.seconds, 3),
        "whole": row.whole,
        "answers": sum(row.served.values()),
        "p95": _rounded(row.p95),
        "requests_per_minute": round(row.per_minute, 3),
        "copies": row.copies,
        "failures": dict(row.failures),
        "answered_by": {name: count for name, count in sorted(row.served.items()) if name},
        "usd_per_1000_requests": _rounded(per_thousand(row, side.hourly)),
    } | beside


def _pair_json(sides: Sequence[Sided], before: Row, after: Row) -> dict[str, Any]:
    costs = per_thousand(before, sides[0].hourly), per_thousand(after, sides[1].hourly)
    return {
        "concurrency": before.concurrency,
        "p95_change": _rounded(after.p95 / before.p95 - 1 if before.p95 and after.p95 else None),
        "cost_saved": _rounded(1 - costs[1] / costs[0] if costs[0] and costs[1] is not None else None),
    }


def _pairs(today: Sided, candidate: Sided) -> list[tuple[Row, Row]]:
    new = {row.concurrency: row for row in candidate.rows}
    return [(row, new[row.concurrency]) for row in today.rows if row.concurrency in new]


def _off(row: Row) -> tuple[float, float] | None:
    known = PUBLISHED.get(row.concurrency)
    return None if known is None or row.p95 is None else (row.p95 / known[0] - 1, row.per_minute / known[1] - 1)


def _apart(part: float) -> str:
    return f"{abs(part - 1):.0%} {'below' if part < 1 else 'above'}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
