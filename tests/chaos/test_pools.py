"""Faults of connections that are kept: the other side closes one at the very moment it is used again."""

from __future__ import annotations

from pathlib import Path

import pytest

from .broken_answers import GOOD, LOST
from .faults import Fault, Served
from .stage import staged
from .upstream import Wire

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300, func_only=True)]


async def close_at_the_second(wire: Wire) -> None:
    await wire.request()
    await wire.send(GOOD)
    await wire.request()
    wire.reset()


async def test_connection_closed_as_it_is_used_again(tmp_path: Path) -> None:
    """424, and the request is not sent again by itself: it may have run. The next one has a new connection."""
    fault = Fault("races", Served(), close_at_the_second, route={"retry": {"attempts": 3}})
    async with staged(tmp_path, (fault,)) as stage:
        for _ in range(3):
            Served().hold(await stage.play(fault))
            LOST.hold(await stage.play(fault))
        assert stage.upstreams[fault].requests == 6
        await stage.settled()


async def test_connection_closed_as_it_is_used_again_on_an_idempotent_route(tmp_path: Path) -> None:
    """Where the policy says that a request may be sent twice it is sent again, and its client sees nothing of it."""
    fault = Fault("races", Served(), close_at_the_second, route={"retry": {"attempts": 3}, "idempotent": True})
    async with staged(tmp_path, (fault,)) as stage:
        for _ in range(6):
            Served().hold(await stage.play(fault))
        await stage.settled()
