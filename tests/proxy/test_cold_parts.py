"""Models and variants of one endpoint: one that is not loaded is no state of the target."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.base import Reply
from backends.errors import BackendError
from policies.temperature import Warmth
from proxy.pipeline import serve
from proxy.record import Record

from .parts import Scripted, invocation, services, targets
from .test_cold import COLD, POLICY


@pytest.mark.parametrize("part", [{"target_model": "a.tar.gz"}, {"target_variant": "v2"}])
async def test_a_part_that_is_not_loaded_leaves_the_rest_of_its_endpoint_alone(part: dict[str, str]) -> None:
    """Models of one endpoint load one by one: another one answers, and the fallback serves for the one that is not."""
    text = POLICY.replace("targets:", "targets:\n  many: {kind: endpoint, endpoint: many, region: us-east-1}")
    backend = Scripted([COLD, Reply(body=b"other"), COLD, Reply(body=b"spare")])
    parts = await services(
        backend, text=text + "  models: {serve_from: many}\n  spared: {serve_from: many, fallback: [warm]}"
    )
    trace = parts.telemetry.start(invocation("models"), 0)

    async def ask(endpoint: str, **asked: str) -> bytes:
        wanted = replace(invocation(endpoint), **asked)  # type: ignore[arg-type]  # fields of text
        async with serve(wanted, Record("request-0", parts.now(), 0.0), trace, parts) as (reply, _):
            return reply.body

    with pytest.raises(BackendError) as refused:
        await ask("models", **part)
    assert refused.value.facts.cold
    assert await ask("models", target_model="b.tar.gz") == b"other"
    assert await ask("spared", **part) == b"spare"
    assert targets(backend) == ["many", "many", "many", "warm"]
    assert not parts.temperatures.tracked
    parts.log.close()


async def test_one_model_of_a_target_that_may_go_cold_is_asked_for_once() -> None:
    """Its refusal is no state of the target, so the request has to end by itself."""
    text = POLICY.replace(
        "targets:", "targets:\n  many: {kind: endpoint, endpoint: m, region: us-east-1, cold: {restore: 60s..5m}}"
    )
    backend = Scripted([Reply(body=b"loaded"), COLD])
    parts = await services(backend, text=text + "  models: {serve_from: many}")
    parts.temperatures.keep(parts.policy.current.table.targets.values())
    trace = parts.telemetry.start(invocation("models"), 0)
    async with serve(invocation("models"), Record("request-0", parts.now(), 0.0), trace, parts):
        pass
    with pytest.raises(BackendError):
        async with serve(
            replace(invocation("models"), target_model="a"), Record("request-1", parts.now(), 0.0), trace, parts
        ):
            pass
    assert targets(backend) == ["many", "many"]
    assert parts.temperatures.warmth(parts.policy.current.table.targets["many"], parts.now()) is Warmth.READY
    parts.log.close()
