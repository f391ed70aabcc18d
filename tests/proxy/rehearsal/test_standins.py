"""A policy pointed at stand-ins, and stand-ins made of what it says."""

from __future__ import annotations

import json

import pytest

from backends.emulator.config import load_config
from policies.load import load_policy
from proxy.rehearsal.standins import PORT, invented, pointed, stand_in

POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  gpu:
    kind: endpoint
    endpoint: gpu
    region: us-east-1
    assume_role: {arn: "arn:aws:iam::123456789012:role/caller"}
  packed: {kind: endpoint, endpoint: host, component: one, region: us-east-1, cold: {restore: 2m..4m, idle_limit: 1h}}
  import:
    kind: bedrock
    model: arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghij12
    speaks: openai-chat
    cost: {units: 3}
  engine: {kind: vllm, urls: ["http://10.0.0.1:8000", "http://10.0.0.2:8000"], model: codegen, speaks: openai-chat}
endpoints:
  a: {serve_from: gpu, handler: {path: model.py}}
  b: {components: {one: {serve_from: packed}}}
  c: {clients_speak: openai-chat, serve_from: import}
  d: {clients_speak: openai-chat, serve_from: engine}
"""


def read(name: str) -> str:
    raise FileNotFoundError(name)


def test_every_target_is_at_a_stand_in_and_nothing_else_changes() -> None:
    """No address of the real world is left, no role is assumed, and what can't run in virtual time is told."""
    made, config = pointed(POLICY, "policy.yaml", {}, read, None)
    document = json.loads(made.text)
    assert document["targets"]["gpu"]["url"] == f"http://127.0.0.1:{PORT}"
    assert "assume_role" not in document["targets"]["gpu"]
    assert len(set(document["targets"]["engine"]["urls"])) == 2
    assert made.notes == ("a: its handler is left out; --handlers leaves it in",)
    table = load_policy(made.text, {}, "policy.yaml")
    assert {name: target.kind for name, target in table.targets.items()} == {
        name: target.kind for name, target in made.table.targets.items()
    }
    assert stand_in(table.targets["gpu"], config) == "gpu"


def test_stand_ins_are_what_the_policy_says() -> None:
    """Restores, idle limits and units are the policy's; an import goes after 15 minutes where it says nothing."""
    config = invented(load_policy(POLICY, {}, "policy.yaml"))
    by_kind = {model.kind: model for model in config.models.values()}
    assert (by_kind["component"].cold.restore, by_kind["component"].idle_seconds) == (180.0, 3600.0)
    assert (by_kind["import"].units, by_kind["import"].idle_seconds) == (3, 900.0)
    assert by_kind["endpoint"].idle_seconds is None
    assert by_kind["engine"].served_model == "codegen"


def test_stand_ins_of_a_file_must_have_every_target() -> None:
    """A file that lacks one is refused, by the address that it lacks."""
    text = """\
apiVersion: pointsman-emulator/v1
credentials: [{access_key_id: a, secret_access_key: b}]
models: {gpu: {kind: endpoint, dialect: echo}}
"""
    with pytest.raises(ValueError, match="the stand-ins lack component host one"):
        pointed(POLICY, "policy.yaml", {}, read, load_config(text, "emulator.yaml"))


def test_variables_are_looked_at_once() -> None:
    """What they give stands in the policy that is rehearsed, also where it looks like a variable itself."""
    policy = POLICY.replace('"123456789012"', "${ACCOUNT}", 1).replace("model: codegen", 'model: "$${X}"')
    made, _ = pointed(policy, "policy.yaml", {"ACCOUNT": "123456789012"}, read, None)
    table = load_policy(made.text, {}, "policy.yaml")
    assert table.account == "123456789012"
    assert "model='${X}'" in repr(table.targets["engine"].spec)


def test_stand_ins_are_called_as_their_targets() -> None:
    """As people know them; two names that differ in their signs alone are two stand-ins all the same."""
    twice = POLICY.replace("  packed:", "  g-p: {kind: endpoint, endpoint: one, region: us-east-1}\n  g.p:")
    twice = twice.replace("serve_from: packed", "serve_from: g.p")
    config = invented(load_policy(twice, {}, "policy.yaml"))
    assert {"gpu", "import", "engine", "g-p"} < set(config.models)
    assert len(config.models) == 5
