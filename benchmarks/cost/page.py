"""The tables of docs/performance.md, written into it from a result: `python -m benchmarks.cost.page`.

What stands between the page's two marks is replaced; every word outside of them is a person's. A test holds that the
page shows the result that it names, so that no table is pasted by hand.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .. import machine, upstream
from .goals import Cells, verdicts
from .latency import DIRECT, added
from .report import goal_line, shown
from .sums import interval, ratios

PAGE = machine.ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- figures: python -m benchmarks.cost.page -->", "<!-- end of figures -->"
STREAM = ", stream"


def main() -> None:
    """Write the newest result, or the one that is named, into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost.page", description=__doc__, allow_abbrev=False)
    parser.add_argument("result", type=Path, nargs="?", help="a cost-*.json; without it the newest that is kept")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    result = arguments.result or newest(machine.RESULTS)
    arguments.page.write_text(written(arguments.page.read_text(), result))
    print(f"{arguments.page}: figures of {result.name}")


def newest(folder: Path) -> Path:
    """The result that was measured last. Raises SystemExit when there is none."""
    found = sorted(folder.glob("cost-*.json"), key=lambda each: str(_read(each)["about"]["date"]))
    if not found:
        raise SystemExit(f"{folder} has no cost-*.json: run `make bench-cost`")
    return found[-1]


def written(page: str, result: Path) -> str:
    """`page` with the figures of `result` between its marks. Raises SystemExit where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"the page lacks its marks, {BEGIN} and {END}")
    return "\n".join([before + begin, "", *figures(_read(result), result.stem), "", end + after])


def figures(result: Mapping[str, Any], name: str) -> list[str]:
    """Picture, goals and tables as lines of Markdown."""
    cpu, waits, about = result["cells"], result["waits"], result["about"]
    place = f"../benchmarks/results/{name}"
    lines = [f"![CPU a request beside others, as multiples of a bare pass-through]({place}.svg)", ""]
    lines += ["| goal | bound | found | |", "|---|---|---|---|", *map(goal_line, verdicts(cpu, waits)), ""]
    lines += _ratios("whole answers, CPU a request", [each for each in cpu if STREAM not in each], cpu, "")
    lines += _ratios("streams of 50 events, CPU a stream", [each for each in cpu if STREAM in each], cpu, STREAM)
    if waits:
        rate = about["rate"].partition(",")[0]
        lines += [f"| added at {rate}, p50 | whole answer, us | first byte of a stream, us |", "|---|---|---|"]
        lines += [_waits(each, waits) for each in waits if STREAM not in each and each != DIRECT] + [""]
    waited = median(median(kept["waited"]) for kept in cpu.values())
    lines += [f"From [{name}]({place}.md), which has the releases and every server's spread: {about['rounds']} rounds"]
    load = f"a load average of {about['load before']} before and {about['load after']} after"
    return [*lines, f"on {about['cores']} cores, {load}; servers waited for their core {waited:.0%} of the time."]


def _ratios(title: str, names: Sequence[str], cpu: Cells, suffix: str) -> list[str]:
    """One row for each cell, compared with the marks of its own sort; a stream's has microseconds a chunk."""
    marks = [mark for mark in ("bare", "vllm-router") if mark + suffix in cpu]
    heads = [title, *[f"x {mark}" for mark in marks], *(["us a chunk"] if suffix else [])]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name in names:
        columns = [shown(interval(ratios(cpu[name]["cpu"], cpu[mark + suffix]["cpu"]))) for mark in marks]
        columns += [f"{median(cpu[name]['cpu']) / upstream.EVENTS:.1f}"] if suffix else []
        lines.append(f"| {' | '.join([name, *columns])} |")
    return [*lines, ""] if names else []


def _waits(name: str, waits: Cells) -> str:
    columns = []
    for which, each in (("whole", name), ("first", name + STREAM)):
        found = interval(added(waits, each, which)) if each in waits else None
        columns.append(f"{found.median:.0f} [{found.low:.0f}, {found.high:.0f}]" if found else "")
    return f"| {' | '.join([name, *columns])} |"


def _read(result: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(result.read_text())
    return document


if __name__ == "__main__":
    main()
