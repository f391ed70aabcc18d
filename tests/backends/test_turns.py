"""The clock that calls in who waits."""

from __future__ import annotations

import asyncio

from backends.turns import Bell


async def test_it_rings_once_at_the_last_time_that_it_was_told() -> None:
    """And not before it: who looks at the clock then finds that it is over."""
    loop, rung, heard = asyncio.get_running_loop(), [], asyncio.Event()

    def ring() -> None:
        rung.append(loop.time())
        heard.set()

    bell, now = Bell(ring), loop.time()
    for when in (now + 0.01, now + 0.03, now + 0.03):
        bell.at(when)
    await heard.wait()
    behind = loop.create_future()
    loop.call_at(now + 0.05, behind.set_result, None)
    await behind
    assert len(rung) == 1
    assert rung[0] >= now + 0.03
