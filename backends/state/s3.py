"""Shared state in S3, for proxies inside SageMaker, which have neither a shared disk nor a Valkey.

One object a lease, document, item or entry, written under conditions (`backends/bucket.py`). What an object holds:

    schema                    {"version": N}
    leases/NAME               {"holder": ..., "token": ..., "expires": ...}
    documents/NAME            TOKEN newline VALUE
    items/GROUP/NAME          VERSION newline VALUE

Names are quoted, so that they may hold any character. A group is read with one listing and one read for each item
that has changed since, so that looking every few seconds costs one request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from typing import TypeVar
from urllib.parse import quote, unquote

from ..bucket import Bucket
from .store import SCHEMA_VERSION, Item, Lease, StoreError, next_token

T = TypeVar("T")

TRIES = 16
"""So often a write is begun anew that others were quicker than."""


class S3Store:
    """Objects under one prefix that processes of any machine share."""

    def __init__(self, bucket: str, prefix: str, objects: Bucket | None = None) -> None:
        """Nothing is asked before it is first used. `objects`: instead of boto3's own session and endpoint."""
        self._name = f"s3://{bucket}/{prefix}"
        self._objects = objects if objects is not None else Bucket(bucket, prefix)
        self._known = False
        self._seen: dict[str, dict[str, tuple[str, Item]]] = {}

    async def take(self, name: str, holder: str, wall: float, period: float) -> Lease | None:
        """See `Store.take`."""
        await self._check()
        key = f"leases/{_quoted(name)}"
        found = await self._get(key)
        held, token, expires = ("", 0, 0.0)
        if found is not None:
            held, token, expires = self._held(key, found[1])
        alive = wall < expires
        if alive and held != holder:
            return None
        token = token if alive else next_token(token, wall)
        lease = Lease(name, holder, token, wall + period)
        return lease if await self._write(key, _lease(lease), found[0] if found else None) else None

    async def release(self, lease: Lease) -> None:
        """See `Store.release`."""
        await self._check()
        key = f"leases/{_quoted(lease.name)}"
        found = await self._get(key)
        if found is None:
            return
        if self._held(key, found[1])[:2] == (lease.holder, lease.token):
            await self._write(key, _lease(Lease(lease.name, lease.holder, lease.token, 0.0)), found[0])

    async def read(self, name: str) -> bytes | None:
        """See `Store.read`."""
        await self._check()
        key = f"documents/{_quoted(name)}"
        found = await self._get(key)
        return None if found is None else self._parted(key, found[1])[1]

    async def write(self, name: str, value: bytes, token: int) -> bool:
        """See `Store.write`."""
        await self._check()
        key = f"documents/{_quoted(name)}"
        for _ in range(TRIES):
            found = await self._get(key)
            if found is not None and self._parted(key, found[1])[0] > token:
                return False
            if await self._write(key, b"%d\n%b" % (token, value), found[0] if found else None):
                return True
        raise self._lost(OSError(f"{name} is written by too many at once"))

    async def items(self, group: str) -> Mapping[str, Item]:
        """See `Store.items`."""
        await self._check()
        folder = f"items/{_quoted(group)}/"
        before = self._seen.get(group, {})
        tags = await self._within(self._objects.keys(folder))
        changed = [key for key, etag in tags.items() if key not in before or before[key][0] != etag]
        bodies = dict(zip(changed, await asyncio.gather(*map(self._get, changed)), strict=True))
        now = {key: before[key] for key in tags if key not in bodies}
        read = {key: found for key, found in bodies.items() if found is not None}
        now |= {key: (found[0], Item(*self._parted(key, found[1]))) for key, found in read.items()}
        self._seen[group] = now
        return {unquote(key.removeprefix(folder)): item for key, (_, item) in now.items()}

    async def swap(self, group: str, name: str, value: bytes, version: int) -> bool:
        """See `Store.swap`."""
        await self._check()
        key = _item(group, name)
        etag = None
        if version:
            found = await self._get(key)
            if found is None or self._parted(key, found[1])[0] != version:
                return False
            etag = found[0]
        return await self._write(key, b"%d\n%b" % (version + 1, value), etag)

    async def put(self, group: str, name: str, value: bytes) -> None:
        """See `Store.put`."""
        await self._check()
        await self._within(self._objects.put(_item(group, name), b"0\n" + value))

    async def drop(self, group: str, name: str) -> None:
        """See `Store.drop`."""
        await self._check()
        await self._within(self._objects.delete(_item(group, name)))

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        await self._objects.aclose()

    async def _check(self) -> None:
        """Raises StoreError when a newer version has written here; asked once."""
        if self._known:
            return
        found = await self._get("schema")
        version = SCHEMA_VERSION if found is None else self._version(found[1])
        if version > SCHEMA_VERSION:
            raise self._lost(OSError(f"a newer version has written it (schema {version}, not {SCHEMA_VERSION})"))
        if found is None or version < SCHEMA_VERSION:
            await self._write("schema", json.dumps({"version": SCHEMA_VERSION}).encode(), found[0] if found else None)
        self._known = True

    async def _get(self, key: str) -> tuple[str, bytes] | None:
        found = await self._within(self._objects.get(key))
        return None if found is None else (found.etag, found.body)

    async def _write(self, key: str, body: bytes, etag: str | None) -> bool:
        return await self._within(self._objects.write(key, body, etag))

    async def _within(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except OSError as error:
            raise self._lost(error) from error

    def _version(self, body: bytes) -> int:
        try:
            return int(json.loads(body)["version"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._lost(_other("schema")) from error

    def _held(self, key: str, body: bytes) -> tuple[str, int, float]:
        try:
            known = json.loads(body)
            return str(known["holder"]), int(known["token"]), float(known["expires"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._lost(_other(key)) from error

    def _parted(self, key: str, body: bytes) -> tuple[int, bytes]:
        number, _, value = body.partition(b"\n")
        try:
            return int(number), value
        except ValueError as error:
            raise self._lost(_other(key)) from error

    def _lost(self, error: Exception) -> StoreError:
        return StoreError(f"{self._name}: {error}")


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _item(group: str, name: str) -> str:
    return f"items/{_quoted(group)}/{_quoted(name)}"


def _lease(lease: Lease) -> bytes:
    return json.dumps({"holder": lease.holder, "token": lease.token, "expires": lease.expires}).encode()


def _other(key: str) -> OSError:
    return OSError(f"what is at {key} was not written by pointsman: delete it, or put back what was there")
