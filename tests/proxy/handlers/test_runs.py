"""The time limit of a hook, and the clock that stands still while it waits for another endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from proxy.handlers.errors import HandlerError
from proxy.handlers.runs import Limit
from proxy.rehearsal.loop import VirtualLoop

FOREVER = 3600.0


def exactly(work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Do it in virtual time, in which a limit is exact."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work())


def limit(seconds: float, deadline: float = FOREVER) -> Limit:
    return Limit(seconds, asyncio.get_running_loop().time() + deadline)


@pytest.mark.parametrize(("seconds", "deadline"), [(0.01, FOREVER), (FOREVER, 0.01)])
async def test_limit_and_deadline_end_a_hook(seconds: float, deadline: float) -> None:
    """Whichever comes first; the failure says that it was too slow."""
    with pytest.raises(HandlerError) as caught:
        async with limit(seconds, deadline).running():
            await asyncio.Event().wait()
    assert caught.value.timed_out


def test_each_hook_has_the_whole_limit() -> None:
    """A second hook of a request does not pay for the first."""

    async def hooks() -> None:
        own = limit(0.5)
        for _ in range(3):
            async with own.running():
                await asyncio.sleep(0.4)

    exactly(hooks)


def test_a_wait_for_a_place_is_not_the_hooks_own_time() -> None:
    """From its turn on a hook has its whole limit, and no more than that."""

    async def hook(seconds: float) -> None:
        own = limit(0.5)
        async with own.running():
            await asyncio.sleep(0.4)
            own.begins()
            await asyncio.sleep(seconds)

    exactly(lambda: hook(0.49))
    with pytest.raises(HandlerError):
        exactly(lambda: hook(0.51))


async def test_a_hook_that_begins_late_has_the_requests_deadline() -> None:
    """Waiting and running together take no longer than the request may."""
    own = limit(FOREVER, 0.02)

    async def hook() -> None:
        async with own.running():
            own.begins()
            await asyncio.Event().wait()

    with pytest.raises(HandlerError):
        await hook()


def test_limit_stands_still_while_another_endpoint_is_asked() -> None:
    """Waiting for other models is not the customer's code; their own time goes on counting after it."""

    async def in_time() -> None:
        own = limit(0.3)
        async with own.running():
            await asyncio.sleep(0.2)
            with own.paused(), own.paused():
                await asyncio.sleep(0.4)
            await asyncio.sleep(0.05)

    async def too_long() -> None:
        own = limit(0.3)
        async with own.running():
            with own.paused():
                await asyncio.sleep(0.4)
            await asyncio.sleep(0.31)

    exactly(in_time)
    with pytest.raises(HandlerError):
        exactly(too_long)


async def test_the_deadline_does_not_stand_still() -> None:
    """What is asked from within a hook has the request's own deadline."""
    own = limit(FOREVER, 0.02)

    async def waits() -> None:
        async with own.running():
            with own.paused():
                await asyncio.Event().wait()

    with pytest.raises(HandlerError):
        await waits()


async def test_pause_outside_a_hook_is_nothing() -> None:
    """An answer that comes after its hook has ended changes nothing."""
    with limit(1).paused():
        pass


async def test_other_failures_pass() -> None:
    """The limit is about time alone."""
    with pytest.raises(ValueError, match="x"):
        async with limit(1).running():
            raise ValueError("x")
