"""A pause between requests: over at once where nothing else runs, and to asyncio a future like any."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from backends.http.idle import Idle

PLACE: ContextVar[str] = ContextVar("PLACE", default="")


class Waiting:
    """A task that notes each end of its pauses: who runs, and where."""

    def __init__(self, idle: Idle) -> None:
        self.ends: list[tuple[bool, str]] = []
        self.idle = idle
        self.task = asyncio.ensure_future(self._wait())

    async def _wait(self) -> None:
        PLACE.set("the task's")
        while len(self.ends) < 3:
            await self.idle
            self.ends.append((asyncio.current_task() is self.task, PLACE.get()))


def called(loop: asyncio.AbstractEventLoop, *steps: object) -> asyncio.Future[None]:
    """The steps, done by the loop itself, where no task is the current one."""
    over = loop.create_future()

    def act() -> None:
        for step in steps:
            assert callable(step)
            step()
        over.set_result(None)

    loop.call_soon(act)
    return over


async def test_a_pause_ends_inside_the_call_that_ends_it() -> None:
    """The task runs on at once, as itself and in its own context, as often as there is a pause."""
    idle = Idle(asyncio.get_running_loop())
    waiting = Waiting(idle)
    assert idle.done()
    await asyncio.sleep(0)
    for count in (1, 2, 3):
        seen: list[int] = []
        assert not idle.done()
        await called(
            idle.get_loop(),
            lambda: idle.set_result(None),
            lambda: idle.go(at_once=True),
            lambda: seen.append(len(waiting.ends)),  # noqa: B023 - called before the next round
        )
        assert seen == [count]
    await waiting.task
    assert waiting.ends == [(True, "the task's")] * 3


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_task_that_runs_is_not_interrupted(at_once: bool) -> None:
    """Who ends a pause from a task, or wants it so, has it end in the loop's next turn."""
    idle = Idle(asyncio.get_running_loop())
    waiting = Waiting(idle)
    await asyncio.sleep(0)
    if at_once:
        idle.set_result(None)
        idle.go(at_once=True)
        assert waiting.ends == []
        await asyncio.sleep(0)
    else:
        seen: list[int] = []
        await called(
            idle.get_loop(),
            lambda: idle.set_result(None),
            lambda: idle.go(at_once=False),
            lambda: seen.append(len(waiting.ends)),
        )
        assert seen == [0]
    assert waiting.ends == [(True, "the task's")]
    waiting.task.cancel()


@pytest.mark.parametrize("through", ["the pause", "the task", "both"])
async def test_a_pause_can_be_cancelled(through: str) -> None:
    """As a connection's task is when the client leaves; and it is told only once."""
    idle = Idle(asyncio.get_running_loop())
    waiting = Waiting(idle)
    await asyncio.sleep(0)
    if through != "the task":
        assert idle.cancel()
    if through != "the pause":
        assert waiting.task.cancel()
    assert idle.done()
    assert not idle.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting.task
    assert waiting.ends == []


async def test_a_task_that_is_cancelled_between_the_end_of_its_pause_and_its_turn_is_cancelled() -> None:
    """A client may leave right behind its request."""
    idle = Idle(asyncio.get_running_loop())
    waiting = Waiting(idle)
    await asyncio.sleep(0)
    idle.set_result(None)
    waiting.task.cancel()
    idle.go(at_once=True)
    with pytest.raises(asyncio.CancelledError):
        await waiting.task
    assert waiting.ends == []


async def test_limits_hold_for_what_runs_inside_the_call() -> None:
    """A time limit begun there ends the task's own wait, and what it starts are tasks of their own."""
    idle = Idle(asyncio.get_running_loop())
    never = asyncio.Event()

    async def limited() -> str:
        await idle
        child = asyncio.ensure_future(asyncio.sleep(0, "child"))
        try:
            async with asyncio.timeout(0):
                await never.wait()
        except TimeoutError:
            return await child
        return ""

    task = asyncio.ensure_future(limited())
    await asyncio.sleep(0)
    await called(idle.get_loop(), lambda: idle.set_result(None), lambda: idle.go(at_once=True))
    assert await task == "child"


async def test_there_may_be_nothing_to_tell() -> None:
    """Nobody waited."""
    idle = Idle(asyncio.get_running_loop())
    idle.set_result(None)
    idle.go(at_once=True)
    idle.result()
