"""What clients of a rehearsal ask."""

from __future__ import annotations

import json

import pytest

from policies.table import EndpointSpec, Route, Sticky, Target, Weighted
from proxy.rehearsal.questions import CALLERS, Questions

TARGET = Target("gpu", "endpoint", EndpointSpec("gpu"))


def route(speaks: str = "openai-chat", sticky: Sticky | None = None, component: str | None = None) -> Route:
    serve = (Weighted(TARGET, 1.0),)
    return Route("inline", component, serve, clients_speak=speaks, sticky=sticky or Sticky())


@pytest.mark.parametrize(
    ("dialect", "key"),
    [
        ("openai-chat", "messages"),
        ("openai-completions", "prompt"),
        ("bedrock-completion", "max_gen_len"),
        ("tgi", "inputs"),
        ("lmi", "inputs"),
        ("opaque", "text"),
    ],
)
def test_bodies_are_in_the_clients_dialect(dialect: str, key: str) -> None:
    """Each dialect's body has its own key."""
    assert key in json.loads(Questions(0, 0.0).next(route(dialect)).body)


def test_streams_are_asked_for_in_url_and_body() -> None:
    """With a share of one every request is for a stream."""
    asked = Questions(0, 1.0).next(route())
    assert asked.path == "/endpoints/inline/invocations-response-stream"
    assert json.loads(asked.body)["stream"] is True


@pytest.mark.parametrize(
    ("sticky", "name"),
    [
        (Sticky("session"), "X-Amzn-SageMaker-Session-Id"),
        (Sticky("inference-id"), "X-Amzn-SageMaker-Inference-Id"),
        (Sticky("header", "x-tenant"), "x-tenant"),
    ],
)
def test_callers_are_told_apart_by_what_the_route_is_sticky_by(sticky: Sticky, name: str) -> None:
    """Many callers come, each again and again."""
    questions = Questions(0, 0.0)
    seen = {dict(questions.next(route(sticky=sticky)).headers)[name] for _ in range(5 * CALLERS)}
    assert 0.9 * CALLERS < len(seen) <= CALLERS


def test_callers_are_told_apart_by_the_body() -> None:
    """Where the split looks at the body, bodies differ; components are named in their header."""
    questions = Questions(0, 0.0)
    asked = [questions.next(route(sticky=Sticky("prefix", prefix=64), component="one")) for _ in range(20)]
    assert len({one.body for one in asked}) > 1
    assert all(("X-Amzn-SageMaker-Inference-Component", "one") in one.headers for one in asked)


def test_the_same_seed_asks_the_same() -> None:
    """Another seed asks otherwise."""
    sticky = route(sticky=Sticky("session"))
    first, again, other = ([Questions(seed, 0.5).next(sticky) for _ in range(1)] for seed in (1, 1, 2))
    assert first == again != other
