"""What a client is told that several targets have turned away."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace

import pytest

from backends.errors import BackendError, let_go
from backends.temperatures import Temperatures
from policies.facts import FailureFacts, Fault
from proxy.pipeline import serve
from proxy.record import Record
from proxy.refusals import noted, told
from tests.policies.written import target

from .parts import Scripted, invocation, services

POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  first: {kind: vllm, url: "http://127.0.0.1:1", model: m}
  second: {kind: vllm, url: "http://127.0.0.1:2", model: m, cold: {restore: 60s..5m}}
endpoints:
  chat: {serve_from: first, fallback: [second]}
"""
LOST = FailureFacts(Fault.NETWORK, retry_safe=None)
AWAY = FailureFacts(Fault.NETWORK, retry_safe=True)
COLD = FailureFacts(Fault.PLATFORM, retry_safe=True, retry_after=134.0, cold=True)


def busy(wait: float | None) -> FailureFacts:
    return FailureFacts(Fault.PLATFORM, retry_safe=True, retry_after=wait, throttled=True)


def at(name: str, facts: FailureFacts) -> BackendError:
    return BackendError(facts, target(name), "scripted")


@pytest.mark.parametrize(
    ("met", "kept"),
    [
        ([("a", busy(2.0)), ("b", busy(30.0))], ("a", 2.0)),
        ([("a", busy(30.0)), ("b", busy(2.0))], ("b", 2.0)),
        ([("a", busy(None)), ("b", busy(2.0))], ("b", 2.0)),
        ([("a", busy(2.0)), ("a", busy(30.0))], ("a", 30.0)),
        ([("a", busy(2.0)), ("b", AWAY)], ("a", 2.0)),
        ([("a", AWAY)], None),
        ([("a", COLD)], None),
        ([("a", LOST)], None),
    ],
)
def test_the_refusal_with_the_shortest_wait_is_noted(
    met: list[tuple[str, FailureFacts]], kept: tuple[str, float] | None
) -> None:
    """Of one target its last word; of one that is away, cold or broken none."""
    found: BackendError | None = None
    for name, facts in met:
        found = noted(found, at(name, facts))
    assert (None if found is None else (found.target.name, found.facts.retry_after)) == kept


@pytest.mark.parametrize(
    ("last", "name", "wait"),
    [
        (busy(30.0), "b", 2.0),
        (busy(1.0), "b", 1.0),
        (busy(None), "b", 2.0),
        (AWAY, "b", 2.0),
        (LOST, "b", None),
        (COLD, "a", 2.0),
    ],
)
def test_the_shortest_wait_is_told_with_the_last_failure(last: FailureFacts, name: str, wait: float | None) -> None:
    """Where it turned the request away as well; a cold target is none to wait for while another one is only busy."""
    answer = told(at("b", last), at("a", busy(2.0)))
    assert (answer.target.name, answer.facts.retry_after) == (name, wait)


def test_a_target_that_was_asked_twice_has_the_last_word() -> None:
    """It is not the shorter wait of before that holds."""
    assert told(at("a", busy(30.0)), at("a", busy(2.0))).facts.retry_after == 30.0
    assert told(at("a", busy(30.0)), None).facts.retry_after == 30.0


async def refused(backend: Scripted) -> FailureFacts:
    """One request to its failure, dealt with as the faces do."""
    parts = await services(backend, text=POLICY, now=asyncio.get_running_loop().time)
    parts = replace(parts, temperatures=Temperatures())
    parts.temperatures.keep(parts.policy.current.table.targets.values())
    trace = parts.telemetry.start(invocation(), 0)
    try:
        async with serve(invocation(), Record("request-0", parts.now(), 0.0), trace, parts):
            pass
    except BackendError as error:
        let_go(error)
        return error.facts
    finally:
        parts.log.close()
    raise AssertionError


@pytest.mark.parametrize("second", [COLD, busy(30.0), AWAY])
async def test_a_client_is_told_when_the_first_target_takes_requests_again(second: FailureFacts) -> None:
    """Two seconds, though the fallback is cold for minutes, busy for longer, or not there."""
    facts = await refused(Scripted([busy(2.0), second]))
    assert (facts.retry_after, facts.cold) == (2.0, False)


async def test_a_refusal_that_is_told_leaves_no_circle() -> None:
    """It is raised a second time, out of frames that have the record, which has let go of it."""
    gc.collect()
    gc.disable()
    try:
        await refused(Scripted([busy(2.0), COLD]))
        assert not [one for one in gc.get_objects() if isinstance(one, BackendError)]
    finally:
        gc.enable()
