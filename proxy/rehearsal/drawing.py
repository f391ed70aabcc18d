"""PURE. Pictures of a rehearsal over time, as SVG within a page: colours are the page's classes, light or dark."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

WIDTH, LEFT, HEIGHT, TOP = 960, 150, 130, 14
INNER = WIDTH - LEFT - 16
COLOURS = 6
"""Classes `c0` to `c5`; more names share them."""
_STEPS = (300, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800)
"""Seconds between two marks of a time axis."""
MARKS = 9
"""Marks of a time axis at most."""


class Axis:
    """Where a moment lies: `start` is in seconds since 1970, moments are seconds after it."""

    def __init__(self, start: float, span: float) -> None:
        self.start = start
        self.span = span

    def x(self, at: float) -> float:
        return LEFT + min(max(at, 0.0), self.span) / self.span * INNER

    def said(self, at: float) -> str:
        """The moment in words, UTC."""
        return datetime.fromtimestamp(self.start + at, UTC).strftime("%a %d %b %H:%M")

    def marks(self) -> Iterator[tuple[float, str]]:
        """Round moments and their names: hours, and the day where one begins."""
        step = next((one for one in _STEPS if self.span / one <= MARKS), math.ceil(self.span / MARKS / 86_400) * 86_400)
        first = math.ceil(self.start / step) * step
        for turn in range(int((self.start + self.span - first) // step) + 1):
            moment = datetime.fromtimestamp(first + turn * step, UTC)
            midnight = (moment.hour, moment.minute) == (0, 0)
            yield first + turn * step - self.start, moment.strftime("%d %b" if midnight else "%H:%M")


def svg(height: float, parts: Sequence[str], label: str) -> str:
    """One picture; `label` says what it shows to who can't see it."""
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}"'
    return f'{opening} viewBox="0 0 {WIDTH} {height:.0f}">{"".join(parts)}</svg>'


def text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(words)}</text>'


def bar(x: float, y: float, width: float, height: float, style: str, title: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.3):.1f}" height="{max(height, 0.0):.1f}"'
    return f'<rect {place} class="{style}"><title>{escape(title)}</title></rect>'


def legend(names: Sequence[tuple[str, str]], y: float) -> Iterator[str]:
    """Squares with their names; pairs of class and name."""
    x = float(LEFT)
    for style, name in names:
        yield bar(x, y - 10, 11, 11, style, name)
        yield text(x + 16, y, name)
        x += 34 + 6.6 * len(name)


def frame(axis: Axis, top: float, unit: str, events: Sequence[tuple[float, str]]) -> Iterator[str]:
    """Grid, both axes and, as dashed lines, what happened: pairs of moment and words."""
    for quarter in range(5):
        y = TOP + (HEIGHT - TOP) * (1 - quarter / 4)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + INNER}" y2="{y:.1f}" class="grid"/>'
        if quarter in (0, 2, 4):
            yield text(LEFT - 8, y + 4, f"{_short(top * quarter / 4)}{unit}", "note end")
    yield from times(axis, HEIGHT)
    for at, words in events:
        x = axis.x(at)
        line = f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT}" class="event"/>'
        yield f"<g><title>{escape(f'{axis.said(at)}: {words}')}</title>{line}</g>"


def times(axis: Axis, y: float) -> Iterator[str]:
    """The time axis at `y`."""
    for at, name in axis.marks():
        yield f'<line x1="{axis.x(at):.1f}" y1="{y:.1f}" x2="{axis.x(at):.1f}" y2="{y + 4:.1f}" class="tick"/>'
        yield text(axis.x(at), y + 17, name, "note middle")


def lines(axis: Axis, series: Sequence[tuple[str, str, Sequence[float | None]]], unit: str, label: str,
          events: Sequence[tuple[float, str]] = ()) -> str:  # fmt: skip
    """Values over time, each a name, a class and one value for each equal part of the span; None: there is none."""
    top = nice(max((value for _, _, values in series for value in values if value is not None), default=0.0))
    parts = [*frame(axis, top, unit, events)]
    for name, style, values in series:
        points: list[str] = []
        for place, value in enumerate(values):
            if value is None:
                continue
            at = (place + 0.5) / len(values) * axis.span
            x, y = axis.x(at), TOP + (HEIGHT - TOP) * (1 - value / top)
            points.append(f"{x:.1f},{y:.1f}")
            title = escape(f"{name} {_short(value)}{unit}, {axis.said(at)}")
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" class="{style}"><title>{title}</title></circle>')
        parts.append(f'<polyline points="{" ".join(points)}" class="line {style}"/>')
    if len(series) > 1:
        parts += legend([(style, name) for name, style, _ in series], HEIGHT + 36)
    return svg(HEIGHT + (42 if len(series) > 1 else 24), parts, label)


def shares(axis: Axis, parts_of: Sequence[Mapping[str, int]], label: str, events: Sequence[tuple[float, str]]) -> str:
    """Who had which part over time: one mapping of names to counts for each equal part of the span."""
    names = sorted({name for one in parts_of for name in one})
    styles = {name: f"c{turn % COLOURS}" for turn, name in enumerate(names)}
    parts: list[str] = []
    for place, counts in enumerate(parts_of):
        total, y = sum(counts.values()), float(HEIGHT)
        at = place / len(parts_of) * axis.span
        for name in names:
            if counts.get(name):
                part = counts[name] / total
                y -= part * (HEIGHT - TOP)
                title = f"{name} {part:.1%} of {total:,}, {axis.said(at)}"
                width, height = INNER / len(parts_of) + 0.2, part * (HEIGHT - TOP)
                parts.append(bar(axis.x(at), y, width, height, styles[name], title))
    parts += [*frame(axis, 100.0, "%", events), *legend([(styles[name], name) for name in names], HEIGHT + 36)]
    return svg(HEIGHT + 42, parts, label)


def bands(axis: Axis, rows: Mapping[str, Sequence[tuple[float, str]]], styles: Mapping[str, str], label: str) -> str:
    """What each of some things was over time: by name the moments since when it was what."""
    parts: list[str] = []
    for row, (name, seen) in enumerate(sorted(rows.items())):
        y = 24 * row
        parts.append(text(LEFT - 8, y + 15, name if len(name) <= 22 else f"{name[:21]}…", "end"))
        for (at, state), end in zip(seen, [*(at for at, _ in seen[1:]), axis.span], strict=True):
            title = f"{name}: {state} from {axis.said(at)} to {axis.said(end)}"
            parts.append(bar(axis.x(at), y + 3, axis.x(end) - axis.x(at), 16, styles.get(state, "c5"), title))
    y = 24 * len(rows) + 4
    parts += [*times(axis, y), *legend([(style, state) for state, style in styles.items()], y + 38)]
    return svg(y + 46, parts, label)


def nice(value: float) -> float:
    """The least of 1, 2, 2.5, 4, 5 and 10 times a power of ten that is no less; 1 of nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * one for one in (1, 2, 2.5, 4, 5, 10) if power * one >= value * (1 - 1e-9))


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
