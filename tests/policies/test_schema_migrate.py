"""The words of `migrate`: bounds, steps and times as people write them, and what is said of a mistake."""

from __future__ import annotations

import pytest

from policies.migrating import Gate, Measure

from .written import load, policy, report

STEPS = "steps: [{shadow: 5%, hold: 24h}, {share: 5%, hold: 3d}, {share: 100%}]"


def gates(written: str) -> tuple[Gate, ...]:
    text = policy(f"x: {{serve_from: a, migrate: {{to: b, {STEPS}, gates: {{{written}}}}}}}")
    return load(text).migrations["x"].members[0].gates


@pytest.mark.parametrize(
    ("written", "measure", "allowed"),
    [
        ("errors: at most +0.2 points", Measure.ERRORS, 0.002),
        ("cold_share: at most +10 points", Measure.COLD_SHARE, 0.1),
        ("latency_p95: at most +10% relative", Measure.LATENCY_P95, 0.1),
        ("latency_p99: at most +120% relative", Measure.LATENCY_P99, 1.2),
        ("first_byte_p95: at most +7.5% relative", Measure.FIRST_BYTE_P95, 0.075),
        ("first_byte_p99: at most +3% relative", Measure.FIRST_BYTE_P99, 0.03),
        ("agreement: at least 0.97 of the A/A floor", Measure.AGREEMENT, 0.97),
        ("agreement: at least 1 of the A/A floor", Measure.AGREEMENT, 1.0),
        ("cost_at_full_share: at most 80%", Measure.COST, 0.8),
    ],
)
def test_bounds_read_aloud(written: str, measure: Measure, allowed: float) -> None:
    """Points are of a hundred, relative ones of the old target's value, parts of its cost."""
    (gate,) = gates(written)
    assert gate.measure is measure
    assert gate.allowed == pytest.approx(allowed)


@pytest.mark.parametrize(
    ("block", "path", "words"),
    [
        ("gates: {errors: at most +0.2%}", "gates.errors", "write it like `at most +0.2 points`"),
        ("gates: {errors: at most +0 points}", "gates.errors", "more than 0 and less than 100 points"),
        ("gates: {errors: 0.2}", "gates.errors", "such as at most +0.2 points"),
        ("gates: {latency_p95: at most 10%}", "gates.latency_p95", "at most +10% relative"),
        ("gates: {agreement: at least 1.2 of the A/A floor}", "gates.agreement", "at least 0.97 of the A/A floor"),
        ("gates: {cost_at_full_share: at most +80%}", "gates.cost_at_full_share", "at most 80%"),
        ("gates: {error: at most +1 points}", "gates.error", "did you mean `errors`?"),
        ("false_alarms: 0%", "false_alarms", "greater than or equal to 0.01%"),
        ("false_alarms: 30%", "false_alarms", "less than or equal to 20%"),
        ("on_breach: {errors: home}", "on_breach.errors", "must be 'start' or 'last-good'"),
        ("freeze: Friday", "freeze", "write it like Fri 16:00 - Mon 08:00 America/New_York"),
        ("keep: {a: {until: 14d}}", "keep.a.until", "write it like 14d after 100%"),
        ("keep: {a: {}, b: {}}", "keep", "at most 1"),
    ],
)
def test_mistakes(block: str, path: str, words: str) -> None:
    """Each is told at its place, with the right way to write it."""
    found = report(policy(f"x: {{serve_from: a, migrate: {{to: b, {STEPS}, {block}}}}}"))
    assert words in found[f"endpoints.x.migrate.{path}"]


@pytest.mark.parametrize(
    ("step", "path", "words"),
    [
        ("{shadow: 0%, hold: 1h}", "shadow", "greater than 0"),
        ("{share: 5%, hold: 100d}", "hold", "is more than 90d"),
        ("{share: 5%, hold: 1 day}", "hold", "write it like 4h, 3d or 1d12h"),
        ("{shadow: 5%, hold: 1h, budget: 40}", "budget", "such as 40 USD/day"),
        ("{shadow: 5%, hold: 1h, budget: $40}", "budget", "write it like 40 USD/day"),
    ],
)
def test_mistakes_of_a_step(step: str, path: str, words: str) -> None:
    """The step is named by its number."""
    found = report(policy(f"x: {{serve_from: a, migrate: {{to: b, steps: [{step}, {{share: 100%}}]}}}}"))
    assert words in found[f"endpoints.x.migrate.steps[0].{path}"]
