"""One contract for every place that holds shared state: the same calls give the same answers everywhere."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.state import Item, Lease, Store, StoreError, open_store
from tests.environments import environment
from tests.memory import MemoryStore
from tests.objects import BUCKET
from tests.stores import CREDENTIALS, KINDS, Places, places

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with places(tmp_path_factory.mktemp("stores")) as found:
        yield found


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, everywhere: Places, monkeypatch: pytest.MonkeyPatch) -> str:
    return found(request.param, everywhere, monkeypatch)


def found(kind: str, everywhere: Places, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in everywhere.variables().items():
        monkeypatch.setenv(name, value)
    return everywhere.address(kind)


@pytest.fixture(params=[*KINDS, "memory"])
async def both(
    request: pytest.FixtureRequest, everywhere: Places, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Store, Store]]:
    """The same state as two processes have it; that of other tests' fakes too, so that they tell the truth."""
    if request.param == "memory":
        memory = MemoryStore()
        yield memory, memory
        return
    address = found(request.param, everywhere, monkeypatch)
    stores = open_store(address), open_store(address)
    yield stores
    for one in stores:
        await one.aclose()


@pytest.fixture
def store(both: tuple[Store, Store]) -> Store:
    return both[0]


@pytest.fixture
def other(both: tuple[Store, Store]) -> Store:
    return both[1]


async def test_lease_has_one_holder(store: Store, other: Store) -> None:
    """Another gets none while it lasts; its holder renews it under the same token."""
    first = await store.take("warmer", "a", 100.0, 15.0)
    assert first is not None
    assert (first.holder, first.expires) == ("a", 115.0)
    assert await other.take("warmer", "b", 114.9, 15.0) is None
    renewed = await store.take("warmer", "a", 110.0, 15.0)
    assert renewed is not None
    assert (renewed.token, renewed.expires) == (first.token, 125.0)
    taken = await other.take("warmer", "b", 125.0, 15.0)
    assert taken is not None
    assert taken.holder == "b"


async def test_every_new_holder_has_a_higher_token(store: Store) -> None:
    """Also one that had it before and lost it, so that its late writes can be told apart."""
    tokens = []
    for turn, holder in enumerate(["a", "b", "a", "a"]):
        lease = await store.take("warmer", holder, turn * 15.0, 15.0)
        assert lease is not None
        tokens.append(lease.token)
    assert tokens == sorted(set(tokens))


async def test_a_lease_that_was_forgotten_has_a_higher_token_too(store: Store) -> None:
    """Its last holder may still write with the token from before, which must not keep its successors from writing.

    Of a lease of another name as little is known as in a store that was emptied.
    """
    before = [await store.take("warmer", "a", 1000.0 + turn * 15.0, 15.0) for turn in range(5)]
    after = await store.take("forgotten", "b", 1061.0, 15.0)
    assert before[-1] is not None
    assert after is not None
    assert after.token > before[-1].token


async def test_released_lease_can_be_taken_at_once(store: Store, other: Store) -> None:
    """A proxy that ends in good order leaves no gap; releasing what is another's has no effect."""
    first = await store.take("warmer", "a", 100.0, 15.0)
    assert first is not None
    await store.release(first)
    second = await other.take("warmer", "b", 100.1, 15.0)
    assert second is not None
    assert second.token > first.token
    await store.release(first)
    assert await store.take("warmer", "c", 100.2, 15.0) is None
    await store.release(second)
    assert await store.take("warmer", "c", 100.3, 15.0) is not None


async def test_lease_that_nobody_took_is_released_without_effect(store: Store) -> None:
    """A store that was emptied under its holder does not stop it from ending in good order."""
    first = await store.take("warmer", "a", 100.0, 15.0)
    assert first is not None
    await store.release(type(first)("another", "a", 1, 0.0))
    assert await store.take("warmer", "b", 100.1, 15.0) is None


async def test_leases_have_names(store: Store) -> None:
    """One duty says nothing about another."""
    assert await store.take("warmer", "a", 0.0, 15.0) is not None
    assert await store.take("migrations", "b", 0.0, 15.0) is not None


async def test_late_holder_can_not_overwrite_its_successor(store: Store, other: Store) -> None:
    """Fencing: a write with an older token changes nothing."""
    assert await store.read("warm/x") is None
    assert await store.write("warm/x", b"one", 1)
    assert await other.write("warm/x", b"two\nlines", 2)
    assert not await store.write("warm/x", b"late", 1)
    assert await store.read("warm/x") == b"two\nlines"
    assert await store.write("warm/x", b"three", 2)
    assert await other.read("warm/x") == b"three"
    assert await store.write("warm/x", b"four", 10)
    assert not await store.write("warm/x", b"tokens are numbers, not text", 9)


async def test_item_is_replaced_by_who_has_seen_it(store: Store, other: Store) -> None:
    """Compare and set: who has an older version, or none, changes nothing."""
    assert await store.items("migrations") == {}
    assert not await store.swap("migrations", "a/b", b"without the first", 1)
    assert await store.swap("migrations", "a/b", b"one", 0)
    assert not await other.swap("migrations", "a/b", b"again", 0)
    assert await other.items("migrations") == {"a/b": Item(1, b"one")}
    assert await other.swap("migrations", "a/b", b"two", 1)
    assert not await store.swap("migrations", "a/b", b"late", 1)
    assert not await store.swap("migrations", "a/b", b"from the future", 3)
    assert await store.swap("migrations", "c", b"", 0)
    assert await store.items("migrations") == {"a/b": Item(2, b"two"), "c": Item(1, b"")}
    assert await store.items("others") == {}


