"""The ratios as a picture: one bar a server on a logarithmic axis, its interval as a line. SVG, and pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10

from .goals import Cells
from .sums import Interval, interval, ratios
from .systems import Cell

WIDTH, LEFT, RIGHT, ROW, HEAD = 860, 210, 150, 24, 64
OURS, THEIRS, MARK = "#1769aa", "#9aa4ad", "#c2410c"
STYLE = "text{font:13px system-ui,sans-serif;fill:#222}.t{font-size:16px;font-weight:600}.s{fill:#555;font-size:12px}"


def as_svg(cells: Sequence[Cell], cpu: Cells, about: Mapping[str, str]) -> str:
    """CPU a request as multiples of the bare pass-through, cheapest first; whole answers above, streams below."""
    panels = []
    top = 0
    sorts = {}
    for title, suffix in (("Whole answers", ""), ("Streams of 50 events", ", stream")):
        own = [cell.name for cell in cells if cell.stream == bool(suffix) and cell.name in cpu]
        if "bare" + suffix in own:
            sorts[title] = {name: interval(ratios(cpu[name]["cpu"], cpu["bare" + suffix]["cpu"])) for name in own}
    every = [bar for bars in sorts.values() for bar in bars.values()]
    low = floor(log10(min((bar.low for bar in every), default=1)) * 5) / 5
    high = ceil(log10(max((bar.high for bar in every), default=1)) * 5) / 5
    for title, bars in sorts.items():
        panels.append(_panel(f"{title}: CPU a request, bare aiohttp pass-through = 1", bars, top, low, high))
        top += HEAD + ROW * len(bars) + 24
    note = f"{about['date']}, {about['commit']}, {about['cpu']}, {about['rounds']} interleaved rounds; log scale"
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top + 24}" role="img">']
    lines += [f"<style>{STYLE}</style>", f'<rect width="{WIDTH}" height="{top + 24}" fill="#fff"/>', *panels]
    lines += [f'<text class="s" x="16" y="{top + 10}">{escape(note)}</text>', "</svg>", ""]
    return "\n".join(lines)


def _panel(title: str, bars: Mapping[str, Interval], top: int, low: float, high: float) -> str:
    def x(value: float) -> float:
        return LEFT + (log10(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    bottom = top + HEAD + ROW * len(bars)
    parts = [f'<text class="t" x="16" y="{top + 28}">{escape(title)}</text>']
    for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200):
        if low <= log10(tick) <= high:
            colour = MARK if tick == 1 else "#ddd"
            parts.append(f'<path d="M{x(tick):.1f} {top + HEAD - 8}V{bottom}" stroke="{colour}"/>')
            parts.append(
                f'<text class="s" text-anchor="middle" x="{x(tick):.1f}" y="{top + HEAD - 12}">{tick:g}</text>'
            )
    for number, (name, bar) in enumerate(sorted(bars.items(), key=lambda each: each[1].median)):
        parts.append(_bar(name, bar, x(bar.median), x(bar.low), x(bar.high), top + HEAD + ROW * number))
    return "\n".join(parts)


def _bar(name: str, bar: Interval, end: float, low: float, high: float, y: int) -> str:
    colour = OURS if name.startswith("ours") else THEIRS
    told = f"{bar.median:.2f}" if bar.median < 10 else f"{bar.median:.0f}"
    return (
        f'<text text-anchor="end" x="{LEFT - 8}" y="{y + 16}">{escape(name)}</text>'
        f'<rect x="{LEFT}" y="{y + 4}" width="{max(1.0, end - LEFT):.1f}" height="{ROW - 8}" fill="{colour}"/>'
        f'<path d="M{low:.1f} {y + ROW / 2}H{high:.1f}" stroke="#222" stroke-width="2"/>'
        f'<text x="{max(end, high) + 6:.1f}" y="{y + 16}">{told}</text>'
    )
