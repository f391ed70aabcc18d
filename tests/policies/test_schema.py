"""What one block of a policy may say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from policies.schema import BedrockTarget, Component, Defaults, Endpoint, EndpointTarget, Expect, Policy, VllmTarget

from .written import IMPORT

ENDPOINT = {"kind": "endpoint", "endpoint": "a", "region": "us-east-1"}
BEDROCK = {"kind": "bedrock", "model": IMPORT, "speaks": "openai-chat"}
VLLM = {"kind": "vllm", "url": "http://h:8000", "model": "m"}


def policy(**changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "pointsman/v1",
        "account": "123456789012",
        "targets": {"a": ENDPOINT},
        "endpoints": {"x": {"serve_from": "a"}},
    } | changes


def refused(model: type[Any], data: dict[str, Any]) -> set[tuple[str | int, ...]]:
    """Where a block is refused."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    return {error["loc"] for error in caught.value.errors()}


def test_smallest_policy() -> None:
    """Version, account, a target and an endpoint are enough; SageMaker's deadlines hold."""
    read = Policy.model_validate(policy())
    assert (read.defaults.timeout, read.defaults.stream_timeout, read.defaults.retry) == (60.0, 480.0, None)
    assert isinstance(read.targets["a"], EndpointTarget)


@pytest.mark.parametrize("key", ["apiVersion", "account", "targets", "endpoints"])
def test_required_key(key: str) -> None:
    """Without one of these there is no policy."""
    assert refused(Policy, {name: value for name, value in policy().items() if name != key}) == {(key,)}


@pytest.mark.parametrize(
    ("key", "value"),
    [("apiVersion", "pointsman/v2"), ("account", "12345"), ("account", 123456789012), ("account", "12345678901x"),
     ("targets", []), ("endpoints", None), ("defaults", [])],
)  # fmt: skip
def test_wrong_value_at_the_top(key: str, value: object) -> None:
    """Nothing is converted: an account that is a number has lost its leading zeros already."""
    assert refused(Policy, policy(**{key: value})) == {(key,)}


@pytest.mark.parametrize(
    ("kind", "model", "data"),
    [("endpoint", EndpointTarget, ENDPOINT), ("bedrock", BedrockTarget, BEDROCK), ("vllm", VllmTarget, VLLM)],
)
def test_kind_chooses_the_block(kind: str, model: type[Any], data: dict[str, Any]) -> None:
    """A target is read as its kind, and the keys of another kind are unknown to it."""
    read = Policy.model_validate(policy(targets={"t": data})).targets["t"]
    assert isinstance(read, model)
    other = {"endpoint": "guardrail", "bedrock": "adapter", "vllm": "component"}[kind]
    assert refused(Policy, policy(targets={"t": data | {other: "x"}})) == {("targets", "t", kind, other)}


def test_target_read_already_is_of_its_kind() -> None:
    """A model may be put into a model, as tests and tools do."""
    assert Policy.model_validate(policy(targets={"t": VllmTarget.model_validate(VLLM)})).targets["t"].kind == "vllm"


@pytest.mark.parametrize("data", [{}, {"kind": "other"}, {"kind": 3}, "endpoint", None])
def test_target_without_a_known_kind(data: object) -> None:
    """A target has to say what it is."""
    assert refused(Policy, policy(targets={"t": data})) == {("targets", "t")}


