"""One process on duty: who has it, who follows, and what happens when the store is gone."""

from __future__ import annotations

from tests.memory import MemoryStore
from warmers.lease import Duty


class Moments:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_store_is_asked_once_in_a_third_of_the_period() -> None:
    """Looking often costs the store nothing, and the holder has two more tries before the lease ends."""
    clock, store = Moments(), MemoryStore()
    duty = Duty(store, "a", clock, period=15.0)
    numbers = set()
    for _ in range(10):
        numbers.add(await duty.hold())
        clock.now += 1.0
    assert len(numbers - {None}) == 1
    assert store.asked == 2


async def test_silent_holder_is_followed_within_two_periods() -> None:
    """A process that is killed renews no more; another has the duty after one period and a third at most."""
    clock, store = Moments(), MemoryStore()
    first, second = Duty(store, "a", clock, 15.0), Duty(store, "b", clock, 15.0)
    before = await first.hold()
    assert before is not None
    killed = clock.now
    while (after := await second.hold()) is None:
        clock.now += second.look
    assert clock.now - killed <= 20.0
    assert after > before


async def test_holder_without_a_store_keeps_the_duty_until_the_lease_ends() -> None:
    """Not a moment longer: another may have it then. It is back when the store is."""
    clock, store = Moments(), MemoryStore()
    duty = Duty(store, "a", clock, 15.0)
    before = await duty.hold()
    assert before is not None
    store.cut = lambda: True
    clock.now += 14.9
    assert await duty.hold() == before
    assert duty.lost
    clock.now += 0.1
    assert await duty.hold() is None
    store.cut = lambda: False
    clock.now += duty.look
    after = await duty.hold()
    assert after is not None
    assert after > before
    assert not duty.lost


async def test_released_duty_is_free_at_once() -> None:
    """A process that ends in good order leaves no gap; one that cannot reach the store ends all the same."""
    clock, store = Moments(), MemoryStore()
    first, second = Duty(store, "a", clock), Duty(store, "b", clock)
    before = await first.hold()
    await first.release()
    after = await second.hold()
    assert before is not None
    assert after is not None
    assert after > before
    store.cut = lambda: True
    await second.release()
    await second.release()
