"""Faults of upstreams, each at a target of its own behind one proxy: what the client gets, and what is left."""

from __future__ import annotations

import asyncio
import json

import pytest

from .broken_answers import LATE
from .client import STREAM, UNARY, ask, request
from .faults import Fault, Refused, translated
from .stage import Stage, memory
from .table import QUICK, UPSTREAMS

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300, func_only=True)]

ROUNDS = 16
GROWTH = 4 * 1024 * 1024
"""Bytes that the later half of the rounds may add: an allocator's noise, 6 KiB a request."""


@pytest.mark.parametrize("fault", UPSTREAMS, ids=[fault.slug for fault in UPSTREAMS])
async def test_fault(stage: Stage, fault: Fault) -> None:
    """One answer, as promised, in time; asked as often as is safe; no task, place or socket left."""
    upstream = stage.upstreams[fault]
    for _ in range(fault.plays):
        before = upstream.requests
        answer = await stage.play(fault)
        fault.promise.hold(answer)
        assert answer.seconds < fault.within
        asked = upstream.requests - before
        # A deadline may pass on a machine that stalls before the upstream has been asked at all.
        assert fault.asked is None or asked == fault.asked or (fault.promise == LATE and asked < fault.asked)
        await stage.settled(fault.kept, upstream.port)


@pytest.mark.parametrize("fault", UPSTREAMS, ids=[fault.slug for fault in UPSTREAMS])
async def test_fault_behind_a_translation(stage: Stage, fault: Fault) -> None:
    """Clients of another dialect get one answer as well, twice, and where it is a failure, the same one."""
    operation, body = STREAM if fault.stream else UNARY, json.dumps({"inputs": "x" * len(fault.body)}).encode()
    for _ in range(2):
        answer = await ask(stage.proxy.port, request(translated(fault), body, operation))
        assert answer.whole
        assert answer.seconds < fault.within
        if isinstance(fault.promise, Refused):
            fault.promise.hold(answer)
    await stage.settled(fault.kept, stage.upstreams[fault].port)


async def test_the_same_again_and_again_costs_no_memory(stage: Stage) -> None:
    """Thousands of failures, many at a time, each still as promised: the process stays as large as after the first."""
    sizes = []
    for _ in range(ROUNDS):
        for fault, answer in zip(QUICK, await asyncio.gather(*map(stage.play, QUICK)), strict=True):
            fault.promise.hold(answer)
        sizes.append(memory(stage.proxy.process.pid))
    assert sizes[-1] - sizes[ROUNDS // 2] < GROWTH
    await stage.settled()


async def test_nothing_is_left_of_any_of_them(stage: Stage) -> None:
    """Once idle connections have had their time, no socket leads anywhere and every descriptor is given back."""
    await stage.emptied()
