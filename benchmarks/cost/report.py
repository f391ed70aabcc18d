"""The tables: goals and verdicts, CPU with ratios to the bare pass-through, waits at a fixed rate. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from .. import upstream
from .goals import Cells, Goal, Verdict, verdicts
from .latency import DIRECT, added
from .sums import Interval, interval, ratios
from .systems import Cell

HOW = """\
CPU is user and system time of the server's processes from the kernel's accounting, microseconds a request, median
(best round). Ratios are taken within a round; in brackets the 95 % bootstrap interval of their median over rounds.
Trust ratios of one report, never an absolute value of another day. *Waited* is the share of the time in which the
server was ready to run but something else had its core, threads added up: CPU does not count it, answers/s suffer."""

WAITS = """\
Sent at a fixed rate over kept connections whatever has come back; counted from when a request was due (coordinated
omission corrected). *Added* is what the hop adds to the median of the same round, interval in brackets; `direct`
includes how late the client itself was. The 99th percentile is the machine's more than anybody's."""


def as_markdown(
    cells: Sequence[Cell], cpu: Cells, waits: Cells, about: Mapping[str, str], missing: Mapping[str, str]
) -> str:
    """All that was measured; each cell is compared with the marks of its own sort, whole or stream."""
    lines = ["# What a request costs, side by side", "", *[f"- {key}: {value}" for key, value in about.items()]]
    lines += [f"- left out: {name}: {' '.join(why.split())[-300:]}" for name, why in missing.items()]
    lines += ["", "## Goals", "", "| goal | bound | found | verdict |", "|---|---|---|---|"]
    lines += [goal_line(each) for each in verdicts(cpu, waits)]
    for title, stream in (("Whole answers", False), ("Streams of 50 events", True)):
        if own := [cell for cell in cells if cell.stream == stream]:
            lines += ["", f"## {title}", "", *_table(own, cpu, stream)]
    lines += ["", HOW]
    if waits:
        lines += ["", f"## Waits at {about['rate']}", "", *_waits(waits), "", WAITS]
    return "\n".join([*lines, ""])


def goal_line(verdict: Verdict) -> str:
    """One row: the goal, its bound, what was found, the verdict."""
    goal, found = verdict.goal, verdict.found
    bound = f"{'at least' if goal.least else 'at most'} {goal.bound:g}{' (aim)' if goal.aim else ''}"
    return f"| {goal.text} | {bound} | {_found(goal, found) if found else ''} | {verdict.word} |"


def _found(goal: Goal, found: Interval) -> str:
    return shown(found) if goal.bound < 10 else f"{found.median:.0f} [{found.low:.0f}, {found.high:.0f}]"


def _table(cells: Sequence[Cell], cpu: Cells, stream: bool) -> list[str]:
    suffix = ", stream" if stream else ""
    marks = [mark for mark in ("bare", "vllm-router") if mark + suffix in cpu]
    chunk = ["us/chunk"] if stream else []
    heads = ["server", "CPU us", *chunk, *[f"x {mark}" for mark in marks], "answers/s", "waited"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for cell in cells:
        kept = cpu[cell.name]
        columns = [f"{median(kept['cpu']):,.1f} ({min(kept['cpu']):,.1f})"]
        columns += [f"{median(kept['cpu']) / upstream.EVENTS:.2f}"] if stream else []
        columns += [shown(interval(ratios(kept["cpu"], cpu[mark + suffix]["cpu"]))) for mark in marks]
        columns += [f"{median(kept['per_second']):,.0f}", f"{median(kept['waited']):.0%}"]
        lines.append("| " + " | ".join([cell.name, *columns]) + " |")
    return lines


def _waits(waits: Cells) -> list[str]:
    lines = [
        "| server | first byte p50 us | added | whole p50 us | added | whole p99 us |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(waits, key=lambda each: each.endswith(", stream")):
        columns = []
        for which in ("first", "whole"):
            columns.append(f"{median(waits[name][which]):.0f}")
            more = interval(added(waits, name, which))
            hop = not name.startswith(DIRECT)
            columns.append(f"{more.median:+.0f} [{more.low:+.0f}, {more.high:+.0f}]" if hop else "")
        lines.append(f"| {name} | {' | '.join(columns)} | {median(waits[name]['p99']):.0f} |")
    return lines


def shown(found: Interval) -> str:
    """`0.61 [0.58, 0.65]`."""
    return f"{found.median:.2f} [{found.low:.2f}, {found.high:.2f}]"
