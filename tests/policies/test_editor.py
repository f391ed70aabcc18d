"""The JSON Schema for editors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from policies.editor import json_schema, known_keys
from policies.errors import Path

from .written import HEAD, IMPORT, policy

SCHEMA = json_schema()
RICH = policy(
    """
    x:
      owner: team
      shed: first
      wave: 1
      data: {class: secret, isolation: container, regions: [us-east-1]}
      clients_speak: openai-chat
      split: {a: 90, n: 10.5}
      fallback: [a]
      sticky_by: header:x-user
      timeout: 30s
      retry: {attempts: 3}
      idempotent: true
      expect: [{header: {x-user: u}, goes_to: a}]
    y: {components: {c: {serve_from: e}}}
    """,
    f"""
    a: {{}}
    n: {{kind: bedrock, model: "{IMPORT}", speaks: openai-chat, cold: {{restore: 60s..5m}}}}
    e: {{kind: vllm, url: "${{URL:-http://h:1}}", model: m, region: "${{REGION}}", body_limit: 10MB}}
    """,
)


def complaints(text: str) -> list[str]:
    return [error.json_path for error in Draft202012Validator(SCHEMA).iter_errors(yaml.safe_load(text))]


def nodes(node: object) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from nodes(child)
    elif isinstance(node, list):
        for child in node:
            yield from nodes(child)


def test_schema_is_a_schema() -> None:
    """It is a valid document of the draft it names."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_policy_with_everything_is_accepted() -> None:
    """What the loader takes, `${VAR}` included, an editor does not underline."""
    assert complaints(RICH) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (policy("x: {serve_form: a}"), "$.endpoints.x"),
        (policy("x: {serve_from: a, timeout: 60}"), "$.endpoints.x.timeout"),
        (policy("x: {serve_from: a, timeout: 60 s}"), "$.endpoints.x.timeout"),
        (policy("x_y: {serve_from: a}"), "$.endpoints"),
        (policy("x: {split: {a: -1}}"), "$.endpoints.x.split.a"),
        (policy("x: {split: {}}"), "$.endpoints.x.split"),
        (policy("x: {serve_from: null}"), "$.endpoints.x.serve_from"),
        (policy("x: {serve_from: a}", "a: {kind: other}"), "$.targets.a"),
        (HEAD, "$"),
    ],
)
def test_mistake_is_underlined(text: str, where: str) -> None:
    """An unknown key, a missing unit, an impossible name and an empty value are seen while typing."""
    assert where in complaints(text)


def test_every_key_is_described() -> None:
    """An editor has a sentence to show for every key that has a meaning of its own."""
    silent = [
        name
        for node in nodes(SCHEMA)
        for name, value in node.get("properties", {}).items()
        if "description" not in value and "const" not in value
    ]
    assert silent == []


def test_no_null_is_offered() -> None:
    """A key is given or left out; the loader refuses an empty value."""
    assert not any(
        node.get("type") == "null" or ("default" in node and node["default"] is None) for node in nodes(SCHEMA)
    )


@pytest.mark.parametrize(
    ("path", "some", "never"),
    [
        ((), {"apiVersion", "targets", "endpoints"}, "api_version"),
        (("defaults",), {"timeout", "retry"}, "attempts"),
        (("defaults", "retry"), {"attempts"}, "timeout"),
        (("targets", "a"), {"endpoint", "component", "sign"}, "guardrail"),
        (("targets", "n"), {"model", "guardrail"}, "adapter"),
        (("targets", "n", "cold"), {"restore"}, "model"),
        (("targets", "e"), {"urls", "adapter"}, "guardrail"),
        (("endpoints", "x"), {"serve_from", "components"}, "class"),
        (("endpoints", "x", "data"), {"class", "regions"}, "class_"),
        (("endpoints", "x", "expect", 0), {"goes_to", "inference_id"}, "split"),
        (("endpoints", "y", "components", "c"), {"serve_from", "data"}, "components"),
    ],
)
def test_keys_of_a_block_are_known(path: Path, some: set[str], never: str) -> None:
    """The keys that may stand at a place, from which the nearest to a mistyped one is taken."""
    known = known_keys(SCHEMA, path, yaml.safe_load(RICH))
    assert some <= set(known)
    assert never not in known
    assert list(known) == sorted(known)


@pytest.mark.parametrize(
    "path",
    [
        ("targets",),
        ("targets", "nope"),
        ("nowhere", "at", "all"),
        ("endpoints", "x", "expect", 7, "header"),
        ("account", 0),
    ],
)
def test_place_that_is_no_block_has_no_keys(path: Path) -> None:
    """Where names are free, or nothing is, there is nothing to suggest."""
    assert known_keys(SCHEMA, path, yaml.safe_load(RICH)) == ()
