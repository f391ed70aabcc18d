"""Faults of upstreams, each at a target of its own behind one proxy: what the client gets, and what is left."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .faults import Fault
from .stage import Stage, staged
from .table import UPSTREAMS

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One proxy and all the upstreams for the whole file."""
    async with staged(tmp_path_factory.mktemp("chaos"), UPSTREAMS) as found:
        yield found


@pytest.mark.parametrize("fault", UPSTREAMS, ids=[fault.slug for fault in UPSTREAMS])
async def test_fault(stage: Stage, fault: Fault) -> None:
    """One answer, as promised, in time; asked as often as is safe; no task, place or socket left."""
    upstream = stage.upstreams[fault]
    before = upstream.requests
    answer = await stage.play(fault)
    fault.promise.hold(answer)
    assert answer.seconds < fault.within
    assert upstream.requests - before == fault.asked
    await stage.settled(kept=1, port=upstream.port)
