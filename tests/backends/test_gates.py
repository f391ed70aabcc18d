"""Places at targets: taken, waited for, given way for, refused at once, and always given back."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from backends.gates import Gates, Refused
from backends.owners import Owners, new_memory
from policies.kinds import alike
from policies.limits import Bounds
from policies.quotas import Quota, Rate
from policies.table import EndpointSpec, LimitRule, Target


def target(name: str = "gpu", *, queue: int = 2, queue_bytes: int = 100, wait: float = 5.0) -> Target:
    """A target that takes one request at a time."""
    rule = LimitRule(Bounds(1, 1), queue, queue_bytes, wait)
    return Target(name, "endpoint", EndpointSpec(name), limit=rule)


GPU = target()
LIKE = alike("chat", 100, 100)


def waiting(gates: Gates, shed: str = "normal", size: int = 10, at: Target = GPU) -> asyncio.Task[None]:
    return asyncio.create_task(gates.queue(at, shed, size, 60.0))


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def done(*tasks: asyncio.Task[None]) -> list[bool]:
    return [task.done() for task in tasks]


async def ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_place_is_taken_waited_for_and_handed_on_in_order() -> None:
    """Who came first gets in first, and nobody overtakes those who wait."""
    gates = Gates()
    assert gates.enter(GPU)
    assert not gates.enter(GPU)
    first, second = waiting(gates), waiting(gates)
    await settled()
    gates.leave(GPU)
    await settled()
    assert done(first, second) == [True, False]
    assert not gates.enter(GPU)
    gates.leave(GPU)
    await settled()
    assert done(second) == [True]
    assert list(gates.states()) == [("gpu", 1, 1, 0)]


async def test_one_hot_target_keeps_nobody_else_waiting() -> None:
    """Each target has a gate of its own."""
    gates = Gates()
    gates.enter(GPU)
    queued = [waiting(gates), waiting(gates)]
    await settled()
    assert gates.enter(target("other"))
    await ended(*queued)


@pytest.mark.parametrize(("at", "size"), [(target(queue=1), 1), (target(queue_bytes=15), 10), (target(queue=0), 1)])
async def test_a_full_queue_refuses_at_once(at: Target, size: int) -> None:
    """Neither requests nor bytes beyond the bound are kept, and the refusal says when to come again."""
    gates = Gates()
    gates.enter(at)
    queued = waiting(gates, size=size, at=at)
    await settled()
    with pytest.raises(Refused, match="full") as caught:
        await gates.queue(at, "normal", size, 60.0)
    assert 1.0 <= caught.value.retry_after <= 30.0
    await ended(queued)


async def test_the_newest_of_the_lowest_rank_makes_room() -> None:
    """The policy's order says who is shed: `first` before `normal` before `last`."""
    gates = Gates()
    gates.enter(GPU)
    early, late = waiting(gates, "first"), waiting(gates, "first")
    await settled()
    important = waiting(gates, "last")
    await settled()
    with pytest.raises(Refused, match="higher rank"):
        await late
    with pytest.raises(Refused, match="full"):
        await gates.queue(GPU, "first", 10, 60.0)
    gates.leave(GPU)
    await settled()
    assert done(important, early) == [True, False]
    await ended(early)


@pytest.mark.parametrize("size", [101, 95])
async def test_nobody_gives_way_in_vain(size: int) -> None:
    """A body that finds no room whoever goes is refused, and those of a lower rank wait on."""
    at = target(queue=9)
    gates = Gates()
    gates.enter(at)
    queued = [waiting(gates, "last", at=at), waiting(gates, "normal", at=at), waiting(gates, "first", at=at)]
    await settled()
    with pytest.raises(Refused, match="full"):
        await gates.queue(at, "last", size, 60.0)
    await settled()
    assert done(*queued) == [False, False, False]
    await ended(*queued)


async def test_as_many_give_way_as_are_needed() -> None:
    """The newest of the lowest rank first, until the bytes suffice."""
    at = target(queue=9)
    gates = Gates()
    gates.enter(at)
    queued = [waiting(gates, shed, 30, at) for shed in ("normal", "first", "first")]
    await settled()
    important = waiting(gates, "last", 60, at)
    await settled()
    assert done(*queued, important) == [False, True, True, False]
    await ended(*queued, important)


