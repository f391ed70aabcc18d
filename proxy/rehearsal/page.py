"""PURE. A rehearsal as one page of HTML that needs nothing else, for somebody who has to decide by it.

First what would have happened, in sentences and figures with their units; then what it rests on; then pictures over
time; last the whole table as the terminal has it. Readable in light and in dark, and printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from policies.quantities import show_seconds
from warmers.economics import dollars

from .drawing import Axis, bands, lines, shares
from .report import Story, report
from .tally import SLICES, Model, Tally, quantile

STATES = {"ready": "c1", "warming": "c2", "cold": "c0"}
MOST = 12
"""Models with pictures of their own: those with the most requests."""
MONTH = 30 * 86_400
OK = 200
LEFT_CELL = ' class="left"'
BAD = '<b class="bad">'
_STYLE = """
:root{color-scheme:light dark;--ink:#1f2328;--soft:#59636e;--paper:#fff;--panel:#f6f8fa;--rule:#d1d9e0;--bad:#b3261e;
--c0:#0969da;--c1:#1a7f37;--c2:#bf8700;--c3:#8250df;--c4:#bc4c00;--c5:#6e7781}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--paper:#0d1117;--panel:#161b22;--rule:#3d444d;
--bad:#ff8b82;--c0:#4493f8;--c1:#3fb950;--c2:#d29922;--c3:#ab7df8;--c4:#f0883e;--c5:#9198a1}}
body{font:15px/1.5 system-ui,Helvetica,Arial,sans-serif;color:var(--ink);background:var(--paper);max-width:1000px;
margin:2em auto;padding:0 1em}
h1{font-size:1.5em;margin-bottom:.2em}
h2{font-size:1.15em;margin:2em 0 .3em;border-top:1px solid var(--rule);padding-top:.8em}
p{margin:.4em 0}.soft,figcaption{color:var(--soft)}.bad{color:var(--bad);font-weight:600}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:1em 0}.tile{background:var(--panel);border:1px solid var(--rule);
border-radius:6px;padding:.7em 1em;flex:1 1 200px}.tile b{display:block;font-size:1.5em;line-height:1.3}
figure{margin:.8em 0}svg{width:100%;height:auto;display:block}table{border-collapse:collapse;width:100%;margin:.6em 0}
th,td{text-align:right;padding:.3em .6em;border-bottom:1px solid var(--rule);vertical-align:top}
th{color:var(--soft);font-weight:500}th:first-child,td:first-child,.left{text-align:left}
pre{background:var(--panel);padding:1em;overflow-x:auto;font-size:12px}
text{font:12px system-ui,Helvetica,Arial,sans-serif;fill:var(--ink)}.note{fill:var(--soft)}.end{text-anchor:end}
.middle{text-anchor:middle}.grid{stroke:var(--rule);stroke-opacity:.6}.tick{stroke:var(--soft)}
.event{stroke:var(--ink);stroke-dasharray:4 3;stroke-width:1.3}.line{fill:none!important;stroke-width:1.5}
.c0{fill:var(--c0);stroke:var(--c0)}.c1{fill:var(--c1);stroke:var(--c1)}.c2{fill:var(--c2);stroke:var(--c2)}
.c3{fill:var(--c3);stroke:var(--c3)}.c4{fill:var(--c4);stroke:var(--c4)}.c5{fill:var(--c5);stroke:var(--c5)}
rect{stroke:none!important}@media print{body{max-width:none}}
"""
ASSUMED = (
    "Targets are stand-ins: their latencies, restores and idle limits are what the policy or --stand-ins says of them.",
    "The trace says when requests came, not what they held; their bodies are made up.",
    "One proxy serves, and the network takes no time.",
    "Clients do not try again when they get an error, unless --client-retries says so: then each attempt is a request.",
    "Migrations begin with the rehearsal, and every approval is given within a minute.",
)

LOADED = (
    "Ready: copies are loaded. Cold: none is. Warming: one is being loaded, and calls to it wait, go elsewhere or "
    "fail, as the policy has it."
)


def page(story: Story) -> str:
    """The page."""
    axis = Axis(story.start, story.span)
    name = escape(story.policy)
    parts = [f"<h1>Rehearsal of {name}</h1>", f'<p class="soft">{escape(_when(story, axis))}</p>', _tiles(story)]
    parts += _migrations(story, axis)
    rests = "".join(f"<li>{escape(one[:1].upper() + one[1:])}</li>" for one in (*ASSUMED, *story.notes))
    parts += [f"<h2>What it rests on</h2><ul>{rests}</ul>", "<h2>Models</h2>", _models(story.tally)]
    parts += ["<h2>Cost</h2>", _costs(story), "<h2>What the targets were</h2>"]
    parts.append(_figure(bands(axis, story.tally.states, STATES, "states of the targets over time"), LOADED))
    busiest = sorted(story.tally.models.items(), key=lambda one: -one[1].requests)
    for key, model in busiest[:MOST]:
        parts += [f"<h2>{escape(key)} over time</h2>", *_pictures(model, axis, _events(story, key))]
    if len(busiest) > MOST:
        parts.append(f"<p>Pictures are of the {MOST} models with the most requests.</p>")
    parts += ["<h2>All figures</h2>", f"<pre>{escape(report(story))}</pre>"]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width"/>'
        f"<title>Rehearsal of {name}</title><style>{_STYLE}</style></head><body>\n" + "\n".join(parts)
        + "\n</body></html>\n"
    )  # fmt: skip


def _when(story: Story, axis: Axis) -> str:
    span = show_seconds(float(round(story.span)))
    end = axis.said(story.span)
    return f"{span} of recorded traffic, {axis.said(0.0)} to {end} (UTC), against stand-ins; seed {story.seed}"


def _tiles(story: Story) -> str:
    """What to know first."""
    tally = story.tally
    failed = sum(model.failed for model in tally.models.values()) + story.played.unanswered
    cold = sum(model.cold for model in tally.models.values())
    times = sorted(value for model in tally.models.values() for value in model.seconds)
    p95, usd = quantile(times, 0.95), _usd(story)
    total = tally.requests + story.played.unanswered
    tiles = [
        (f"{total:,}", "requests", False),
        (f"{failed:,}", f"not answered with 200 ({_part(failed, total)})", failed > 0),
        (f"{cold:,}", f"met a cold model ({_part(cold, total)}): {_cold(tally)}", False),
        ("-" if p95 is None else f"{p95:.2f} s", "P95 of all answers, to the last byte", False),
    ]
    if usd is not None:
        month = f"hosting a month at this pace; {dollars(usd)} in {show_seconds(float(round(story.span)))}"
        tiles.append((dollars(usd / story.span * MONTH), month, False))
    cells = (
        f'<div class="tile">{BAD if bad else "<b>"}{escape(big)}</b>{escape(small)}</div>' for big, small, bad in tiles
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def _cold(tally: Tally) -> str:
    models = tally.models.values()
    spilled, held = sum(one.spilled for one in models), sum(one.held for one in models)
    refused = sum(one.failed_cold for one in models)
    return f"{spilled:,} went to another target, {held:,} waited, {refused:,} got an error"


def _part(count: int, total: int) -> str:
    return f"{count / total:.2%}" if total else "none came"


def _migrations(story: Story, axis: Axis) -> Iterator[str]:
    for name, history in sorted(story.played.histories.items()):
        yield f"<h2>Migration {escape(name)}</h2>"
        if not history:
            yield "<p>Nothing was decided.</p>"
            continue
        last = history[-1]
        style = ' class="bad"' if last["event"] == "breached" else ""
        said = f"{axis.said(last['at'] - story.start)}: {last['event']}, {last['why']}"
        share = f"{last['after']:.0%} of the traffic went to the new target"
        yield f"<p{style}>Where it ended: {escape(said)}. {share}.</p>"
        standing, *waits = story.played.ends.get(name) or ("",)
        if waits:
            still = "".join(f"<li>{escape(one)}</li>" for one in waits)
            yield f"<p>It was {escape(standing)} at the end, and not done. What it still waited for:</p>"
            yield f"<ul>{still}</ul>"
        rows = (
            [
                axis.said(each["at"] - story.start),
                str(each["event"]),
                f"{each['before']:.0%} to {each['after']:.0%}" if each["before"] != each["after"] else "stays",
                str(each["why"]),
                str(each["who"]),
            ]
            for each in history
        )
        yield _table(("when (UTC)", "what", "share of the new target", "why", "by"), rows, left=5)


def _events(story: Story, key: str) -> list[tuple[float, str]]:
    """What was decided about a model: of its own migration, else of a group's, which may be its."""
    histories = story.played.histories
    names = [key] if key in histories else [name for name in histories if name not in story.tally.models]
    return [(each["at"] - story.start, f"{each['event']}, {each['why']}") for name in names for each in histories[name]]


