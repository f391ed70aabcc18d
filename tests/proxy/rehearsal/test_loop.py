"""A loop whose clock jumps: order, no waiting, one network, and the same twice."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.rehearsal.loop import START, Stuck, VirtualLoop

T = TypeVar("T")


def run(work: Callable[[], Awaitable[T]]) -> T:
    async def whole() -> T:
        return await work()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(whole())


def test_a_day_passes_at_once() -> None:
    """Waiting costs no time: the clock says a day, and the wall a moment."""

    async def day() -> float:
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run(day) == pytest.approx(START + 86_400)
    assert time.monotonic() - began < 5


@given(st.lists(st.integers(0, 10**8).map(lambda wait: wait / 1000), min_size=1, max_size=10))
@settings(max_examples=50, deadline=None)
def test_timers_fire_in_their_order_at_their_time(waits: list[float]) -> None:
    """However many wait, each goes on when its time has come, and none before an earlier one."""

    async def all_of_them() -> list[tuple[float, float]]:
        loop, seen = asyncio.get_running_loop(), []

        async def one(wait: float) -> None:
            await asyncio.sleep(wait)
            seen.append((wait, loop.time() - START))

        await asyncio.gather(*map(one, waits))
        return seen

    seen = run(all_of_them)
    assert [wait for wait, _ in seen] == sorted(waits)
    assert all(at == pytest.approx(wait, abs=1e-5) for wait, at in seen)


def test_a_limit_in_time_holds() -> None:
    """A time-out fires in virtual time, as anywhere."""

    async def limited() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.sleep(7200)
        return asyncio.get_running_loop().time()

    assert run(limited) == pytest.approx(START + 3600)


def test_who_waits_for_nothing_is_told() -> None:
    """Where nothing is due and all wait, the loop says so; a real one would hang."""

    async def forever() -> None:
        await asyncio.Event().wait()

    loop = VirtualLoop()
    task = loop.create_task(forever())
    with pytest.raises(Stuck):
        loop.run_until_complete(task)
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()


def test_time_stands_still_while_a_thread_works() -> None:
    """What is done in a thread is over in the same moment, in this thread or in the executor's own."""

    async def work() -> tuple[int, int, float]:
        with ThreadPoolExecutor(1) as executor:
            here = await asyncio.to_thread(threading.get_ident)
            there = await asyncio.get_running_loop().run_in_executor(executor, threading.get_ident)
        return here, there, asyncio.get_running_loop().time()

    here, there, now = run(work)
    assert here == threading.get_ident() != there
    assert now == START


def test_what_fails_in_a_thread_fails_where_it_is_awaited() -> None:
    """An error of the work is its caller's."""

    def broken() -> None:
        raise LookupError

    async def work() -> None:
        with pytest.raises(LookupError):
            await asyncio.to_thread(broken)

    run(work)
