"""PURE. What a rehearsal showed, as a table for terminals and as JSON. Nothing here depends on how fast it ran."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from policies.quantities import show_seconds
from warmers.economics import dollars

from .costs import Spent
from .replay import Played
from .tally import Model, Tally, quantile


@dataclass(frozen=True, slots=True)
class Story:
    """All that is told of a rehearsal."""

    policy: str
    start: float
    """Seconds since 1970."""
    span: float
    seed: int
    tally: Tally
    played: Played
    spent: tuple[Spent, ...]
    notes: tuple[str, ...]


def report(story: Story) -> str:
    """The story for a terminal."""
    tally = story.tally
    lines = [
        f"{story.policy}: {tally.requests:,} requests of {_moment(story.start)} and {show_seconds(round(story.span))} "
        f"after it, against stand-ins, seed {story.seed}",
        "",
        *columns(_models(tally)),
    ]
    if tally.warmed:
        rows: list[tuple[str, ...]] = [("warmed", "warm-ups", "met cold", "failed")]
        rows += [
            (name, f"{one.sent:,}", f"{one.met_cold:,}", f"{one.failed:,}")
            for name, one in sorted(tally.warmed.items())
        ]
        lines += ["", *columns(rows)]
    costs = [("target", "cost", "for")]
    costs += [(one.target, "-" if one.usd is None else dollars(one.usd), one.basis) for one in story.spent]
    lines += ["", *columns(costs, left=3)]
    known = [one.usd for one in story.spent if one.usd is not None]
    if known:
        lines.append(
            f"together {dollars(sum(known))}, that is {dollars(sum(known) / story.span * 30 * 86_400)} a month"
        )
    for name, history in sorted(story.played.histories.items()):
        lines += ["", f"migration {name}:"]
        lines += [f"  {_moment(each['at'])}  {each['summary']}" for each in history] or ["  nothing was decided"]
        lines += [f"  at the end: {'; '.join(end)}"] if (end := story.played.ends.get(name)) else []
    calls = story.played.calls
    if calls.again:
        became = f"{calls.saved:,} were answered so, {calls.failed:,} failed in the end"
        lines += ["", f"clients made {calls.calls:,} calls and tried {calls.again:,} times again: {became}"]
    if story.played.unanswered:
        lines += ["", f"{story.played.unanswered:,} requests got no answer at all"]
    lines += [f"Note: {note}" for note in story.notes]
    return "\n".join(lines)


def _models(tally: Tally) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("model", "requests", "not 200", "met cold", "spilled", "held", "cold error", "p50", "p95", "p99", "first p95")
    ]
    for key, model in sorted(tally.models.items()):
        counts = (model.requests, model.failed, model.cold, model.spilled, model.held, model.failed_cold)
        seconds, first = sorted(model.seconds), sorted(model.first)
        times = (*(quantile(seconds, part) for part in (0.5, 0.95, 0.99)), quantile(first, 0.95))
        rows.append((key, *(f"{one:,}" for one in counts), *map(_seconds, times)))
    return rows


def columns(rows: Sequence[Sequence[str]], left: int = 1) -> Iterator[str]:
    """Lines of a table, all columns but the first `left` of them to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(width) if number < left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}s"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def as_json(story: Story) -> dict[str, Any]:
    """The story for a program."""
    tally = story.tally
    return {
        "policy": story.policy,
        "start": datetime.fromtimestamp(story.start, UTC).isoformat(),
        "seconds": round(story.span, 3),
        "seed": story.seed,
        "requests": tally.requests,
        "unanswered": story.played.unanswered,
        "clients": {
            "calls": story.played.calls.calls,
            "tried_again": story.played.calls.again,
            "saved": story.played.calls.saved,
            "failed": story.played.calls.failed,
        },
        "models": {key: _model(model) for key, model in sorted(tally.models.items())},
        "warm": {
            name: {"sent": one.sent, "met_cold": one.met_cold, "failed": one.failed}
            for name, one in sorted(tally.warmed.items())
        },
        "copies": dict(sorted(tally.copies.items())),
        "states": {name: [[round(at, 3), state] for at, state in seen] for name, seen in sorted(tally.states.items())},
        "cost": {
            one.target: {"usd": None if one.usd is None else round(one.usd, 6), "for": one.basis} for one in story.spent
        },
        "migrations": story.played.histories,
        "ends": {name: list(end) for name, end in sorted(story.played.ends.items())},
        "notes": list(story.notes),
    }


def _model(model: Model) -> dict[str, Any]:
    seconds, first = sorted(model.seconds), sorted(model.first)
    return {
        "requests": model.requests,
        "statuses": {str(status): count for status, count in sorted(model.statuses.items())},
        "met_cold": model.cold,
        "spilled": model.spilled,
        "held": model.held,
        "failed_cold": model.failed_cold,
        "answered_by": dict(sorted(model.answered_by.items())),
        "seconds": {f"p{part * 100:g}": _rounded(quantile(seconds, part)) for part in (0.5, 0.95, 0.99)},
        "first_byte": {f"p{part * 100:g}": _rounded(quantile(first, part)) for part in (0.5, 0.95, 0.99)},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
