"""A plan in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from policies.quantities import show_seconds
from warmers.economics import Action, Choice, Outcome, Verdict, dollars
from warmers.plan import Comparison, Plan, Terms

_INSTANCES = "-"


def report(plan: Plan, terms: Terms, policy: str) -> str:
    """The whole plan for a terminal, a table a model and the conclusion last."""
    lines = [*_head(terms, policy)]
    for comparison in plan.comparisons:
        lines += ["", *_of_model(plan, comparison, terms)]
    return "\n".join([*lines, "", *_conclusion(plan)])


def _head(terms: Terms, policy: str) -> Iterator[str]:
    prices = terms.prices
    yield (
        f"{policy}: USD a month, prices of {prices.date} ({prices.source}); a month is {prices.instance_hours:g} hours "
        f"of an instance and {prices.window_days:g} days of an import"
    )
    yield (
        f"at most {_percent(terms.demand.cold_share)} of requests may meet a cold model; decided for an idle limit of "
        f"{show_seconds(terms.idle_limit)}, which sources put at 5, 15 or 60 minutes"
    )


def _of_model(plan: Plan, comparison: Comparison, terms: Terms) -> Iterator[str]:
    amount = f"{comparison.requests:,.0f} requests a month, {comparison.busiest_minute:,} in the busiest minute"
    yield f"{comparison.key}: {amount}"
    verdict = plan.verdict(comparison)
    limits = [f"cold at {show_seconds(limit)}" for limit in terms.limits]
    rows = [("", "target", "kept warm", "USD", "windows/day", *limits)]
    for choice in comparison.choices:
        mark = ("*" if choice is verdict.best else " ") + ("today" if choice is comparison.today else "")
        outcome = choice.outcomes[plan.idle_limit]
        colds = [_cold(choice.outcomes[limit]) for limit in terms.limits]
        windows = f"{outcome.windows_a_day:.1f}" if outcome.windows_a_day else _INSTANCES
        rows.append((mark, choice.target, choice.how, f"{outcome.usd:,.0f}", windows, *colds))
    yield from _table(rows)
    yield f"  -> {_sentence(verdict)}"
    others = [limit for limit in terms.limits if limit != plan.idle_limit]
    differing = [
        f"at {show_seconds(limit)}: {_short(comparison.verdicts[limit])}"
        for limit in others
        if _short(comparison.verdicts[limit]) != _short(verdict)
    ]
    if differing:
        yield f"     With another idle limit it would be different: {'; '.join(differing)}"
    if comparison.missing:
        yield f"     Not compared, for they have no `cost`: {', '.join(comparison.missing)}"
    if comparison.shared_with:
        yield f"     Today's hosting is charged in even parts with {', '.join(comparison.shared_with)}"


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
        yield "  " + "  ".join([*left, *right]).rstrip()


def _sentence(verdict: Verdict) -> str:
    if verdict.best is None:
        return f"{verdict.action.value}: {verdict.reason}"
    if verdict.action is Action.STAY:
        return f"stay: {verdict.reason}"
    change = f"saves {dollars(verdict.saving)}" if verdict.saving >= 0 else f"costs {dollars(-verdict.saving)} more"
    where = f"move to {verdict.best.name}" if verdict.action is Action.MOVE else f"stay on {verdict.best.name}"
    return f"{where}: {change} a month; {verdict.reason}"


def _short(verdict: Verdict) -> str:
    if verdict.best is None or verdict.action is Action.STAY:
        return verdict.action.value
    return f"{'move to' if verdict.action is Action.MOVE else 'stay on'} {verdict.best.name}"


def _conclusion(plan: Plan) -> Iterator[str]:
    yield from _group(plan, "Move", plan.moves)
    yield from _group(plan, "Do not move", plan.stays)
    if plan.unknown:
        yield from _group(plan, "Cannot be told", plan.unknown)
    proxies = plan.proxies if plan.moves else 0.0
    after = plan.planned + proxies
    with_proxies = f" of which proxies {dollars(proxies)}" if proxies else ""
    yield (
        f"Today {dollars(plan.today)} a month, as planned {dollars(after)}{with_proxies}: "
        + (
            f"saves {dollars(plan.today - after)}"
            if after <= plan.today
            else f"costs {dollars(after - plan.today)} more"
        )
    )
    for note in plan.notes:
        yield f"Note: {note}"


def _group(plan: Plan, title: str, comparisons: tuple[Comparison, ...]) -> Iterator[str]:
    """Models with one line of why each; those where most money moves, or stands still, come first."""
    yield f"{title} ({len(comparisons)}):" + ("" if comparisons else " none")
    width = max((len(each.key) for each in comparisons), default=0)
    for each in sorted(comparisons, key=lambda each: -plan.at_stake(each)):
        said = _sentence(plan.verdict(each)).removeprefix("stay: ").removeprefix("cannot be told: ")
        yield f"  {each.key.ljust(width)}  {said}"


def _cold(outcome: Outcome) -> str:
    if not outcome.windows_a_day and not outcome.cold:
        return _INSTANCES
    return _percent(outcome.cold_share)


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%" if share < 0.0995 else f"{share:.0%}"


def as_json(plan: Plan, terms: Terms) -> dict[str, Any]:
    """The plan with nothing left out."""
    return {
        "prices": {"date": str(terms.prices.date), "file": terms.prices.source},
        "month": {"instance_hours": terms.prices.instance_hours, "window_days": terms.prices.window_days},
        "idle_limit": plan.idle_limit,
        "cold_share": terms.demand.cold_share,
        "today_usd": round(plan.today, 2),
        "planned_usd": round(plan.planned, 2),
        "proxies_usd": round(plan.proxies, 2),
        "move": [each.key for each in plan.moves],
        "stay": [each.key for each in plan.stays],
        "unknown": [each.key for each in plan.unknown],
        "models": [_model_json(plan, each) for each in plan.comparisons],
        "notes": list(plan.notes),
    }


def _model_json(plan: Plan, comparison: Comparison) -> dict[str, Any]:
    return {
        "model": comparison.key,
        "requests": round(comparison.requests, 1),
        "busiest_minute": comparison.busiest_minute,
        "verdict": _verdict_json(plan.verdict(comparison)),
        "verdicts": {show_seconds(limit): _verdict_json(each) for limit, each in comparison.verdicts.items()},
        "choices": [_choice_json(each, each is comparison.today) for each in comparison.choices],
        "without_cost": list(comparison.missing),
        "shared_with": list(comparison.shared_with),
    }


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    best = verdict.best
    return {
        "action": verdict.action.name.lower(),
        "target": best.target if best else None,
        "how": best.how if best else None,
        "saving_usd": round(verdict.saving, 2),
        "reason": verdict.reason,
    }


def _choice_json(choice: Choice, today: bool) -> dict[str, Any]:
    return {
        "target": choice.target,
        "how": choice.how,
        "today": today,
        "committed_usd": round(choice.sunk, 2),
        "fixed_usd": round(choice.fixed, 2),
        "by_idle_limit": {
            show_seconds(limit): {
                "usd": round(outcome.usd, 2),
                "cold_requests": round(outcome.cold, 1),
                "cold_share": round(outcome.cold_share, 6),
                "windows_a_day": round(outcome.windows_a_day, 2),
                "pings": round(outcome.pings, 1),
            }
            for limit, outcome in choice.outcomes.items()
        },
    }
