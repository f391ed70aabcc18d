"""What a route says of cold targets."""

from __future__ import annotations

import pytest

from tests.policies.written import IMPORT, load, one_route, policy, report

COLD = f"{{kind: bedrock, model: '{IMPORT}', speaks: openai-chat, cold: {{restore: 60s..5m}}}}"
TARGETS = f"c: {COLD}\na: {{}}"


@pytest.mark.parametrize(
    ("block", "when", "status"),
    [
        ("serve_from: c\nfallback: [a]", "spill", None),
        ("serve_from: c", "fail", None),
        ("serve_from: c\nfallback: [a]\nwhen_cold: fail\ncold_status: 503", "fail", 503),
        ("serve_from: c\nwhen_cold: hold\ncold_status: 429", "hold", 429),
        ("serve_from: c\nfallback: [a]\nwhen_cold: spill", "spill", None),
    ],
)
def test_what_is_written_and_what_goes_without_saying(block: str, when: str, status: int | None) -> None:
    """A route with a fallback spills unless it says otherwise, one without fails."""
    route = one_route(block, TARGETS)
    assert (route.when_cold, route.cold_status) == (when, status)


def test_spill_needs_a_place_to_go() -> None:
    """A fallback, and as for all fallbacks one inside the boundary of data."""
    alone = report(policy("x: {serve_from: c, when_cold: spill}", TARGETS))
    assert "there is no fallback" in alone["endpoints.x.when_cold"]
    far = "x: {serve_from: a, fallback: [c], when_cold: spill, data: {isolation: instance}}"
    assert "lies outside the data boundary" in report(policy(far, TARGETS))["endpoints.x.fallback[0]"]


def test_hold_must_be_able_to_serve() -> None:
    """A target that takes longer than any deadline would hold everyone for nothing; a stream may have the time."""
    never = "x: {serve_from: c, when_cold: hold, stream_timeout: 60s}"
    assert "takes at least 1m" in report(policy(never, TARGETS))["endpoints.x.when_cold"]
    assert report(policy("x: {serve_from: c, when_cold: hold}", TARGETS)) == {}


def test_components_take_it_from_their_endpoint() -> None:
    """Unless they say their own."""
    components = "components: {y: {serve_from: c}, z: {serve_from: c, when_cold: fail}}"
    text = f"x: {{when_cold: hold, cold_status: 503, {components}}}"
    table = load(policy(text, TARGETS))
    assert [(table.routes["x", name].when_cold, table.routes["x", name].cold_status) for name in "yz"] == [
        ("hold", 503),
        ("fail", 503),
    ]


@pytest.mark.parametrize(("key", "value"), [("when_cold", "wait"), ("cold_status", "500"), ("cold_status", "'503'")])
def test_other_words_are_refused(key: str, value: str) -> None:
    """There are three answers and two statuses."""
    assert list(report(policy(f"x: {{serve_from: c, {key}: {value}}}", TARGETS))) == [f"endpoints.x.{key}"]
