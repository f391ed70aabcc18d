"""The table: medians, and ratios to the bare pass-through with their intervals. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from .sums import Interval, interval, ratios
from .systems import Cell

Measured = Mapping[str, Mapping[str, list[float]]]


def as_markdown(cells: Sequence[Cell], measured: Measured, about: Mapping[str, str]) -> str:
    """All cells; each is compared with `bare` of its own sort, whole or stream, where that was measured."""
    lines = ["# What a request costs", ""]
    lines += [f"- {key}: {value}" for key, value in about.items()]
    lines += ["", "CPU: user and system time of the server's processes, microseconds a request, median (best round)."]
    lines += ["Ratios are taken within a round; in brackets the 95 % bootstrap interval of their median.", ""]
    lines += ["| server | CPU us | x bare | x rawup | requests/s | first byte us |", "|---|---|---|---|---|---|"]
    for cell in cells:
        kept = measured[cell.name]
        suffix = ", stream" if cell.stream else ""
        columns = [_ratio(kept["cpu"], measured, f"{mark}{suffix}") for mark in ("bare", "rawup")]
        cpu = f"{median(kept['cpu']):.1f} ({min(kept['cpu']):.1f})"
        rest = [f"{median(kept['per_second']):,.0f}", f"{median(kept['first']):.0f}"]
        lines.append("| " + " | ".join([cell.name, cpu, *columns, *rest]) + " |")
    return "\n".join([*lines, ""])


def _ratio(these: list[float], measured: Measured, mark: str) -> str:
    if mark not in measured:
        return ""
    found = interval(ratios(these, measured[mark]["cpu"]))
    return shown(found)


def shown(found: Interval) -> str:
    """`0.61 [0.58, 0.65]`."""
    return f"{found.median:.2f} [{found.low:.2f}, {found.high:.2f}]"
