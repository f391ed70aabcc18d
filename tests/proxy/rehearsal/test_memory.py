"""The state of a fleet of one keeps the store's promises."""

from __future__ import annotations

from backends.state import Item
from proxy.rehearsal.memory import MemoryStore


async def test_a_lease_has_one_holder_and_tokens_grow() -> None:
    """Another gets it once it has expired or was given up, with a higher token."""
    store = MemoryStore()
    first = await store.take("duty", "a", 0.0, 10.0)
    assert first is not None
    assert await store.take("duty", "b", 9.0, 10.0) is None
    renewed = await store.take("duty", "a", 9.0, 10.0)
    assert renewed is not None
    assert renewed.token == first.token
    await store.release(renewed)
    second = await store.take("duty", "b", 10.0, 10.0)
    assert second is not None
    assert second.token > first.token
    await store.release(renewed)  # another's by now
    assert await store.take("duty", "a", 11.0, 10.0) is None


async def test_documents_are_fenced() -> None:
    """Who has been succeeded writes nothing any more."""
    store = MemoryStore()
    assert await store.write("doc", b"new", 2)
    assert not await store.write("doc", b"old", 1)
    assert (await store.read("doc"), await store.read("none")) == (b"new", None)


async def test_items_are_swapped_by_who_has_seen_them() -> None:
    """A version that is not the newest changes nothing; what was put has version 0, as in every store."""
    store = MemoryStore()
    assert await store.swap("group", "item", b"1", 0)
    assert not await store.swap("group", "item", b"2", 0)
    assert await store.swap("group", "item", b"2", 1)
    await store.put("group", "other", b"x")
    assert await store.items("group") == {"item": Item(2, b"2"), "other": Item(0, b"x")}
    await store.drop("group", "item")
    await store.drop("nothing", "item")
    assert set(await store.items("group")) == {"other"}
    await store.aclose()