def _models(tally: Tally) -> str:
    head = ("model", "requests", "not 200", "met cold", "P50", "P95", "P99", "first byte P95", "answered by")
    rows = []
    for key, model in sorted(tally.models.items()):
        times, first = sorted(model.seconds), sorted(model.first)
        values = [*(quantile(times, part) for part in (0.5, 0.95, 0.99)), quantile(first, 0.95)]
        answered = sum(model.answered_by.values())
        by = ", ".join(f"{name} {count / answered:.1%}" for name, count in model.answered_by.most_common())
        shown = ["-" if value is None else f"{value:.2f} s" for value in values]
        rows.append([key, f"{model.requests:,}", _failed(model), f"{model.cold:,}", *shown, by])
    return _table(head, rows)


def _failed(model: Model) -> str:
    """How many were not answered with 200, and with what instead."""
    others = ", ".join(f"{status}: {count:,}" for status, count in sorted(model.statuses.items()) if status != OK)
    return f"{model.failed:,} ({others})" if others else f"{model.failed:,}"


def _costs(story: Story) -> str:
    span = show_seconds(float(round(story.span)))
    head = ("target", f"in {span}", "a month at this pace", "for", "warm-ups", "of them met cold")
    rows = []
    for one in story.spent:
        warmed = story.tally.warmed.get(one.target)
        usd = ["-", "-"] if one.usd is None else [dollars(one.usd), dollars(one.usd / story.span * MONTH)]
        pings = ["-", "-"] if warmed is None else [f"{warmed.sent:,}", f"{warmed.met_cold:,}"]
        rows.append([one.target, *usd, one.basis, *pings])
    said = "An import costs its windows of five minutes, an instance its hours, whether it was called or not."
    if story.span < 86_400:
        said += f" A month is worked out from {span} of traffic: nights and weekends may not be in it."
    return _table(head, rows) + f'<p class="soft">{escape(said)}</p>'


