"""What keeps targets warm and brings them back, put together."""

from __future__ import annotations

import pytest

from backends.state import StoreError
from policies.table import BedrockSpec, ImportCost, Target
from proxy.warmth import beside, warmth_of
from tests.memory import MemoryStore
from tests.policies.written import IMPORT
from tests.warmers.world import World, frozen, route_to

TARGET = Target("imported", "bedrock", BedrockSpec(IMPORT), speaks="openai-chat", cost=ImportCost(1))


async def test_alone_there_is_nobody_to_tell() -> None:
    """Without a store the process is always on duty, and hears of no other."""
    made = warmth_of(World(route_to(TARGET), {}, frozen()).parts, None, lambda: "id", None)
    assert made.uses is None
    assert made.warmer.on_duty


async def test_with_a_store_all_parts_are_one_member_of_the_fleet() -> None:
    """Lease, uses and restores go by one name."""
    store, clock = MemoryStore(), frozen()
    world = World(route_to(TARGET), {}, clock)
    names = iter(["only"])
    made = warmth_of(world.parts, store, lambda: next(names), None)
    assert made.uses is not None
    world.book.begin(TARGET, 0)
    world.book.answered(TARGET, 0, clock.now())
    await made.uses.exchange()
    assert list(store.groups["uses"]) == ["only"]
    assert await made.warmer.once() == ()
    assert store.leases["warmer"].holder == "only"


def test_a_store_beside_the_workers_is_no_condition(caplog: pytest.LogCaptureFixture) -> None:
    """Where its file can't be opened, the log says so, and the worker serves."""

    def opens() -> MemoryStore:
        raise StoreError("near.db: its folder is gone")

    store = MemoryStore()
    assert beside(lambda: store) is store
    assert beside(opens) is None
    assert "by what it sees itself: near.db: its folder is gone" in caplog.text
