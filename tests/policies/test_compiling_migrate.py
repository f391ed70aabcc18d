"""`migrate` in a policy: what it means, what it takes for granted, and what it may not say."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from policies.calendar import read_window
from policies.migrating import Approvals, Gate, Keep, Measure, Member, Migration, Step

from .written import IMPORT, load, policy, problems, report

TARGETS = f"""\
a: {{kind: endpoint, endpoint: a, region: us-east-1, speaks: lmi}}
b: {{kind: bedrock, model: "{IMPORT}", speaks: openai-completions}}
v: {{kind: vllm, url: "http://v.internal:8000", model: m, adapter: r1, speaks: lmi}}
chat: {{kind: endpoint, endpoint: chat, component: c, region: us-east-1, speaks: openai-chat}}
far: {{kind: endpoint, endpoint: far, region: eu-west-1, speaks: lmi}}
"""
STEPS = "steps: [{share: 5%, hold: 24h}, {share: 100%}]"


def written(migrate: str, rest: str = "serve_from: a, clients_speak: lmi, owner: team") -> str:
    return policy(f"x: {{{rest}, migrate: {{{migrate}}}}}", TARGETS)


WHOLE = """\
x:
  owner: team
  clients_speak: lmi
  serve_from: a
  migrate:
    to: b
    steps:
      - {shadow: 5%, hold: 24h, budget: 40 USD/day}
      - {share: 1%, shadow: 2%, hold: 1d12h}
      - {share: 50%, approve: owner}
      - {share: 100%}
    gates:
      errors: at most +0.2 points
      agreement: at least 0.97 of the A/A floor
    false_alarms: 2%
    on_breach: {errors: start, otherwise: last-good}
    freeze: "Fri 16:00 - Mon 08:00 America/New_York"
    keep: {a: {can_take: 80%, until: 7d after 100%, unknown: trust}}
    approvals: {by: [ann, bob], four_eyes: true}