async def test_nobody_waits_for_longer_than_the_policy_says() -> None:
    """A turn that does not come is a refusal, and the queue is empty again."""
    at = target(wait=0.02)
    gates = Gates()
    gates.enter(at)
    with pytest.raises(Refused, match="too long"):
        await gates.queue(at, "normal", 10, 60.0)
    with pytest.raises(Refused, match="too long"):
        await gates.queue(target(), "normal", 10, 0.02)
    assert list(gates.states()) == [("gpu", 1, 1, 0)]


async def test_who_goes_away_while_waiting_leaves_nothing_behind() -> None:
    """Not even when it is let in at the very moment it goes."""
    gates = Gates()
    gates.enter(GPU)
    gone, unlucky, lucky = waiting(gates), waiting(gates), None
    await settled()
    gone.cancel()
    await settled()
    gates.leave(GPU)
    unlucky.cancel()
    await settled()
    assert list(gates.states()) == [("gpu", 1, 0, 0)]
    assert gates.enter(GPU)
    lucky = waiting(gates, size=100)
    await settled()
    gates.leave(GPU)
    await lucky


async def test_a_gate_in_use_is_kept() -> None:
    """A reload forgets nobody who is inside."""
    gates = Gates()
    gates.enter(GPU)
    gates.keep([])
    assert [name for name, *_ in gates.states()] == ["gpu"]


async def test_processes_divide_what_a_target_may_bear() -> None:
    """Together they send it no more than the policy says; a reload that changes the rule holds from then on."""
    gates = Gates(workers=2)
    four = replace(GPU, limit=LimitRule(Bounds(1, 4), queue=0))
    assert [gates.enter(four) for _ in range(3)] == [True, True, False]
    six = replace(four, limit=LimitRule(Bounds(1, 6), queue=0))
    assert [gates.enter(six) for _ in range(2)] == [True, False]
    with pytest.raises(Refused, match="the queue is full"):
        await gates.queue(six, "normal", 1, 1.0)


async def test_who_waits_gets_in_where_a_policy_makes_room() -> None:
    """At once, though nobody leaves: those who are inside may be streams of minutes."""
    gates = Gates()
    gates.keep([GPU])
    assert gates.enter(GPU)
    first, second, third = (waiting(gates) for _ in range(3))
    await settled()
    assert [task.done() and task.exception() is not None for task in (first, second, third)] == [False, False, True]
    gates.keep([replace(GPU, limit=LimitRule(Bounds(1, 2), 2, 100, 5.0))])
    await settled()
    assert done(first, second) == [True, False]
    assert list(gates.states()) == [("gpu", 2, 2, 1)]
    await ended(second)


def test_an_owner_has_so_many_requests() -> None:
    """Over all of its routes, whichever process is asked, and apart from other owners."""
    descriptor = new_memory()
    one, other = (Gates(2, 0.0, Owners(descriptor)) for _ in range(2))
    quota = Quota("us", requests=Rate(4.0, 1.0))
    for gates in (one, one, one, other):
        gates.admit_owner(quota, 10.0)
    for gates in (one, other):
        with pytest.raises(Refused, match="owner us is over its requests") as caught:
            gates.admit_owner(quota, 10.0)
        assert caught.value.retry_after == 1.0
        gates.admit_owner(Quota("them", requests=Rate(4.0, 1.0)), 10.0)
    other.admit_owner(quota, 10.3)
    os.close(descriptor)


def test_who_came_long_before_brings_no_time_back() -> None:
    """A request counts from its head, though its body was under way for half a minute: an owner whose requests are some
    of them slow has the same quota."""
    gates, quota = Gates(), Quota("us", requests=Rate(4.0, 4.0))
    admitted = 0
    for came in (100.0, 70.0) * 20:
        try:
            gates.admit_owner(quota, came)
        except Refused:
            continue
        admitted += 1
    assert admitted == 4


def test_tokens_are_charged_afterwards() -> None:
    """The request that goes over is served; the one after it waits until the debt is paid."""
    gates, quota = Gates(), Quota("us", tokens=Rate(600.0, 60.0))
    gates.admit_owner(quota, 10.0)
    gates.charge_owner(quota, 650, 10.0)
    with pytest.raises(Refused, match="over its tokens") as caught:
        gates.admit_owner(quota, 10.0)
    assert caught.value.retry_after == 5.0
    gates.admit_owner(quota, 15.1)
    gates.charge_owner(Quota("them"), 10**9, 10.0)
    gates.admit_owner(Quota("them"), 10.0)


