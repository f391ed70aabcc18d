"""One target, compiled."""

from __future__ import annotations

from dataclasses import fields

import pytest

from policies.limits import Bounds
from policies.table import (
    AssumedRole,
    BedrockSpec,
    EndpointSpec,
    ImportCost,
    InstanceCost,
    Isolation,
    LimitRule,
    Target,
    VllmSpec,
)

from .written import IMPORT, load, policy, report

ROLE = "arn:aws:iam::123456789012:role/router"
BEDROCK = f"kind: bedrock, model: '{IMPORT}', speaks: openai-chat"


def compiled(block: str) -> Target:
    return load(policy("x: {serve_from: t}", f"t: {{{block}}}")).targets["t"]


def complaint(block: str) -> dict[str, str]:
    return report(policy("x: {serve_from: t}", f"t: {{{block}}}"))


def test_plain_endpoint() -> None:
    """Whatever is not written has the default of its kind."""
    target = compiled("kind: endpoint, endpoint: e, region: us-east-1")
    assert target == Target("t", "endpoint", EndpointSpec("e"), region="us-east-1", body_limit=26_214_400)
    assert target.isolation is Isolation.INSTANCE
    assert target.source_line == 4


def test_endpoint_with_everything() -> None:
    """Every key ends up in the table."""
    target = compiled(
        "kind: endpoint, endpoint: e, component: c, region: us-east-1, url: 'http://h:1/base/', speaks: lmi, "
        f"assume_role: {{arn: '{ROLE}', external_id: x1}}, trace_in_custom_attributes: true, isolation: shared, "
        "accepts_data: [a, b], body_limit: 6MB, streams: false, cold: {restore: 1m..9m, idle_limit: 20m}, "
        "connect_timeout: 500ms, first_byte: 7s, between_chunks: 8s, "
        "limit: {min: 2, max: 9, queue: 3, queue_bytes: 1KiB, wait: 4s}, cost: {instance: ml.g6e.xlarge}"
    )
    spec = EndpointSpec("e", "c", "http://h:1/base", sign=True, role=AssumedRole(ROLE, "x1"), trace_attributes=True)
    assert target == Target(
        "t",
        "endpoint",
        spec,
        speaks="lmi",
        region="us-east-1",
        isolation=Isolation.SHARED,
        data_classes=frozenset({"a", "b"}),
        body_limit=6_000_000,
        streams=False,
        restore=(60.0, 540.0),
        idle_limit=1200.0,
        connect_timeout=0.5,
        first_byte=7.0,
        between_chunks=8.0,
        limit=LimitRule(Bounds(2, 9), 3, 1024, 4.0),
        cost=InstanceCost("ml.g6e.xlarge"),
    )
    kept = {each.name for each in fields(Target) if each.init and getattr(target, each.name) == each.default}
    assert kept == set()


def test_inference_component_shares_its_instance() -> None:
    """A component is isolated as a container unless the policy says more."""
    block = "kind: endpoint, endpoint: e, component: c, region: us-east-1"
    assert compiled(block).isolation is Isolation.CONTAINER
    assert compiled(f"{block}, isolation: instance").isolation is Isolation.INSTANCE


def test_imported_model() -> None:
    """The region is the ARN's, and the limit Bedrock's own."""
    target = compiled(
        f"{BEDROCK}, assume_role: {{arn: '{ROLE}'}}, guardrail: {{id: abc, version: '1'}}, url: 'http://h'"
    )
    assert target.spec == BedrockSpec(IMPORT, "http://h", AssumedRole(ROLE), "abc", "1")
    assert (target.region, target.body_limit, target.isolation) == ("us-east-1", 25_000_000, Isolation.CONTAINER)
    assert compiled(BEDROCK).spec == BedrockSpec(IMPORT)


def test_engine() -> None:
    """One url or several; no region unless one is written."""
    assert compiled("kind: vllm, url: 'http://h:8000/', model: m").spec == VllmSpec(("http://h:8000",), "m")
    target = compiled("kind: vllm, urls: ['http://h:1', 'http://h:2'], model: m, adapter: l, region: dc-1")
    assert target.spec == VllmSpec(("http://h:1", "http://h:2"), "m", "l")
    assert (target.region, target.isolation) == ("dc-1", Isolation.INSTANCE)


def test_unsigned_endpoint_needs_no_region() -> None:
    """A component host of one's own neither checks signatures nor lies in a region of AWS."""
    target = compiled("kind: endpoint, endpoint: e, url: 'http://h', sign: false, region: dc-1")
    assert isinstance(target.spec, EndpointSpec)
    assert not target.spec.sign
    assert compiled("kind: endpoint, endpoint: e, url: 'http://h', sign: false").region is None