@pytest.mark.parametrize(
    ("model", "data", "key", "value"),
    [
        (EndpointTarget, ENDPOINT, "endpoint", "-a"),
        (EndpointTarget, ENDPOINT, "endpoint", "a" * 64),
        (EndpointTarget, ENDPOINT, "component", "a_b"),
        (EndpointTarget, ENDPOINT, "region", "US East"),
        (EndpointTarget, ENDPOINT, "url", "models.internal"),
        (EndpointTarget, ENDPOINT, "sign", "on"),
        (EndpointTarget, ENDPOINT, "sign", 1),
        (EndpointTarget, ENDPOINT, "speaks", "openai"),
        (EndpointTarget, ENDPOINT, "isolation", "strong"),
        (EndpointTarget, ENDPOINT, "accepts_data", []),
        (EndpointTarget, ENDPOINT, "body_limit", 25),
        (EndpointTarget, ENDPOINT, "body_limit", "0B"),
        (EndpointTarget, ENDPOINT, "connect_timeout", 2),
        (EndpointTarget, ENDPOINT, "connect_timeout", "0s"),
        (EndpointTarget, ENDPOINT, "connect_timeout", "25h"),
        (EndpointTarget, ENDPOINT, "trace_in_custom_attributes", "yes"),
        (BedrockTarget, BEDROCK, "model", "abcdefghij12"),
        (BedrockTarget, BEDROCK, "speaks", "tgi"),
        (BedrockTarget, BEDROCK, "speaks", "opaque"),
        (VllmTarget, VLLM, "urls", []),
        (VllmTarget, VLLM, "model", " m"),
        (Component, {}, "sticky_by", "cookie"),
        (Component, {}, "sticky_by", "header:"),
        (Component, {}, "sticky_by", "header:a b"),
        (Component, {}, "split", {}),
        (Component, {}, "wave", 1.5),
        (Component, {}, "wave", True),
        (Component, {}, "shed", "middle"),
        (Component, {}, "fallback", "a"),
        (Component, {}, "idempotent", "true"),
        (Endpoint, {}, "components", {}),
        (Defaults, {}, "timeout", 60),
    ],
)  # fmt: skip
def test_wrong_value(model: type[Any], data: dict[str, Any], key: str, value: object) -> None:
    """A value of the wrong type, form or size is refused where it stands."""
    assert model.model_validate(data) is not None
    assert refused(model, data | {key: value}) == {(key,)}


@pytest.mark.parametrize("weight", [-1, True, "9", float("nan"), 1e9])
def test_wrong_weight(weight: object) -> None:
    """A weight is a number from 0 to a million."""
    assert refused(Component, {"split": {"a": weight}}) == {("split", "a")}
    assert Component.model_validate({"split": {"a": 0, "b": 0.5}}).split == {"a": 0.0, "b": 0.5}


@pytest.mark.parametrize(
    ("key", "data", "where"),
    [
        ("assume_role", {"arn": "arn:aws:iam::123456789012:user/x"}, ("assume_role", "arn")),
        ("guardrail", {"id": "abc", "version": "0"}, ("guardrail", "version")),
        ("guardrail", {"id": "Abc", "version": "DRAFT"}, ("guardrail", "id")),
        ("guardrail", {"id": "abc"}, ("guardrail", "version")),
        ("cold", {}, ("cold", "restore")),
        ("cold", {"restore": "5m"}, ("cold", "restore")),
    ],
)
def test_wrong_inner_block(key: str, data: dict[str, Any], where: tuple[str, ...]) -> None:
    """Roles, guardrails and cold starts are checked like the rest."""
    assert refused(BedrockTarget, BEDROCK | {key: data}) == {where}


@pytest.mark.parametrize("name", ["", "a b", "-a", "a" * 64, "é"])
def test_wrong_name_of_a_target(name: str) -> None:
    """Names of targets end up in headers and metric labels."""
    assert {loc[:2] for loc in refused(Policy, policy(targets={name: ENDPOINT}))} == {("targets", name)}


@pytest.mark.parametrize("name", ["", "a_b", "-a", "a-", "a" * 64])
def test_wrong_name_of_an_endpoint(name: str) -> None:
    """A name that SageMaker does not allow is one that no client can send."""
    assert {loc[:2] for loc in refused(Policy, policy(endpoints={name: {}}))} == {("endpoints", name)}
    assert {loc[:2] for loc in refused(Endpoint, {"components": {name: {}}})} == {("components", name)}


def test_expectation_needs_a_target_and_names_headers() -> None:
    """A case says where it goes; a header has a possible name."""
    assert refused(Expect, {"session": "s"}) == {("goes_to",)}
    assert ("header", "a b", "[key]") in refused(Expect, {"goes_to": "a", "header": {"a b": "c"}})


def test_class_of_data_is_written_as_class() -> None:
    """The key is the word, although Python keeps it for itself."""
    assert Component.model_validate({"data": {"class": "secret"}}).data is not None
    assert refused(Component, {"data": {"class_": "secret"}}) == {("data", "class_")}
