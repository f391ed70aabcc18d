"""`warm:` in a policy: what it says, what it may not, and what `check` warns of."""

from __future__ import annotations

import pytest

from policies.advice import advise
from policies.calendar import read_calendar
from policies.table import Boundary, EndpointSpec, Isolation, Route, Target, Warmup, Weighted

from .written import IMPORT, load, one_route, policy, report

TARGETS = f"""\
a: {{kind: endpoint, endpoint: a, region: us-east-1, speaks: lmi}}
b: {{kind: bedrock, model: "{IMPORT}", speaks: openai-chat, cold: {{restore: 60s..5m, idle_limit: 15m}}}}
raw: {{kind: endpoint, endpoint: raw, region: eu-west-1}}
"""


def test_warm_as_written() -> None:
    """A target that the route is not served from may be kept warm for it: a migration's next one, say."""
    hours = "Mon-Fri 06:00-20:00 America/New_York"
    route = one_route(f'serve_from: a\nwarm: {{b: {{every: 10m, jitter: 5%, copies: 2, hours: "{hours}"}}}}', TARGETS)
    (warmup,) = route.warm
    assert (warmup.target.name, warmup.target.idle_limit) == ("b", 900.0)
    assert (warmup.every, warmup.jitter, warmup.copies) == (600.0, 0.05, 2)
    assert warmup.hours == read_calendar(hours)


def test_warm_by_default() -> None:
    """Every 14 minutes, up to a tenth earlier, one copy, always."""
    (warmup,) = one_route("serve_from: a\nwarm: {a: {}}", TARGETS).warm
    assert warmup == Warmup(warmup.target, 840.0, 0.1, 1, None)
    assert one_route("serve_from: a", TARGETS).warm == ()


@pytest.mark.parametrize(
    ("warm", "path", "words"),
    [
        ("warm: {}", "endpoints.x.warm", "must not be empty"),
        ("warm: {c: {}}", "endpoints.x.warm.c", "no target is called `c`"),
        ("warm: {raw: {}}", "endpoints.x.warm.raw", "say what it `speaks`"),
        ("warm: {a: {every: 14}}", "endpoints.x.warm.a.every", "with its unit"),
        ("warm: {a: {copies: 17}}", "endpoints.x.warm.a.copies", "16"),
        ("warm: {a: {hours: 6-20}}", "endpoints.x.warm.a.hours", "write it like Mon-Fri 06:00-20:00"),
        ("warm: {a: {evry: 14m}}", "endpoints.x.warm.a.evry", "did you mean `every`"),
    ],
)
def test_warm_that_is_refused(warm: str, path: str, words: str) -> None:
    """Each mistake is told at its place, with the remedy."""
    assert words in report(policy(f"x: {{serve_from: a, {warm}}}", TARGETS))[path]


def test_boundary_binds_warm_ups() -> None:
    """A target outside the route's boundary is not warmed for it: an error of the policy, and of the table a law."""
    far = "far: {kind: endpoint, endpoint: far, region: eu-west-1, speaks: tgi}\n"
    text = policy("x: {serve_from: a, data: {regions: [us-east-1]}, warm: {far: {}}}", TARGETS + far)
    assert "outside the data boundary, which binds warm-ups too" in report(text)["endpoints.x.warm.far"]
    shared = Target("s", "endpoint", EndpointSpec("s"), isolation=Isolation.SHARED)
    inside = Target("i", "endpoint", EndpointSpec("i"))
    boundary = Boundary(isolation=Isolation.INSTANCE)
    route = Route("x", None, (Weighted(inside, 1.0),), boundary=boundary, warm=(Warmup(shared), Warmup(inside)))
    assert [one.target.name for one in route.warm] == ["i"]


def test_target_has_one_schedule() -> None:
    """Two routes that warm one target would suppress each other's; the second is told."""
    text = policy("x: {serve_from: a, warm: {a: {}}}\ny: {serve_from: a, warm: {a: {every: 5m}}}", TARGETS)
    assert report(text) == {
        "endpoints.y.warm.a": "is kept warm by x already; a target has one schedule: keep the one that is meant"
    }


def test_warm_belongs_to_the_component() -> None:
    """Beside components it would be nobody's."""
    text = policy("x: {warm: {a: {}}, components: {one: {serve_from: a, warm: {a: {}}}}}", TARGETS)
    assert list(report(text)) == ["endpoints.x.warm"]


@pytest.mark.parametrize(
    ("every", "warned"), [("14m", False), ("15m", True), ("20m", True), ("10s", False), ("1ms", True)]
)
def test_interval_that_can_not_hold(every: str, warned: bool) -> None:
    """An interval at or above the declared limit is warned of, at its place, and one that makes a load of warm-ups."""
    table = load(policy(f"x: {{serve_from: b, warm: {{b: {{every: {every}}}}}}}", TARGETS))
    found = {problem.path for problem in advise(table)}
    assert ("endpoints.x.warm.b.every" in found) is warned


def test_import_without_a_declared_restore_is_warned_of() -> None:
    """What a warm-up waits for, and takes for cold, is then a guess that one should know of."""
    bare = f'b: {{kind: bedrock, model: "{IMPORT}", speaks: openai-chat}}\n'
    for targets, warned in ((bare, True), (TARGETS, False)):
        table = load(policy("x: {components: {one: {serve_from: b, warm: {b: {}}}}}", targets))
        assert ("endpoints.x.components.one.warm.b" in {problem.path for problem in advise(table)}) is warned


@pytest.mark.parametrize(("written", "limit"), [("measured", None), ("1h", 3600.0)])
def test_idle_limit(written: str, limit: float | None) -> None:
    """It is known, or it is measured."""
    target = (
        f"b: {{kind: endpoint, endpoint: b, region: us-east-1, cold: {{restore: 1s..2s, idle_limit: {written}}}}}\n"
    )
    assert load(policy("x: {serve_from: b}", target)).targets["b"].idle_limit == limit