"""


def test_migration_as_written() -> None:
    """Every key has its place in the plan, and nothing is guessed."""
    member = Member(
        "x", "a", "b", (Gate(Measure.ERRORS, 0.002), Gate(Measure.AGREEMENT, 0.97)),
        Keep(0.8, 7 * 86_400.0, trust=True), f"us-east-1 a/ -> {IMPORT}",
    )  # fmt: skip
    steps = (
        Step(0.0, 0.05, 86_400.0, None, 40.0),
        Step(0.01, 0.02, 129_600.0),
        Step(0.5, approve="owner"),
        Step(1.0),
    )
    freeze = read_window("Fri 16:00 - Mon 08:00 America/New_York")
    expected = Migration(
        "x", (member,), steps, 0.02, frozenset({Measure.ERRORS}), freeze, Approvals(("ann", "bob"), four_eyes=True)
    )
    (name, migration), *others = load(policy(WHOLE, TARGETS)).migrations.items()
    assert (name, migration, others) == ("x", expected, [])
    assert migration.source_line > 0


def test_migration_by_default() -> None:
    """No gates, one false alarm in a hundred, a step back on a breach, all of the load kept for two weeks."""
    migration = load(written(f"to: b, {STEPS}")).migrations["x"]
    assert (migration.false_alarms, migration.to_start, migration.freeze) == (0.01, frozenset(), None)
    assert (migration.members[0].gates, migration.members[0].keep) == ((), Keep(1.0, 14 * 86_400.0))


def test_everything_to_the_start() -> None:
    """`otherwise` is every gate that is not named."""
    migration = load(written(f"to: b, {STEPS}, on_breach: {{otherwise: start}}")).migrations["x"]
    assert migration.to_start == frozenset(Measure)


@pytest.mark.parametrize(
    ("migrate", "path", "words"),
    [
        (f"to: z, {STEPS}", "to", "no target is called `z`"),
        (f"to: a, {STEPS}", "to", "serves it already"),
        (f"to: chat, {STEPS}", "to", "becomes a chat only on the policy's word"),
        ("to: b, steps: [{hold: 1h}, {share: 100%}]", "steps[0]", "neither `shadow: 5%` nor `share: 5%`"),
        ("to: b, steps: [{share: 5%}, {share: 100%}]", "steps[0]", "give `hold: 24h`, or `approve: owner`"),
        ("to: b, steps: [{share: 5%, hold: 1h}, {share: 5%, hold: 1h}, {share: 100%}]", "steps[1]", "5% after 5%"),
        ("to: b, steps: [{share: 5%, hold: 1h}, {shadow: 5%, hold: 1h}, {share: 100%}]", "steps[1]", "come first"),
        ("to: b, steps: [{shadow: 5%, hold: 1h}, {shadow: 2%, hold: 1h}, {share: 100%}]", "steps[1]", "2% after 5%"),
        ("to: b, steps: [{share: 5%, hold: 1h, budget: 9 USD/day}, {share: 100%}]", "steps[0]", "it is for copies"),
        ("to: b, steps: [{share: 5%, hold: 1h}]", "steps[0]", "is not `share: 100%`"),
        ("to: b, steps: [{share: 100%}, {share: 100%}]", "steps[1]", "100% after 100%"),
        ("to: b, steps: [{share: 100%, shadow: 5%}]", "steps[0]", "leave it out"),
        ("to: b, steps: [{share: 100%, approve: ann}]", "steps[0]", "in the step before"),
        (f"to: b, {STEPS}, keep: {{b: {{}}}}", "keep.b", "`a` that the traffic would go back to"),
        (f"to: b, {STEPS}, approvals: {{by: [ann]}}", "approvals", "no step asks for it; add `approve: owner`"),
        ("to: b, steps: [{share: 5%, approve: ann}, {share: 100%}], approvals: {}", "approvals", "give `by: [names]`"),
        (f"to: b, {STEPS}, on_breach: {{errors: start}}", "on_breach.errors", "does not have"),
        (f"to: b, {STEPS}, gates: {{agreement: at least 0.9 of the A/A floor}}", "gates.agreement", "add a step"),
        (f"to: b, {STEPS}, gates: {{latency_p95: at most +2% relative}}", "gates.latency_p95", "3%"),
    ],
)
def test_migration_that_is_refused(migrate: str, path: str, words: str) -> None:
    """One mistake, one problem, at its place and with a remedy."""
    found = report(written(migrate))
    assert list(found) == [f"endpoints.x.migrate.{path}"]
    assert words in found[f"endpoints.x.migrate.{path}"]


def test_never_beside_a_split() -> None:
    """The share moves between exactly two targets."""
    found = report(written(f"to: b, {STEPS}", "split: {a: 50, v: 50}, clients_speak: lmi"))
    assert found == {
        "endpoints.x.migrate": "stands beside split; a migration moves between exactly two targets: give serve_from "
        "instead"
    }


def test_route_that_is_not_served_is_told_of_once() -> None:
    """What is wrong with the route is not said again of its migration."""
    assert list(report(written(f"to: b, {STEPS}", "serve_from: z"))) == ["endpoints.x.serve_from"]
    assert list(report(written(f"to: b, {STEPS}", "fallback: []"))) == ["endpoints.x"]


def test_approval_needs_somebody() -> None:
    """`owner` is the endpoint's; where there is none, a name has to be given."""
    steps = "steps: [{share: 5%, approve: owner}, {share: 100%}]"
    assert (
        "the endpoint has none" in report(written(f"to: b, {steps}", "serve_from: a"))["endpoints.x.migrate.steps[0]"]
    )
    assert report(written(f"to: b, {steps.replace('owner', 'ann')}", "serve_from: a")) == {}


def test_boundary_binds_the_candidate() -> None:
    """Where data may not go, it does not migrate to."""
    found = report(written(f"to: far, {STEPS}", "serve_from: a, data: {regions: [us-east-1]}"))
    assert "lies outside the data boundary" in found["endpoints.x.migrate.to"]


def test_beside_components_it_would_be_nobodys() -> None:
    """Each component migrates by itself, under its own name."""
    block = f"migrate: {{to: v, {STEPS}}}"
    text = policy(f"x: {{{block}, components: {{one: {{serve_from: a, {block}}}}}}}", TARGETS)
    assert list(report(text)) == ["endpoints.x.migrate"]
    table = load(policy(f"x: {{components: {{one: {{serve_from: a, {block}}}}}}}", TARGETS))
    assert [(name, one.members[0].route) for name, one in table.migrations.items()] == [("x/one", "x/one")]


def group(x: str = "", y: str = "", steps: str = STEPS) -> str:
    lines = f"""\
    x: {{serve_from: a, migrate: {{to: v, group: g, {STEPS}{x}}}}}
    y: {{serve_from: a, migrate: {{to: far, group: g, {steps}{y}}}}}
    """
    return policy(textwrap.dedent(lines), TARGETS)