def test_who_owes_tokens_loses_no_requests_by_asking() -> None:
    """A client that repeats what was refused has its requests left once the debt is paid."""
    gates, quota = Gates(), Quota("us", requests=Rate(2.0, 3600.0), tokens=Rate(600.0, 60.0))
    gates.charge_owner(quota, 650, 10.0)
    for _ in range(3):
        with pytest.raises(Refused, match="over its tokens"):
            gates.admit_owner(quota, 10.0)
    gates.admit_owner(quota, 16.0)
    gates.admit_owner(quota, 16.0)
    with pytest.raises(Refused, match="over its requests"):
        gates.admit_owner(quota, 16.0)


async def test_full_is_where_the_next_one_would_wait() -> None:
    """Or where one waits already."""
    gates, two = Gates(), Target("two", "endpoint", EndpointSpec("two"), limit=LimitRule(Bounds(2, 2)))
    found = [gates.full(two)]
    for _ in range(2):
        assert gates.enter(two)
        found.append(gates.full(two))
    assert found == [False, False, True]
    gates.leave(two)
    assert not gates.full(two)


def test_work_of_our_own_takes_nobodys_place() -> None:
    """It begins while less than half of the places are taken, its own counted; clients still have all of them."""
    gates, four = Gates(), Target("four", "endpoint", EndpointSpec("four"), limit=LimitRule(Bounds(4, 4)))
    assert gates.enter_spare(four)
    assert gates.enter_spare(four)
    assert not gates.enter_spare(four)
    assert not gates.spacious(four)
    assert [gates.enter(four) for _ in range(5)] == [True] * 4 + [False]
    gates.leave_spare(four)
    assert not gates.enter_spare(four)
    for _ in range(3):
        gates.leave(four)
    assert not gates.enter_spare(four)
    gates.leave(four)
    assert gates.enter_spare(four)
    gates.keep(())
    assert [name for name, *_ in gates.states()] == ["four"]
    for _ in range(2):
        gates.leave_spare(four)
    gates.keep(())
    assert list(gates.states()) == []


async def test_work_of_our_own_gives_way_to_who_waits() -> None:
    """While a client waits for a place, none is taken."""
    gates = Gates()
    assert gates.enter(GPU)
    other = waiting(gates)
    await settled()
    assert not gates.enter_spare(GPU)
    gates.leave(GPU)
    await other
    gates.leave(GPU)
    assert gates.enter_spare(GPU)


async def test_a_burst_is_queued() -> None:
    """A queue that was empty a moment ago holds half a second of work, five times what a standing one may."""
    gates, slow = Gates(), replace(GPU, limit=LimitRule(Bounds(1, 1), 1000, 1 << 20, 30.0))
    for second in range(200):
        gates.of(slow).answered(0.03, 1, 0, float(second), LIKE)
    assert gates.enter(slow)
    burst = [waiting(gates, at=slow) for _ in range(15)]
    await settled()
    assert [state[3] for state in gates.states()] == [15]
    await ended(*burst)


async def test_a_queue_behind_streams_is_as_short_as_they_are_long() -> None:
    """Their first piece comes soon, but it is their end that lets the next one in, as far as one has been seen."""
    gates, slow = Gates(), replace(GPU, limit=LimitRule(Bounds(2, 2), 1000, 1 << 20, 30.0))
    for second in range(200):
        gates.of(slow).answered(0.03, 1, 0, float(second), LIKE)
    gate = gates.of(slow)
    assert [gates.enter(slow), gates.enter(slow)] == [True, True]
    gate.streams()
    assert gate.turn_of(4) == pytest.approx(4 * 0.03 / 2)
    gate.streamed(12.0)
    assert gate.turn_of(4) == pytest.approx(4 * 0.03 / 2)  # none now
    for _ in range(2):
        gate.streams()
    assert gate.turn_of(1) == pytest.approx(6.0)
    first = waiting(gates, at=slow)
    await settled()
    with pytest.raises(Refused, match="a turn would come too late") as caught:
        await gates.queue(slow, "normal", 1, 60.0)
    assert caught.value.retry_after == pytest.approx(6.0)
    gate.streamed(2.0)
    gates.leave(slow)
    await first
    assert gate.turn_of(2) == pytest.approx(2 / (1 / 0.03 + 1 / 11.0))  # one of two places is a stream's
    gate.streamed(2.0)
    assert gate.streaming == 0
