"""Ways to targets: looked up once while a policy is in force, and anew by who goes by an older one."""

from __future__ import annotations

import pytest

from policies.choose import Attempt, only
from proxy.policy_source import InForce
from proxy.services import Services
from proxy.ways import way_of

from .parts import Scripted, services

POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets: {pair: {kind: vllm, urls: ["http://127.0.0.1:4", "http://127.0.0.1:5"], model: m}}
endpoints: {chat: {serve_from: pair}}
"""


@pytest.fixture
async def parts() -> Services:
    """Services under a policy of one target with two replicas."""
    found = await services(Scripted(), text=POLICY)
    found.log.close()
    return found


def attempt_at(policy: InForce) -> Attempt:
    """What its only endpoint is served from."""
    return only(policy.table.routes["chat", None], policy.table.targets["pair"]).attempts[0]


async def test_a_way_is_looked_up_once(parts: Services) -> None:
    """It leads to the target's gate, and to one of its replicas."""
    policy = parts.policy.current
    attempt = attempt_at(policy)
    one = way_of(attempt, policy, parts)
    assert way_of(attempt, policy, parts) is one
    assert one.gate is parts.gates.of(attempt.target)
    assert one.place is parts.book.of(attempt.target, attempt.replica)
    assert list(policy.ways.values()) == [one]


async def test_who_goes_by_an_older_policy_looks_anew(parts: Services) -> None:
    """What was known of the target may have been forgotten since."""
    current = parts.policy.current
    older = InForce(current.table, current.generation - 1)
    attempt = attempt_at(older)
    for policy in (older, None):
        before = way_of(attempt, policy, parts)
        parts.gates.keep([])
        parts.book.keep([])
        after = way_of(attempt, policy, parts)
        assert after.gate is parts.gates.of(attempt.target) is not before.gate
        assert after.place is parts.book.of(attempt.target, attempt.replica) is not before.place
    assert not older.ways
