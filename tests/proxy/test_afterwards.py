"""What waits for the end of a turn: in order, once, and whatever becomes of one."""

from __future__ import annotations

import asyncio

import pytest

from backends.tasks import start
from proxy.afterwards import Afterwards


async def test_it_is_done_in_order_before_whoever_waits_for_the_task() -> None:
    """Several tasks of one turn, each heard of once."""
    afterwards, done = Afterwards(), list[int]()

    async def request(number: int) -> None:
        afterwards.do(lambda: done.append(number))

    tasks = [start(request(number), name="request") for number in range(3)]
    await tasks[0]
    assert done == [0, 1, 2]
    await asyncio.gather(*tasks)
    afterwards.do(lambda: done.append(3))
    assert done == [0, 1, 2]
    await asyncio.sleep(0)
    assert done == [0, 1, 2, 3]


async def test_one_that_fails_keeps_no_other_from_being_done(caplog: pytest.LogCaptureFixture) -> None:
    """It is a bug, which the log tells of."""
    afterwards, done = Afterwards(), list[int]()

    def fails() -> None:
        raise ZeroDivisionError

    afterwards.do(fails)
    afterwards.do(lambda: done.append(1))
    await asyncio.sleep(0)
    assert done == [1]
    assert "what follows a request failed" in caplog.text


async def test_it_may_be_done_before_its_turn() -> None:
    """An end does not wait for the loop; nothing is done twice."""
    afterwards, done = Afterwards(), list[int]()
    afterwards.do(lambda: done.append(1))
    afterwards.now()
    assert done == [1]
    await asyncio.sleep(0)
    assert done == [1]


def test_without_a_loop_it_is_done_at_once() -> None:
    """A request that is taken down with its loop still has its line."""
    afterwards, done = Afterwards(), list[int]()
    afterwards.do(lambda: done.append(1))
    afterwards.do(lambda: done.append(2))
    assert done == [1, 2]