def _usd(story: Story) -> float | None:
    known = [one.usd for one in story.spent if one.usd is not None]
    return sum(known) if known else None


def _pictures(model: Model, axis: Axis, events: list[tuple[float, str]]) -> Iterator[str]:
    each = axis.span / SLICES / 60
    traffic = [counts.total() / each for counts in model.shares]
    ordered = [sorted(one) for one in model.slices]
    line = "; dashed lines: what was decided about its migration" if events else ""
    part = show_seconds(float(round(axis.span / SLICES)))
    yield _figure(
        lines(axis, [("requests a minute", "c5", traffic)], "/min", "requests a minute over time", events),
        f"Answered requests a minute{line}.",
    )
    series = [(f"P{rank * 100:g}", style, [quantile(one, rank) for one in ordered])
              for rank, style in ((0.5, "c0"), (0.95, "c4"))]  # fmt: skip
    yield _figure(
        lines(axis, series, " s", "latency over time", events),
        f"Seconds to the last byte of an answer: median (P50) and 95th percentile (P95) of each {part}{line}.",
    )
    yield _figure(shares(axis, model.shares, "who answered over time", events), f"Who answered, as shares{line}.")


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(head: Sequence[str], rows: Iterator[list[str]] | Sequence[list[str]], left: int = 1) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{LEFT_CELL if number < left else ''}>{escape(cell)}</{tag}>" for number, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><tr>{cells('th', head)}</tr>{body}</table>"
