"""Objects in S3 under conditions, through boto3 against a stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import boto3
import pytest

from backends.bucket import Bucket, Object
from tests.objects import BUCKET, Objects, objects


@pytest.fixture
def served() -> Iterator[Objects]:
    with objects() as server:
        yield server


@pytest.fixture
async def bucket(served: Objects) -> AsyncIterator[Bucket]:
    found = Bucket(BUCKET, "a/b", make_session=session, s3_url=served.url)
    yield found
    await found.aclose()


def session() -> boto3.Session:
    return boto3.Session("AKIDEXAMPLE", "secret", region_name="us-east-1")


async def test_object_is_made_once(bucket: Bucket, served: Objects) -> None:
    """Where there is one already nothing is written."""
    assert await bucket.get("x") is None
    assert await bucket.write("x", b"one", None)
    assert not await bucket.write("x", b"two", None)
    assert served.bodies == {"a/b/x": b"one"}


async def test_object_is_replaced_by_who_has_read_it(bucket: Bucket) -> None:
    """A tag that is no longer the object's writes nothing, neither does one of an object that is gone."""
    await bucket.put("x", b"one")
    found = await bucket.get("x")
    assert found is not None
    assert await bucket.write("x", b"two", found.etag)
    assert not await bucket.write("x", b"late", found.etag)
    now = await bucket.get("x")
    assert now is not None
    assert now == Object(now.etag, b"two")
    await bucket.delete("x")
    await bucket.delete("x")
    assert not await bucket.write("x", b"again", now.etag)
    assert await bucket.get("x") is None


async def test_keys_are_listed_in_order_under_the_prefix(bucket: Bucket, served: Objects) -> None:
    """With their tags; what is beside the prefix is not seen."""
    for key in ("l/3", "l/1", "l/2", "m/1"):
        await bucket.put(key, key.encode())
    served.bodies["a/bc/l/0"] = b""
    assert list(await bucket.keys("l/")) == ["l/1", "l/2", "l/3"]
    one = await bucket.get("l/1")
    assert one is not None
    assert (await bucket.keys("l/"))["l/1"] == one.etag


async def test_refusal_says_what_to_do(bucket: Bucket, served: Objects) -> None:
    """Every call: the service's code, and the rights that it needs. Nothing is sent twice by itself."""
    served.status = 403
    for call in (
        bucket.get("x"),
        bucket.put("x", b""),
        bucket.write("x", b"", None),
        bucket.delete("x"),
        bucket.keys(""),
    ):
        with pytest.raises(OSError, match=r"S3 answered InternalError: .*s3:PutObject"):
            await call
    assert len(served.asked) == 5


async def test_what_is_no_s3(bucket: Bucket, served: Objects) -> None:
    """An answer without what S3's have, as a gateway's page: OSError that says where to look."""
    served.status = 200
    with pytest.raises(OSError, match="without 'ETag' is none of S3's: check AWS_ENDPOINT_URL_S3"):
        await bucket.get("x")


async def test_s3_that_is_not_there() -> None:
    """Its address is named; the credentials are not blamed."""
    with objects() as gone:
        url = gone.url
    bucket = Bucket(BUCKET, "x", make_session=session, s3_url=url)
    with pytest.raises(OSError, match=f"S3 can't be reached at {url}"):
        await bucket.get("x")
    await bucket.aclose()


async def test_no_credentials() -> None:
    """A process without a role is told to look there, and at its region."""
    with objects() as there:
        bucket = Bucket(BUCKET, "x", make_session=boto3.Session, s3_url=there.url)
        with pytest.raises(OSError, match="credentials or region"):
            await bucket.get("x")
        await bucket.aclose()
        assert there.asked == []


async def test_nothing_was_asked() -> None:
    """A bucket that is closed unused has made no client."""
    await Bucket(BUCKET, "x").aclose()