@pytest.mark.parametrize(
    ("block", "path", "word"),
    [
        ("kind: endpoint, endpoint: e", "", "needs a region"),
        ("kind: endpoint, endpoint: e, url: 'http://h'", "", "needs a region"),
        ("kind: endpoint, endpoint: e, region: us-east1", ".region", "not an AWS region"),
        ("kind: endpoint, endpoint: e, region: us-east-1, sign: false", ".sign", "give a url"),
        (
            f"kind: endpoint, endpoint: e, url: 'http://h', sign: false, assume_role: {{arn: '{ROLE}'}}",
            ".assume_role",
            "no use",
        ),
        (
            "kind: endpoint, endpoint: e, region: us-east-1, url: 'https://runtime.sagemaker.us-west-2.amazonaws.com'",
            ".url",
            "is in us-west-2",
        ),
        (f"{BEDROCK}, region: us-west-2", ".region", "ARN, which says us-east-1"),
        (f"{BEDROCK}, url: 'https://bedrock-runtime.eu-central-1.amazonaws.com'", ".url", "is in eu-central-1"),
        (f"{BEDROCK}, body_limit: 25MiB", ".body_limit", "more than Bedrock takes"),
        ("kind: vllm, model: m", "", "either `url`"),
        ("kind: vllm, model: m, url: 'http://h', urls: ['http://i']", "", "either `url`"),
        ("kind: vllm, model: m, urls: ['http://h', 'http://h/']", ".urls[1]", "listed twice"),
    ],
)
def test_target_that_contradicts_itself(block: str, path: str, word: str) -> None:
    """Two keys that cannot both be meant are one problem, at the key to change."""
    found = complaint(block)
    assert list(found) == [f"targets.t{path}"]
    assert word in found[f"targets.t{path}"]


@pytest.mark.parametrize(
    "block",
    [
        f"{BEDROCK}, region: us-east-1, body_limit: 25MB",
        "kind: endpoint, endpoint: e, region: us-east-1, url: 'https://runtime.sagemaker.us-east-1.amazonaws.com'",
        f"{BEDROCK}, url: 'https://bedrock-runtime.us-east-1.amazonaws.com'",
    ],
)
def test_target_that_says_a_thing_twice(block: str) -> None:
    """What agrees is no problem."""
    assert complaint(block) == {}


def test_costs() -> None:
    """What a target runs on, with what is not said; a target that says nothing has none."""
    plain = "kind: endpoint, endpoint: e, region: us-east-1"
    assert compiled(plain).cost is None
    assert compiled(f"{plain}, cost: {{instance: ml.g6e.xlarge}}").cost == InstanceCost("ml.g6e.xlarge", 1, 1.0, 0)
    engine = "kind: vllm, url: 'http://h:1', model: m, cost: {instance: g6e.xlarge, count: 4, share: 25%, committed: 4}"
    assert compiled(engine).cost == InstanceCost("g6e.xlarge", 4, 0.25, 4)
    assert compiled(f"{BEDROCK}, cost: {{units: 2}}").cost == ImportCost(2, "v1.0", 1)
    assert compiled(f"{BEDROCK}, cost: {{units: 2, version: v2.0, copies: 3}}").cost == ImportCost(2, "v2.0", 3)


@pytest.mark.parametrize(
    ("cost", "path", "word"),
    [
        ("{instance: ml.g6e.xlarge, committed: 2}", "committed", "more than the 1 there are"),
        ("{instance: ml.g6e.xlarge, count: 0}", "count", "greater than or equal to 1"),
        ("{instance: ml.g6e.xlarge, share: 0%}", "share", "greater than 0"),
        ("{instance: ml.g6e.xlarge, share: 0.5}", "share", "10%"),
        ("{instance: large}", "instance", "write it like ml.g6e.xlarge"),
        ("{units: 2}", "units", "unknown key"),
    ],
)
def test_costs_that_cannot_be(cost: str, path: str, word: str) -> None:
    """What is committed exists, and an endpoint is billed by instances."""
    said = complaint(f"kind: endpoint, endpoint: e, region: us-east-1, cost: {cost}")
    assert word in " ".join(text for place, text in said.items() if place.endswith(f"cost.{path}")), said


def test_units_of_no_version() -> None:
    """A version is written as AWS writes it."""
    assert complaint(f"{BEDROCK}, cost: {{units: 2, version: v2}}") == {
        "targets.t.cost.version": "is not a version of custom model units; write it like v1.0"
    }
