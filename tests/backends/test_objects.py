"""Texts in S3, through boto3 against a stand-in of three objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from backends.objects import OBJECT_LIMIT, ObjectReader

from .accounts import session_with
from .upstream import served


async def s3(request: web.BaseRequest) -> web.Response:
    """Three objects: a policy, bytes that are no text, and one that is too long; everything else is absent."""
    bodies = {
        "/bucket/a/policy.yaml": b"apiVersion: x\n",
        "/bucket/raw": b"\xff",
        "/bucket/long": b" " * (OBJECT_LIMIT + 1),
    }
    body = bodies.get(request.path)
    if body is None:
        return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>", content_type="text/xml")
    return web.Response(body=body, headers={"ETag": '"v1"'})


async def test_objects_are_read_whole_or_by_their_tag(static_config: Path) -> None:
    """An S3 object's ETag can be had without its text, and both together."""
    async with served(s3) as url:
        reader = ObjectReader(make_session=lambda: session_with(static_config), s3_url=url)
        assert await reader.read("s3://bucket/a/policy.yaml", whole=False) == ('"v1"', "")
        assert await reader.read("s3://bucket/a/policy.yaml", whole=True) == ('"v1"', "apiVersion: x\n")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("s3://bucket/none", "NoSuchKey: check the address"),
        ("s3://bucket/raw", "UTF-8"),
        ("s3://bucket/long", "longer than"),
        ("s3://bucket", "write s3://bucket/key"),
        ("https://bucket/key", "write s3://bucket/key"),
    ],
)
async def test_an_object_that_is_no_policy(static_config: Path, url: str, text: str) -> None:
    """An object that is absent, no text or too long, and an address that is none, are errors that say so."""
    async with served(s3) as address:
        reader = ObjectReader(make_session=lambda: session_with(static_config), s3_url=address)
        with pytest.raises(OSError, match=text):
            await reader.read(url, whole=True)


async def test_a_wrong_address_is_refused_before_a_session_is_made() -> None:
    """It needs neither credentials nor a network to be wrong."""

    def never() -> Any:
        raise AssertionError

    with pytest.raises(OSError, match="write s3://bucket/key"):
        await ObjectReader(make_session=never).read("file:///policy.yaml", whole=True)


async def test_s3_without_credentials(static_config: Path) -> None:
    """Reading with a profile that does not exist gives the cause as an OSError too."""
    reader = ObjectReader(make_session=lambda: session_with(static_config, "elsewhere"))
    with pytest.raises(OSError, match="AWS_PROFILE"):
        await reader.read("s3://bucket/key", whole=False)


async def test_s3_that_is_not_there(static_config: Path) -> None:
    """An S3 that can't be reached is named with its address; the credentials are not blamed."""
    async with served(s3) as url:
        pass
    reader = ObjectReader(make_session=lambda: session_with(static_config), s3_url=url)
    with pytest.raises(OSError, match=f"S3 can't be reached at {url}"):
        await reader.read("s3://bucket/key", whole=False)
