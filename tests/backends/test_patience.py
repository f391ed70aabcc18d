"""Limits that pass in time, and what came while the process stood still."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import cast

import pytest
import uvloop

from backends.patience import ON_TIME, Alarm, Limit, limit, limit_at, waited
from backends.tasks import start

Loop = Callable[[], asyncio.AbstractEventLoop]
EITHER = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


def run(loop: Loop, scenario: Coroutine[object, object, None]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario)


def stand_still(seconds: float) -> None:
    """Hold the loop, as code of a customer may."""
    threading.Event().wait(seconds)


class ByHand:
    """A loop's clock that is moved, and turns that are taken, by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None], asyncio.Handle]] = []
        self.soon: list[tuple[Callable[[], None], asyncio.Handle]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> asyncio.Handle:
        handle = asyncio.Handle(call, (), cast("asyncio.AbstractEventLoop", self))
        self.timers.append((when, call, handle))
        return handle

    def call_later(self, delay: float, call: Callable[[], None]) -> asyncio.Handle:
        return self.call_at(self.now + delay, call)

    def call_soon(self, call: Callable[[], None]) -> asyncio.Handle:
        handle = asyncio.Handle(call, (), cast("asyncio.AbstractEventLoop", self))
        self.soon.append((call, handle))
        return handle

    def get_debug(self) -> bool:
        return False

    def turn(self, seconds: float) -> None:
        """So much later: timers that are due, then what was to be called soon before."""
        self.now += seconds
        soon, self.soon = self.soon, []
        due = [each for each in self.timers if each[0] <= self.now]
        self.timers = [each for each in self.timers if each[0] > self.now]
        for call, handle in [*((call, handle) for _, call, handle in due), *soon]:
            if not handle.cancelled():
                call()


def alarm(clock: ByHand, seconds: float) -> tuple[Alarm, list[float]]:
    rung: list[float] = []
    loop = cast("asyncio.AbstractEventLoop", clock)
    return Alarm(loop, clock.now + seconds, lambda: rung.append(clock.now)), rung


@pytest.mark.parametrize("late", [0.0, ON_TIME / 2])
def test_on_time_it_rings_at_once(late: float) -> None:
    """A limit is what was asked for as long as the loop is on time."""
    clock = ByHand()
    _, rung = alarm(clock, 10.0)
    clock.turn(9.9)
    assert rung == []
    clock.turn(0.1 + late)
    assert len(rung) == 1


def test_late_it_waits_as_long_once_more_and_a_turn() -> None:
    """A loop that was three seconds late reads for three seconds; then it is over, however late it is again."""
    clock = ByHand()
    _, rung = alarm(clock, 10.0)
    clock.turn(13.0)
    clock.turn(2.9)
    assert rung == []
    clock.turn(60.0)
    assert rung == []
    clock.turn(0.0)
    assert len(rung) == 1


def test_what_was_due_before_it_was_asked_for_is_not_late() -> None:
    """A deadline that has passed already is no sign of a loop that stood still."""
    clock = ByHand()
    _, rung = alarm(clock, -50.0)
    clock.turn(0.001)
    assert len(rung) == 1


@pytest.mark.parametrize("turns", [(), (13.0,), (13.0, 3.0)])
def test_cancelled_at_any_stage_it_never_rings(turns: tuple[float, ...]) -> None:
    """Before it is due, while it is late, and in its last turn."""
    clock = ByHand()
    one, rung = alarm(clock, 10.0)
    for seconds in turns:
        clock.turn(seconds)
    one.cancel()
    clock.turn(60.0)
    clock.turn(60.0)
    clock.turn(0.0)
    assert rung == []


@EITHER
def test_a_limit_ends_its_block(loop: Loop) -> None:
    """As `asyncio.timeout_at` does; one that has passed before it began as well."""

    async def scenario() -> None:
        for seconds in (0.01, -1.0):
            with pytest.raises(TimeoutError):
                async with limit(seconds) as own:
                    await asyncio.Event().wait()
            assert own.expired()

    run(loop, scenario())


@EITHER
def test_a_limit_can_be_moved(loop: Loop) -> None:
    """Later, and it does not pass; sooner, and it does."""

    async def scenario() -> None:
        running = asyncio.get_running_loop()
        now = running.time()
        async with limit_at(now + 0.01) as own:
            own.reschedule(now + 60.0)
            await asyncio.sleep(0.02)
        assert (own.when(), own.expired()) == (now + 60.0, False)
        own = limit_at(now + 60.0)
        running.call_soon(running.call_soon, own.reschedule, now)
        with pytest.raises(TimeoutError):
            async with own:
                await asyncio.Event().wait()

    run(loop, scenario())


@EITHER
def test_a_limit_that_is_moved_as_it_rings_is_not_over(loop: Loop) -> None:
    """What moves it may be called in the very turn in which it passes."""

    async def scenario() -> None:
        running, later = asyncio.get_running_loop(), asyncio.Event()
        when = running.time() + 0.02
        async with limit_at(when) as moved:
            running.call_at(when + 1e-6, moved.reschedule, when + 60)
            running.call_at(when + 0.05, later.set)
            await later.wait()

    run(loop, scenario())


@EITHER
def test_who_is_cancelled_from_outside_is_told_so(loop: Loop) -> None:
    """It is no timeout."""

    async def scenario() -> None:
        async def held() -> None:
            async with Limit(asyncio.get_running_loop().time() + 60.0):
                await asyncio.Event().wait()

        task = start(held(), name="held")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(loop, scenario())


@EITHER
def test_what_came_while_the_loop_stood_still_is_in_time(loop: Loop) -> None:
    """It lies in the socket when the limit passes, and is read."""

    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        running = asyncio.get_running_loop()

        def meanwhile() -> None:
            theirs.send(b"here")
            stand_still(0.1)

        with ours, theirs:
            running.call_later(0.01, meanwhile)
            async with limit(0.03):
                assert await running.sock_recv(ours, 10) == b"here"
            running.call_later(0.01, meanwhile)
            reading = start(running.sock_recv(ours, 10), name="reading")
            assert await waited(reading, 0.03)
            assert await reading == b"here"

    run(loop, scenario())


@EITHER
def test_who_waits_for_a_task_leaves_it_alone(loop: Loop) -> None:
    """It is told whether the task is over, and nothing happens to it."""

    async def scenario() -> None:
        leave = asyncio.Event()
        task = start(leave.wait(), name="waits")
        assert not await waited(task, 0.01)
        assert not task.done()
        leave.set()
        assert await waited(task, 60.0)

    run(loop, scenario())
