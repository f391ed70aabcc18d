"""What `check` warns of in a migration: what will not happen as it was meant."""

from __future__ import annotations

import pytest

from policies.advice import advise
from policies.advice_migrate import advise_times, days

from .written import IMPORT, load, policy

COST = "cost: {instance: ml.g6e.xlarge}"
TARGETS = f"""\
a: {{kind: endpoint, endpoint: a, region: us-east-1, speaks: lmi, {COST}}}
b: {{kind: bedrock, model: "{IMPORT}", speaks: openai-completions, cold: {{restore: 60s..5m}}, cost: {{units: 2}}}}
v: {{kind: vllm, url: "http://v.internal:8000", model: m, speaks: lmi}}
"""
STEPS = "steps: [{shadow: 5%, hold: 24h}, {share: 1%, hold: 24h}, {share: 50%, approve: ann}, {share: 100%}]"
GOOD = "gates: {errors: at most +0.2 points}"


def warned(migrate: str, rest: str = "") -> dict[str, str]:
    """Warnings about the migration, by path below it."""
    text = policy(f"x: {{serve_from: a, clients_speak: lmi, migrate: {{{migrate}}}{rest}}}", TARGETS)
    base = "endpoints.x.migrate"
    return {
        problem.path.removeprefix(base): problem.message
        for problem in advise(load(text))
        if problem.path.startswith(base)
    }


@pytest.mark.parametrize(
    ("migrate", "path", "words"),
    [
        (f"to: v, {STEPS}", "", "time alone decides"),
        (f"to: v, {STEPS}, gates: {{cold_share: at most +1 points}}", ".gates", "does not look at errors"),
        (
            f"to: v, {STEPS}, gates: {{errors: at most +1 points, cost_at_full_share: at most 80%}}",
            ".gates.cost_at_full_share", "while target v has no `cost`",
        ),
        (f"to: b, {STEPS}, {GOOD}", ".to", "add `warm: {b: {}}`"),
        (f"to: v, steps: [{{share: 100%}}], {GOOD}", ".gates", "errors: never asked in these steps"),
        (f'to: v, {STEPS}, {GOOD}, freeze: "00:00-24:00 UTC"', ".freeze", "never grows"),
    ],
)  # fmt: skip
def test_warnings(migrate: str, path: str, words: str) -> None:
    """Each at its place, and nothing else."""
    found = warned(migrate)
    assert list(found) == [path]
    assert words in found[path]


def test_import_that_may_have_to_take_its_traffic_back() -> None:
    """Nobody can show what it could take, so nothing would grow: it is said, with the key that trusts it."""
    text = policy(f"x: {{serve_from: b, migrate: {{to: v, {STEPS}, {GOOD}, keep: {{b: {{unknown: wait}}}}}}}}", TARGETS)
    path = "endpoints.x.migrate.keep"
    for written, told in ((text, True), (text.replace("unknown: wait", "unknown: trust"), False)):
        found = {one.path: one.message for one in advise(load(written))}
        assert ("say `keep: {b: {unknown: trust}}`" in found.get(path, "")) is told


def test_good_migration_is_not_warned_of() -> None:
    """One with gates to a target that does not go cold, and one to an import that is kept warm."""
    assert warned(f"to: v, {STEPS}, {GOOD}") == {}
    gates = "gates: {errors: at most +1 points, cost_at_full_share: at most 80%}"
    assert warned(f"to: b, {STEPS}, {gates}", ", warm: {b: {}}") == {}


def test_candidate_is_a_target_that_is_used() -> None:
    """It is not called unused, and what its kind lacks concerns the endpoint that moves there."""
    table = load(policy(f"x: {{serve_from: a, clients_speak: lmi, migrate: {{to: v, {STEPS}}}}}", TARGETS))
    found = {problem.path: problem.message for problem in advise(table)}
    assert "clients of x that use" in found["targets.v.kind"]
    assert "targets.v" not in found
    assert "no endpoint uses it" in found["targets.b"]


def times(rate: float, gates: str = "errors: at most +0.2 points") -> dict[str, str]:
    text = policy(f"x: {{serve_from: a, clients_speak: lmi, migrate: {{to: v, {STEPS}, gates: {{{gates}}}}}}}", TARGETS)
    (plan,) = load(text).migrations.values()
    return {problem.path: problem.message for problem in advise_times(plan, {"x": rate})}


def test_traffic_decides_how_long_a_step_lasts() -> None:
    """Where a day has too few requests for the gate, it says how many, how long, and what so few can see."""
    found = times(0.58)
    step = found["endpoints.x.migrate.steps[1]"]
    assert step.startswith("holds 24h, and errors needs about ")
    assert "at 0.58/s; the 501 of its hold can't see +0.2 points, only +" in step
    assert found["endpoints.x.migrate.steps[2]"].endswith("it lasts until then, or until somebody promotes it")
    assert "endpoints.x.migrate.steps[3]" not in found
    assert times(10_000.0) == {}


def test_other_gates_need_time_as_well() -> None:
    """A latency's need is told without a word about errors."""
    (path, told), *_ = times(0.1, "latency_p95: at most +10% relative").items()
    assert (path, "latency_p95 needs about" in told) == ("endpoints.x.migrate.steps[0]", True)
    assert "promotes it" in told


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1 minute"), (5000, "83 minutes"), (20_000, "6 hours"), (172_799, "48 hours"), (864_000, "10.0 days")],
)
def test_times_for_people(seconds: float, words: str) -> None:
    """Nobody plans in seconds."""
    assert days(seconds) == words


def test_a_budget_wants_to_know_what_a_copy_costs() -> None:
    """Without a `cost` an import is charged as a large one, and the day's copies end early."""
    steps = "steps: [{shadow: 5%, hold: 24h, budget: 40 USD/day}, {share: 100%}]"
    targets = TARGETS.replace(", cost: {units: 2}", "")
    text = policy(f"x: {{serve_from: a, clients_speak: lmi, migrate: {{to: b, {steps}, {GOOD}}}}}", targets)
    (found,) = [problem for problem in advise(load(text)) if problem.path.endswith(".budget")]
    assert found.path == "endpoints.x.migrate.steps[0].budget"
    assert "add `cost: {units: 2}`" in found.message
    assert not [path for path in warned(f"to: b, {steps}, {GOOD}") if path.endswith(".budget")]