def test_group_is_one_migration() -> None:
    """Under its name, with every member's own targets, gates and keep."""
    (migration,) = load(group(y=", gates: {errors: at most +1 points}, keep: {a: {can_take: 50%}}")).migrations.values()
    assert (migration.name, [one.route for one in migration.members]) == ("g", ["x", "y"])
    assert [one.new for one in migration.members] == ["v", "far"]
    assert [len(one.gates) for one in migration.members] == [0, 1]
    assert [one.keep.can_take for one in migration.members] == [1.0, 0.5]


@pytest.mark.parametrize(
    ("y", "steps", "key"),
    [
        ("", "steps: [{share: 6%, hold: 24h}, {share: 100%}]", "steps"),
        (", false_alarms: 5%", STEPS, "false_alarms"),
        (", on_breach: {otherwise: start}", STEPS, "on_breach"),
        (', freeze: "Sat 00:00-24:00 UTC"', STEPS, "freeze"),
    ],
)
def test_group_says_alike_what_it_shares(y: str, steps: str, key: str) -> None:
    """They move as one: what differs is told at the later member."""
    assert report(group(y=y, steps=steps)) == {
        f"endpoints.y.migrate.{key}": "differs from that of x; a group moves as one, so that its members say it alike"
    }


def test_group_is_approved_by_the_same_people() -> None:
    """One approval is for all of its members."""
    text = group(y=", approvals: {by: [ann]}", steps="steps: [{share: 5%, approve: ann}, {share: 100%}]")
    found = report(text.replace("hold: 24h", "approve: ann"))
    assert list(found) == ["endpoints.y.migrate.approvals"]


def test_group_has_a_name_of_its_own() -> None:
    """A command that names it must not mean an endpoint that migrates by itself."""
    alone, member = (f"{{serve_from: a, migrate: {{to: v, {group}{STEPS}}}}}" for group in ("", "group: g, "))
    text = policy(f"g: {alone}\ny: {member}", TARGETS)
    assert "is the name of an endpoint that migrates by itself" in report(text)["endpoints.y.migrate.group"]


@pytest.mark.parametrize(
    ("change", "another"),
    [
        ((IMPORT, IMPORT.replace("abcdefghij12", "zzzzzzzzzz99")), True),
        (("endpoint: a,", "endpoint: a2,"), True),
        (("to: b", "to: v"), True),
        (("region: us-east-1, speaks: lmi", "region: us-east-1, first_byte: 5s, speaks: lmi"), False),
    ],
)
def test_release_is_what_the_names_stand_for(change: tuple[str, str], another: bool) -> None:
    """A new ARN under the same name is a migration of its own; a limit is not."""
    text = policy(WHOLE, TARGETS)
    first, second = (load(one).migrations["x"] for one in (text, text.replace(*change)))
    assert (first.identity != second.identity) is another


def test_adapter_is_a_release() -> None:
    """Another adapter on the same engine answers differently; another replica does not."""
    text = written(f"to: v, {STEPS}")
    first = load(text).migrations["x"].identity
    assert load(text.replace("adapter: r1", "adapter: r2")).migrations["x"].identity != first
    assert load(text.replace("v.internal", "w.internal")).migrations["x"].identity == first


def test_problems_come_all_at_once() -> None:
    """Two mistakes in two steps and one in the gates are three problems of one report."""
    text = written("to: b, steps: [{hold: 1h}, {share: 5%}, {share: 100%}], gates: {latency_p99: at most +1% relative}")
    assert len(problems(text)) == 3


def test_the_page_shows_what_loads() -> None:
    """The policy of docs/migrations.md means what the page says: five steps, three gates, and no mistake."""
    page = (Path(__file__).parents[2] / "docs" / "migrations.md").read_text()
    shown = page.split("```yaml\nendpoints:\n")[1].split("```")[0]
    targets = f"""\
    apexguru-gpu: {{kind: endpoint, endpoint: a, region: us-east-1, speaks: openai-chat}}
    apexguru-import: {{kind: bedrock, model: "{IMPORT}", speaks: openai-chat}}
    """
    migration = load(policy(shown, textwrap.dedent(targets))).migrations["apexguru"]
    assert [(step.shadow, step.share) for step in migration.steps] == [(0.05, 0), (0, 0.01), (0, 0.1), (0, 0.5), (0, 1)]
    assert (len(migration.members[0].gates), migration.to_start) == (3, frozenset({Measure.ERRORS}))
