"""Shared state in S3: what is only S3's; the contract is in test_store.py."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest

from backends.bucket import Bucket, Object
from backends.state import Item, StoreError
from backends.state.s3 import TRIES, S3Store
from tests.objects import BUCKET, Objects, objects


@pytest.fixture
def served() -> Iterator[Objects]:
    with objects() as server:
        yield server


def bucket(served: Objects) -> Bucket:
    return Bucket(
        BUCKET, "fleet", make_session=lambda: boto3.Session("a", "b", region_name="us-east-1"), s3_url=served.url
    )


async def test_looking_again_costs_one_request(served: Objects) -> None:
    """A group whose items have not changed is one listing; one that changed is read, and one that went is gone."""
    store, other = S3Store(BUCKET, "fleet", bucket(served)), S3Store(BUCKET, "fleet", bucket(served))
    for name in ("x", "y", "z"):
        await other.swap("migrations", name, b"one", 0)
    assert len(await store.items("migrations")) == 3
    served.asked.clear()
    assert len(await store.items("migrations")) == 3
    assert [method for method, _ in served.asked] == ["GET"]
    await other.swap("migrations", "y", b"two", 1)
    await other.drop("migrations", "z")
    served.asked.clear()
    assert await store.items("migrations") == {"x": Item(1, b"one"), "y": Item(2, b"two")}
    assert [path for _, path in served.asked] == [f"/{BUCKET}", f"/{BUCKET}/fleet/items/migrations/y"]
    await store.aclose()
    await other.aclose()


async def test_items_beyond_one_listing_are_found() -> None:
    """S3 lists a thousand at a time; a fleet may have more items."""
    with objects() as many:
        many.bodies = {f"fleet/items/g/{number:05d}": b"0\n" for number in range(1202)}
        listed = bucket(many)
        assert len(await listed.keys("items/g/")) == 1202
        await listed.aclose()


async def test_item_that_goes_while_a_group_is_read(served: Objects) -> None:
    """Between listing and reading it was dropped: it is not there."""

    class Quick(Bucket):
        async def get(self, key: str) -> Object | None:
            return None if key.startswith("items/") else await super().get(key)

    objects_ = Quick(
        BUCKET, "fleet", make_session=lambda: boto3.Session("a", "b", region_name="us-east-1"), s3_url=served.url
    )
    store = S3Store(BUCKET, "fleet", objects_)
    await store.put("g", "n", b"")
    assert await store.items("g") == {}
    await store.aclose()


async def test_too_many_at_once_is_told(served: Objects) -> None:
    """Who loses every race gives up and says so, and does not try for ever."""
    tries = []

    class Slow(Bucket):
        async def write(self, key: str, body: bytes, etag: str | None) -> bool:
            tries.append(key)
            return False

    slow = Slow(
        BUCKET, "fleet", make_session=lambda: boto3.Session("a", "b", region_name="us-east-1"), s3_url=served.url
    )
    store = S3Store(BUCKET, "fleet", slow)
    with pytest.raises(StoreError, match="too many at once"):
        await store.write("warm/x", b"", 1)
    assert len([key for key in tries if key != "schema"]) == TRIES
    assert await store.take("warmer", "a", 0.0, 15.0) is None
    await store.aclose()


async def test_s3_that_answers_errors(served: Objects) -> None:
    """StoreError names the place and what S3 answered; nothing is sent twice by itself."""
    store = S3Store(BUCKET, "fleet", bucket(served))
    served.status = 500
    with pytest.raises(StoreError, match=rf"s3://{BUCKET}/fleet: S3 answered InternalError"):
        await store.items("audit")
    assert len(served.asked) == 1
    served.status = None
    assert await store.items("audit") == {}
    await store.aclose()


@pytest.mark.parametrize("body", [b"", b"garbage", b"[]"])
async def test_what_others_have_written_there(body: bytes, served: Objects) -> None:
    """An object that is none of ours, or was emptied: StoreError names it, and it does no harm once it is gone."""
    store = S3Store(BUCKET, "fleet", bucket(served))
    lease = await store.take("warmer", "a", 0.0, 15.0)
    assert lease is not None
    await store.write("plans", b"one", 1)
    await store.swap("migrations", "x", b"one", 0)
    before = dict(served.bodies)
    served.bodies |= dict.fromkeys(before, body)
    for asked, key in (
        (store.take("warmer", "a", 1.0, 15.0), "leases/warmer"),
        (store.release(lease), "leases/warmer"),
        (store.read("plans"), "documents/plans"),
        (store.write("plans", b"two", 1), "documents/plans"),
        (store.items("migrations"), "items/migrations/x"),
        (store.swap("migrations", "x", b"two", 1), "items/migrations/x"),
        (S3Store(BUCKET, "fleet", bucket(served)).read("plans"), "schema"),
    ):
        with pytest.raises(StoreError, match=f"what is at {key} was not written by pointsman"):
            await asked
    served.bodies |= before
    assert await store.take("warmer", "a", 1.0, 15.0) is not None
    assert await store.items("migrations") == {"x": Item(1, b"one")}
    await store.aclose()
