"""The movable clock."""

from __future__ import annotations

import asyncio

import pytest

from backends.emulator.clock import Clock


class Steady:
    """Real time, moved by hand."""

    def __init__(self) -> None:
        self.value = 100.0

    def __call__(self) -> float:
        return self.value


def test_real_time_flows_until_it_is_frozen() -> None:
    """The clock follows the steady clock from the wall time of its start, and stands still when frozen."""
    steady = Steady()
    clock = Clock(wall=lambda: 1_000.0, steady=steady)
    steady.value += 5
    assert clock.now() == 1_005.0
    clock.freeze()
    steady.value += 60
    assert clock.frozen
    assert clock.now() == 1_005.0
    clock.freeze(False)
    steady.value += 1
    assert clock.now() == 1_006.0


def test_advance_adds_and_never_goes_back() -> None:
    """A step is added to the flowing time; a negative one is refused."""
    clock = Clock(wall=lambda: 0.0, steady=Steady())
    clock.advance(900)
    assert clock.now() == 900.0
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)


async def test_advance_fires_the_timers_that_lie_in_it_and_no_others() -> None:
    """Waiters whose moment is reached go on, the others keep waiting."""
    clock = Clock(wall=lambda: 0.0, steady=Steady())
    clock.freeze()
    near, far = asyncio.ensure_future(clock.pass_to(60)), asyncio.ensure_future(clock.pass_to(61))
    await asyncio.sleep(0)
    clock.advance(60)
    await near
    assert not far.done()
    clock.advance(1)
    await far


async def test_rest_ends_with_real_time_as_well() -> None:
    """Without anyone moving it, a wait takes as long as it says."""
    clock = Clock()
    before = clock.now()
    await clock.rest(0.02)
    assert clock.now() - before >= 0.02
    await clock.rest(0)


async def test_thawing_lets_a_frozen_wait_end() -> None:
    """A wait that began while frozen ends once time flows again."""
    clock = Clock()
    clock.freeze()
    waiting = asyncio.ensure_future(clock.rest(0.01))
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.freeze(False)
    await waiting


async def test_a_bell_wakes_its_waiters_and_is_rung_by_the_clock() -> None:
    """A waiter on a bell goes on at its ring, or when the clock is moved."""
    clock = Clock()
    bell = clock.bell()
    for ring in (bell.ring, lambda: clock.advance(1)):
        waiting = asyncio.ensure_future(clock.wait(bell, None))
        await asyncio.sleep(0)
        ring()
        await waiting
