"""PURE. A rehearsal as one page of HTML that needs nothing else: the table, and pictures as SVG within the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from policies.quantities import show_seconds

from .report import Story, report
from .tally import SLICES, Model, Tally, quantile

WIDTH, LEFT, HEIGHT = 960, 160, 150
_INNER = WIDTH - LEFT - 20
_STATES = {"ready": "#1a7f37", "warming": "#d4a72c", "cold": "#0a58ca"}
_COLOURS = ("#0a58ca", "#1a7f37", "#d4a72c", "#8250df", "#cf222e", "#57606a")
_STYLE = (
    "body{font-family:Helvetica,Arial,sans-serif;color:#24292f;max-width:1000px;margin:2em auto;padding:0 1em}"
    "pre{background:#f6f8fa;padding:1em;overflow-x:auto;font-size:12px}h2{margin-top:2em}"
    "text{font-size:12px;fill:#24292f}.note{fill:#57606a}.end{text-anchor:end}"
)


def page(story: Story) -> str:
    """The page."""
    parts = [f"<h1>Rehearsal of {escape(story.policy)}</h1>", f"<pre>{escape(report(story))}</pre>"]
    parts += ["<h2>What the targets were</h2>", _bands(story.tally)]
    for key, model in sorted(story.tally.models.items()):
        name = escape(key)
        parts += [f"<h2>{name}</h2>", f"<p>Seconds of an answer: p50 and p95.</p>{_latency(model, story.span)}"]
        parts += [f"<p>Who answered, as shares of the requests.</p>{_shares(model, story.span)}"]
    parts += ["<h2>What it cost</h2>", _costs(story)]
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f"<title>Rehearsal of {escape(story.policy)}</title>"
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _svg(height: float, parts: Sequence[str], label: str) -> str:
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}"'
    return f'{opening} width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}">{"".join(parts)}</svg>'


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{style}">{escape(text)}</text>'


def _bar(x: float, y: float, width: float, height: float, colour: str, title: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.3):.1f}" height="{max(height, 0.0):.1f}"'
    return f'<rect {place} fill="{colour}"><title>{escape(title)}</title></rect>'


def _bands(tally: Tally) -> str:
    parts: list[str] = []
    for row, (name, seen) in enumerate(sorted(tally.states.items())):
        y = 24 * row
        parts.append(_text(LEFT - 8, y + 15, name[:24], "end"))
        ends = [at for at, _ in seen[1:]] + [tally.span]
        for (at, state), end in zip(seen, ends, strict=True):
            x = LEFT + at / tally.span * _INNER
            width = (min(end, tally.span) - at) / tally.span * _INNER
            parts.append(_bar(x, y + 3, width, 16, _STATES.get(state, "#57606a"), f"{state} from {_clock(at)}"))
    y = 24 * len(tally.states) + 16
    for turn, (state, colour) in enumerate(_STATES.items()):
        parts += [_bar(LEFT + 110 * turn, y - 10, 12, 12, colour, state), _text(LEFT + 18 + 110 * turn, y, state)]
    return _svg(y + 8, parts, "states of the targets over time")


def _latency(model: Model, span: float) -> str:
    ordered = [sorted(one) for one in model.slices]
    lines = {part: [quantile(one, part) for one in ordered] for part in (0.5, 0.95)}
    top = max((value for line in lines.values() for value in line if value is not None), default=1.0) or 1.0
    parts = [*_axes(span, f"{top:.2f} s")]
    for (part, line), colour in zip(lines.items(), _COLOURS, strict=False):
        for place, value in enumerate(line):
            if value is not None:
                x, y = LEFT + (place + 0.5) / SLICES * _INNER, HEIGHT - value / top * (HEIGHT - 20)
                title = f"p{part * 100:g} {value:.2f} s at {_clock(place / SLICES * span)}"
                parts.append(
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"><title>{title}</title></circle>'
                )
    return _svg(HEIGHT + 24, parts, "latency over time")


def _shares(model: Model, span: float) -> str:
    names = sorted(model.answered_by)
    colours = {name: _COLOURS[turn % len(_COLOURS)] for turn, name in enumerate(names)}
    parts = [*_axes(span, "100%")]
    for place, counts in enumerate(model.shares):
        total, y = counts.total(), float(HEIGHT)
        for name in names:
            if counts[name]:
                height = counts[name] / total * (HEIGHT - 20)
                y -= height
                x = LEFT + place / SLICES * _INNER
                title = f"{name} {counts[name] / total:.0%} at {_clock(place / SLICES * span)}"
                parts.append(_bar(x, y, _INNER / SLICES, height, colours[name], title))
    for turn, name in enumerate(names):
        parts += [_bar(LEFT + 190 * turn, HEIGHT + 30, 12, 12, colours[name], name)]
        parts += [_text(LEFT + 18 + 190 * turn, HEIGHT + 40, name)]
    return _svg(HEIGHT + 48, parts, "who answered over time")


def _costs(story: Story) -> str:
    known = [(one.target, one.usd) for one in story.spent if one.usd is not None]
    top = max((usd for _, usd in known), default=0.0) or 1.0
    parts: list[str] = []
    for row, (name, usd) in enumerate(known):
        width = usd / top * (_INNER - 90)
        parts += [_text(LEFT - 8, 24 * row + 15, name[:24], "end")]
        parts += [_bar(LEFT, 24 * row + 3, width, 16, _COLOURS[0], f"{usd:.2f} USD")]
        parts += [_text(LEFT + width + 8, 24 * row + 15, f"{usd:.2f} USD")]
    return _svg(24 * len(known) + 8, parts, "cost of each target")


def _axes(span: float, top: str) -> Iterator[str]:
    yield f'<line x1="{LEFT}" y1="{HEIGHT}" x2="{LEFT + _INNER}" y2="{HEIGHT}" stroke="#d0d7de"/>'
    yield _text(LEFT - 8, 24, top, "note end")
    for quarter in range(5):
        yield _text(LEFT + quarter / 4 * _INNER, HEIGHT + 16, _clock(quarter / 4 * span), "note")


def _clock(at: float) -> str:
    return show_seconds(float(round(at)))
