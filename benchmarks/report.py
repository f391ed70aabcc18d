"""From rounds to a report: medians, spread and paired ratios. Pure.

A round measures the direct call and the proxied one right after each other, so their ratio is taken within the round: a
machine that drifts moves both. Absolute values are for comparison within one report only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles

DISTURBED = 0.05
"""Share of waiting for a core above which a round measures the machine's other work, not the hop."""

FEWEST = 5
"""Quiet rounds that a cell needs to be summed up by them alone; with fewer, all its rounds count."""

LEGEND = f"""\
Median over rounds, quartiles in brackets. *Ratio* and *added* compare the two calls of one round; trust them before any
absolute value. *CPU* is user and system time of the proxy per request. *Rounds* that count are those in which the proxy
waited for its core for at most {DISTURBED:.0%} of the time. Where fewer than {FEWEST} were so quiet all count, marked
*busy*: then times say more about the machine than about the hop; CPU still does not."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One side of one round. Times in microseconds."""

    median_us: float
    first_byte_us: float
    per_second: float
    requests: int
    cpu_us: float | None = None
    """CPU time of the proxy per request; None for the direct call."""
    waited: float = 0.0
    """Share of the time in which the proxy was ready to run but another process had its core."""


@dataclass(frozen=True, slots=True)
class Round:
    """The same requests, sent directly and through the proxy."""

    direct: Measured
    proxied: Measured

    @property
    def quiet(self) -> bool:
        """The machine let the proxy run when it could."""
        return self.proxied.waited <= DISTURBED


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of at least one value."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(median(values), low, high)


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind, answer and number of connections, over all rounds."""

    kind: str
    answer: str
    connections: int
    rounds: tuple[Round, ...]

    @property
    def used(self) -> tuple[Round, ...]:
        """The quiet rounds when there are enough of them, else all. The choice does not look at any result."""
        quiet = tuple(each for each in self.rounds if each.quiet)
        return quiet if len(quiet) >= FEWEST else self.rounds

    def summary(self) -> dict[str, Spread]:
        """What a reader compares; `ratio` and `added` are paired within rounds."""
        pairs = [(each.direct, each.proxied) for each in self.used]
        figures = {
            "direct_us": [direct.median_us for direct, _ in pairs],
            "proxied_us": [proxied.median_us for _, proxied in pairs],
            "ratio": [proxied.median_us / direct.median_us for direct, proxied in pairs],
            "added_us": [proxied.median_us - direct.median_us for direct, proxied in pairs],
            "first_byte_ratio": [proxied.first_byte_us / direct.first_byte_us for direct, proxied in pairs],
            "first_byte_added_us": [proxied.first_byte_us - direct.first_byte_us for direct, proxied in pairs],
            "direct_per_second": [direct.per_second for direct, _ in pairs],
            "proxied_per_second": [proxied.per_second for _, proxied in pairs],
            "proxy_cpu_us": [proxied.cpu_us for _, proxied in pairs if proxied.cpu_us is not None],
        }
        return {name: spread(values) for name, values in figures.items() if values}


def as_json(cells: Sequence[Cell], about: Mapping[str, object]) -> dict[str, object]:
    """Everything, rounds included."""
    return {
        "about": dict(about),
        "cells": [
            {
                "kind": cell.kind,
                "answer": cell.answer,
                "connections": cell.connections,
                "summary": {name: asdict(value) for name, value in cell.summary().items()},
                "rounds": [asdict(each) for each in cell.rounds],
            }
            for cell in cells
        ],
    }


def as_markdown(cells: Sequence[Cell], about: Mapping[str, object]) -> str:
    """The tables, for people."""
    lines = ["# The added hop", "", *(f"- {name}: {value}" for name, value in about.items()), ""]
    lines += [LEGEND, ""]
    for answer in dict.fromkeys(cell.answer for cell in cells):
        lines += [
            f"## {answer}",
            "",
            *_table([cell for cell in cells if cell.answer == answer], first=answer == "stream"),
            "",
        ]
    return "\n".join(lines)


def _table(cells: Sequence[Cell], *, first: bool) -> list[str]:
    columns = {
        "direct us": ("direct_us", ".0f"),
        "proxied us": ("proxied_us", ".0f"),
        "ratio": ("ratio", ".2f"),
        "added us": ("added_us", ".0f"),
        **(
            {"first byte ratio": ("first_byte_ratio", ".2f"), "first byte added us": ("first_byte_added_us", ".0f")}
            if first
            else {}
        ),
        "direct/s": ("direct_per_second", ".0f"),
        "proxied/s": ("proxied_per_second", ".0f"),
        "CPU us": ("proxy_cpu_us", ".0f"),
    }
    rows = ["| kind | connections | " + " | ".join(columns) + " | rounds |", "|---" * (len(columns) + 3) + "|"]
    for cell in cells:
        figures = cell.summary()
        shown = [_shown(figures.get(name), form) for name, form in columns.values()]
        rounds = f"{len(cell.used)} of {len(cell.rounds)}" + ("" if all(each.quiet for each in cell.used) else ", busy")
        rows.append(f"| {cell.kind} | {cell.connections} | " + " | ".join([*shown, rounds]) + " |")
    return rows


def _shown(value: Spread | None, form: str) -> str:
    return f"{value.median:{form}} ({value.low:{form}}-{value.high:{form}})" if value else "-"
