"""PURE. A plan as a picture: one SVG of bars, a bar a choice, a group a model. Text only, no library."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from policies.quantities import show_seconds

from .economics import Action, Choice, dollars
from .plan import Comparison, Plan
from .prices import Prices

WIDTH = 960
_LEFT, _RIGHT, _BAR, _STEP, _HEAD = 380, 190, 16, 22, 54
MOST = 60
"""Models in one picture: those where a move saves most, then those that stay and cost most, half each."""

_COLOURS = {"best": "#1a7f37", "today": "#0a58ca", "warm": "#9aa4af", "cold": "#d4a72c"}
_LEGEND = (
    ("today", "today"),
    ("best", "the plan's choice"),
    ("warm", "warm enough"),
    ("cold", "too many cold requests"),
)


def draw_plan(plan: Plan, prices: Prices, cold_share: float) -> str:
    """The plan as an SVG document of WIDTH pixels; bars are to one scale within a model, as amounts beside them say."""
    shown = _shown(plan)
    body: list[str] = []
    y = 84.0
    for comparison in shown:
        body += _group(plan, comparison, y, cold_share)
        y += _HEAD + _STEP * max(1, len(comparison.choices)) + 10
    left_out = len(plan.comparisons) - len(shown)
    if left_out:
        body.append(_text(20, y + 4, f"and {left_out} more, where less money is at stake", "note"))
        y += 24
    after = plan.planned + (plan.proxies if plan.moves else 0.0)
    title = f"Hosting a month: today {dollars(plan.today)}, as planned {dollars(after)}"
    if plan.moves and plan.proxies:
        title += f", of which proxies {dollars(plan.proxies)}"
    note = f"idle limit {show_seconds(plan.idle_limit)}, each model to its own scale, prices of {prices.date}"
    head = [_text(20, 30, title, "title"), *_legend(), _text(WIDTH - 20, 56, note, "note end")]
    return _document(y + 10, [*head, *body])


def _shown(plan: Plan) -> list[Comparison]:
    ranked = sorted(plan.comparisons, key=lambda each: -plan.at_stake(each))
    moves = [each for each in ranked if plan.verdict(each).action is Action.MOVE]
    others = [each for each in ranked if plan.verdict(each).action is not Action.MOVE]
    return [*moves[: max(MOST // 2, MOST - len(others))], *others[: max(MOST // 2, MOST - len(moves))]]


def _group(plan: Plan, comparison: Comparison, y: float, cold_share: float) -> Iterator[str]:
    verdict = plan.verdict(comparison)
    colour = "#1a7f37" if verdict.action is Action.MOVE else "#24292f"
    said = f"{verdict.action.value}" + (f", saves {dollars(verdict.saving)}" if verdict.saving > 0 else "")
    yield f'<line x1="20" y1="{y:.0f}" x2="{WIDTH - 20}" y2="{y:.0f}" class="rule"/>'
    yield _text(20, y + 22, comparison.key, "model")
    yield _text(WIDTH - 20, y + 22, said, "model end", colour)
    yield _text(20, y + 40, _cut(verdict.reason, 140), "note")
    scale = max((each.outcomes[plan.idle_limit].usd for each in comparison.choices), default=0.0) or 1.0
    for number, choice in enumerate(comparison.choices):
        kind = _kind(choice, comparison.today, verdict.best, plan.idle_limit, cold_share)
        yield from _bar(choice, kind, (y + _HEAD + number * _STEP, plan.idle_limit, scale))


def _bar(choice: Choice, kind: str, at: tuple[float, float, float]) -> Iterator[str]:
    y, limit, scale = at
    outcome = choice.outcomes[limit]
    length = outcome.usd / scale * (WIDTH - _LEFT - _RIGHT)
    cold = f", {outcome.cold_share:.1%} cold" if outcome.cold else ""
    yield _text(_LEFT - 10, y + 12, _cut(choice.name), "label end")
    yield (
        f'<rect x="{_LEFT}" y="{y:.0f}" width="{max(1.0, length):.1f}" height="{_BAR}" rx="2" fill="{_COLOURS[kind]}">'
        f"<title>{escape(choice.name)}: {escape(dollars(outcome.usd))}{escape(cold)}</title></rect>"
    )
    yield _text(_LEFT + length + 8, y + 12, f"{dollars(outcome.usd)}{cold}", "label")


def _kind(choice: Choice, today: Choice | None, best: Choice | None, limit: float, cold_share: float) -> str:
    if choice is today:
        return "today"
    if choice is best:
        return "best"
    return "warm" if choice.outcomes[limit].cold_share <= cold_share else "cold"


def _legend() -> Iterator[str]:
    x = 20.0
    for kind, text in _LEGEND:
        yield f'<rect x="{x:.0f}" y="46" width="12" height="12" rx="2" fill="{_COLOURS[kind]}"/>'
        yield _text(x + 18, 56, text, "note")
        x += 30 + 7 * len(text)


def _cut(text: str, most: int = 54) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(x: float, y: float, text: str, style: str, colour: str = "") -> str:
    fill = f" style={quoteattr('fill:' + colour)}" if colour else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{style}"{fill}>{escape(text)}</text>'


def _document(height: float, parts: list[str]) -> str:
    style = (
        "text{font-family:Helvetica,Arial,sans-serif;font-size:12px;fill:#24292f}"
        ".title{font-size:18px;font-weight:bold}.model{font-size:14px;font-weight:bold}"
        ".note{fill:#57606a}.end{text-anchor:end}.rule{stroke:#d0d7de}"
    )
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}"'
    opening += f' viewBox="0 0 {WIDTH} {height:.0f}">'
    ground = f'<rect width="{WIDTH}" height="{height:.0f}" fill="white"/>'
    return "\n".join([opening, f"<style>{style}</style>", ground, *parts, "</svg>", ""])