async def test_item_may_be_put_and_dropped_by_its_only_writer(store: Store, other: Store) -> None:
    """The last value stands, other groups and names are left alone, and dropping what is not there is nothing."""
    await store.put("evidence/x", "worker one", b"1")
    await store.put("evidence/x", "worker one", b"2")
    await store.put("evidence/x", "worker two", "\N{SNOWMAN}".encode())
    await store.put("evidence", "x", b"another group")
    assert await other.items("evidence/x") == {"worker one": Item(0, b"2"), "worker two": Item(0, b"\xe2\x98\x83")}
    await other.drop("evidence/x", "worker one")
    await other.drop("evidence/x", "worker one")
    assert await store.items("evidence/x") == {"worker two": Item(0, b"\xe2\x98\x83")}
    assert not await store.swap("evidence/x", "worker two", b"not by swap", 0)


async def test_of_many_at_once_one_wins(address: str) -> None:
    """Of processes that ask at the same moment one gets the lease, and one swaps."""
    stores = [open_store(address) for _ in range(4)]
    taken = await asyncio.gather(*(one.take("warmer", str(turn), 0.0, 15.0) for turn, one in enumerate(stores)))
    assert sum(lease is not None for lease in taken) == 1
    swapped = await asyncio.gather(*(one.swap("g", "n", b"%d" % turn, 0) for turn, one in enumerate(stores)))
    assert sum(swapped) == 1
    for one in stores:
        await one.aclose()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_processes_that_count_together_lose_nothing(address: str) -> None:
    """Three processes add to one item by compare and set, one is killed meanwhile: the sum is what they had answered.

    One more at most: the killed one may have written without living to say so.
    """
    command = (sys.executable, "-m", "tests.backends.state.counting", address, "12")
    members = [
        await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT) for _ in range(3)
    ]
    killed = members[0].stdout
    assert killed is not None
    said = [await killed.readline() for _ in range(3)]
    members[0].kill()
    said += (await killed.read()).splitlines()
    await asyncio.gather(*(member.wait() for member in members))
    assert [member.returncode for member in members[1:]] == [0, 0]
    store = open_store(address)
    item = (await store.items("counts"))["sum"]
    await store.aclose()
    answered = len(said) + 24
    assert answered <= int(item.value) <= answered + 1
    assert item.version == int(item.value)


async def test_newer_schema_is_refused(everywhere: Places, address: str) -> None:
    """State that a newer version has written is refused, not guessed at; an older one's is taken over."""
    first = open_store(address)
    await first.put("audit", "a", b"")
    await first.aclose()
    everywhere.age(address, 99)
    with pytest.raises(StoreError, match="newer version"):
        await refused(address)
    everywhere.age(address, 1)
    again = open_store(address)
    assert await again.items("audit") == {"a": Item(0, b"")}
    await again.aclose()


async def refused(address: str) -> None:
    store = open_store(address)
    try:
        await store.put("audit", "b", b"")
    finally:
        await store.aclose()


NAMES = st.sampled_from(["a", "b/c", "d e", "\N{SNOWMAN}"])
VALUES = st.sampled_from([b"", b"one", b"two\nlines", b"\x00\xff", b"7\n"])
OPERATIONS = st.one_of(
    st.tuples(st.just("take"), NAMES, st.sampled_from(["x", "y"]), st.integers(0, 40).map(float), st.just(15.0)),
    st.tuples(st.just("release"), st.integers(0, 9)),
    st.tuples(st.just("read"), NAMES),
    st.tuples(st.just("write"), NAMES, VALUES, st.integers(0, 12)),
    st.tuples(st.just("items"), NAMES),
    st.tuples(st.just("swap"), NAMES, NAMES, VALUES, st.integers(0, 3)),
    st.tuples(st.just("put"), NAMES, NAMES, VALUES),
    st.tuples(st.just("drop"), NAMES, NAMES),
)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "examples"), [("sqlite", 40), ("valkey", 40), ("s3", 8)])
def test_any_calls_have_the_answers_of_the_model(
    kind: str, examples: int, everywhere: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked in whatever order: each place answers as a few dictionaries in memory would."""

    @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(OPERATIONS, max_size=25))
    def same(calls: list[tuple[Any, ...]]) -> None:
        asyncio.run(_compared(found(kind, everywhere, monkeypatch), calls))

    same()


@pytest.mark.slow
@pytest.mark.timeout(300)  # builds an environment the first time
def test_s3_of_others_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for S3 is ours; moto's is not, and it gives the same answers."""
    server = subprocess.Popen(
        [environment("moto"), ROOT / "tests" / "clients" / "serve_moto.py", BUCKET],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert server.stdout is not None
    try:
        url = server.stdout.readline().decode().strip()
        for name, value in (CREDENTIALS | {"AWS_ENDPOINT_URL_S3": url}).items():
            monkeypatch.setenv(name, value)
        numbers = itertools.count()

        @settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(OPERATIONS, max_size=25))
        def same(calls: list[tuple[Any, ...]]) -> None:
            asyncio.run(_compared(f"s3://{BUCKET}/moto-{next(numbers)}", calls))

        same()
    finally:
        server.communicate()


async def _compared(address: str, calls: list[tuple[Any, ...]]) -> None:
    model, store = MemoryStore(), open_store(address)
    leases: list[Lease] = []
    try:
        for name, *words in calls:
            if name == "release":
                if leases:
                    words = [leases[words[0] % len(leases)]]
                else:
                    continue
            wanted, got = [await getattr(one, name)(*words) for one in (model, store)]
            assert (dict(got) if name == "items" else got) == wanted, (name, words)
            if name == "take" and got is not None:
                leases.append(got)
    finally:
        await store.aclose()
