"""Copies: cold, warming, ready, busy, idle."""

from __future__ import annotations

import asyncio
from typing import Any

from backends.emulator.clock import Clock
from backends.emulator.config import ModelConfig
from backends.emulator.roster import Copy, Roster, Turned

ARN = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghij12"


def still() -> Clock:
    clock = Clock()
    clock.freeze()
    return clock


def roster(clock: Clock, **settings: Any) -> Roster:
    return Roster(
        ModelConfig.model_validate({"kind": "import", "arn": ARN, "dialect": "openai-chat", **settings}), clock
    )


async def entered(one: Roster) -> Copy:
    copy = await one.enter()
    assert isinstance(copy, Copy)
    return copy


async def test_a_cold_model_gets_ready_after_its_restore_time() -> None:
    """The first call starts the restoration and is refused; a second one does not start it again."""
    clock = still()
    one = roster(clock, cold={"starts": "cold", "restore": 60})
    assert one.state() == "cold"
    assert await one.enter() is Turned.COLD
    clock.advance(59)
    assert await one.enter() is Turned.COLD
    assert one.state() == "warming"
    clock.advance(1)
    assert (await entered(one)).name == "copy-1"
    assert one.state() == "ready"


async def test_hold_keeps_the_call_until_the_copy_is_ready() -> None:
    """With `hold` the call waits on the emulator's clock."""
    clock = still()
    one = roster(clock, cold={"starts": "cold", "restore": 60, "behaviour": "hold"})
    held = asyncio.ensure_future(one.enter())
    await asyncio.sleep(0)
    assert one.waiting == 1
    clock.advance(60)
    assert isinstance(await held, Copy)
    assert one.waiting == 0


async def test_hold_gives_up_at_its_limit() -> None:
    """Bedrock serves within five minutes or answers not ready."""
    clock = still()
    one = roster(clock, cold={"starts": "cold", "restore": 600, "behaviour": "hold", "hold_limit": 300})
    held = asyncio.ensure_future(one.enter())
    await asyncio.sleep(0)
    clock.advance(300)
    assert await held is Turned.COLD


async def test_an_idle_copy_goes_and_a_busy_one_stays() -> None:
    """Eviction counts from the last use; a copy with work is not idle."""
    clock = still()
    one = roster(clock, idle=300)
    copy = await entered(one)
    clock.advance(1000)
    assert one.state() == "ready"
    one.leave(copy)
    clock.advance(299)
    assert one.state() == "ready"
    clock.advance(1)
    assert one.state() == "cold"


async def test_the_minimum_stays() -> None:
    """A model with a minimum is never cold again."""
    clock = still()
    one = roster(clock, idle=10, copies={"min": 1, "max": 2})
    clock.advance(1000)
    assert one.state() == "ready"


async def test_work_beyond_the_copies_waits_in_order() -> None:
    """A full copy makes callers wait; places are given in the order of arrival."""
    one = roster(still(), copies={"concurrency": 1})
    first = await entered(one)
    order: list[int] = []

    async def caller(number: int) -> Copy:
        copy = await entered(one)
        order.append(number)
        return copy

    waiting = [asyncio.ensure_future(caller(number)) for number in (1, 2)]
    await asyncio.sleep(0)
    assert one.waiting == 2
    one.leave(first)
    one.leave(await waiting[0])
    await waiting[1]
    assert order == [1, 2]


async def test_a_full_queue_refuses() -> None:
    """More than `queue` waiting calls are turned away at once."""
    one = roster(still(), copies={"concurrency": 1, "queue": 1})
    await entered(one)
    held = asyncio.ensure_future(one.enter())
    await asyncio.sleep(0)
    assert await one.enter() is Turned.FULL
    held.cancel()


async def test_a_cancelled_waiter_is_forgotten() -> None:
    """A client that goes while it waits doesn't count any more."""
    one = roster(still(), copies={"concurrency": 1})
    await entered(one)
    held = asyncio.ensure_future(one.enter())
    await asyncio.sleep(0)
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)
    assert one.waiting == 0


async def test_overload_that_lasts_starts_another_copy() -> None:
    """After `scale_out_after` a second copy starts, is ready after `start`, and takes the waiting call."""
    clock = still()
    one = roster(clock, copies={"concurrency": 1, "max": 2, "scale_out_after": 30, "start": 20})
    await entered(one)
    held = asyncio.ensure_future(one.enter())
    await asyncio.sleep(0)
    clock.advance(30)
    while len(one.copies()) < 2:  # noqa: ASYNC110 - a copy that starts tells nobody
        await asyncio.sleep(0)
    clock.advance(19)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not held.done()
    clock.advance(1)
    copy = await held
    assert isinstance(copy, Copy)
    assert copy.name == "copy-2"


async def test_a_crowd_that_lasts_starts_another_copy_though_it_is_let_in() -> None:
    """Beyond `scale_out_at` calls on each copy, for `scale_out_after`; a crowd that goes in between starts again."""
    clock = still()
    one = roster(clock, copies={"max": 3, "scale_out_at": 2, "scale_out_after": 60, "start": 20})
    inside = [await entered(one) for _ in range(3)]
    clock.advance(59)
    one.leave(inside.pop())
    clock.advance(1)
    inside.append(await entered(one))
    assert len(one.copies()) == 1
    clock.advance(60)
    inside.append(await entered(one))
    assert len(one.copies()) == 2
    clock.advance(20)
    names = [(await entered(one)).name for _ in range(2)]
    assert names == ["copy-2", "copy-2"]
    clock.advance(600)
    await entered(one)
    clock.advance(60)
    await entered(one)
    assert len(one.copies()) == 3


async def test_calls_go_to_the_least_busy_copy() -> None:
    """With two copies the second call goes to the second."""
    one = roster(still(), copies={"min": 2, "max": 2, "concurrency": 2})
    names = [(await entered(one)).name for _ in range(4)]
    assert names == ["copy-1", "copy-2", "copy-1", "copy-2"]
