"""Shared state in Valkey or Redis, for proxies beside SageMaker.

What is read and written back is one Lua script, which the server runs as a whole; each touches one key, so that a
cluster may hold them anywhere. Keys, behind a prefix of our own:

    schema               the version
    lease:NAME           hash of holder, token, expires
    document:NAME        hash of token, value
    items:GROUP          hash of name to VERSION newline VALUE

Nothing is sent twice by itself. A server that loses its memory, or a replica that takes over without the last writes,
loses what was written there: keep it with `appendfsync everysec` or better and `maxmemory-policy noeviction`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError

from .store import SCHEMA_VERSION, Item, Lease, StoreError

PATIENCE = 2.0
"""Seconds for a connection, and for an answer; the server takes microseconds."""

_TAKE = """
local held = redis.call('HMGET', KEYS[1], 'holder', 'token', 'expires')
local alive = held[3] and tonumber(ARGV[2]) < tonumber(held[3])
if alive and held[1] ~= ARGV[1] then return 0 end
local token = tonumber(held[2] or '0')
if not alive then token = math.max(token + 1, math.floor(tonumber(ARGV[2]))) end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'token', token, 'expires', ARGV[3])
return token
"""
_RELEASE = """
local held = redis.call('HMGET', KEYS[1], 'holder', 'token')
if held[1] == ARGV[1] and held[2] == ARGV[2] then redis.call('HSET', KEYS[1], 'expires', '0') end
return 1
"""
_WRITE = """
local token = redis.call('HGET', KEYS[1], 'token')
if token and tonumber(token) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'value', ARGV[2])
return 1
"""
_SWAP = """
local found = redis.call('HGET', KEYS[1], ARGV[1])
local version = found and string.match(found, '^%d+') or '0'
if version ~= ARGV[2] or (found and version == '0') then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""


class ValkeyStore:
    """A server that processes of any machine share."""

    def __init__(self, url: str, prefix: str, patience: float = PATIENCE) -> None:
        """`url` as the client library knows it, `redis://` or `rediss://`. Nothing is asked before it is first used."""
        parts = urlsplit(url)
        self._name = f"{parts.hostname}:{parts.port or 6379}"
        self._prefix = prefix
        # `execute_command` has no types of its own.
        self._server: Any = Redis.from_url(
            url, socket_timeout=patience, socket_connect_timeout=patience, retry=Retry(NoBackoff(), 0)
        )
        self._known = False

    async def take(self, name: str, holder: str, wall: float, period: float) -> Lease | None:
        """See `Store.take`."""
        expires = wall + period
        token = await self._script(_TAKE, f"lease:{name}", holder, repr(wall), repr(expires))
        return Lease(name, holder, token, expires) if token else None

    async def release(self, lease: Lease) -> None:
        """See `Store.release`."""
        await self._script(_RELEASE, f"lease:{lease.name}", lease.holder, lease.token)

    async def read(self, name: str) -> bytes | None:
        """See `Store.read`."""
        found = await self._ask("HGET", f"document:{name}", "value")
        return cast("bytes | None", found)

    async def write(self, name: str, value: bytes, token: int) -> bool:
        """See `Store.write`."""
        return await self._script(_WRITE, f"document:{name}", token, value) == 1

    async def items(self, group: str) -> Mapping[str, Item]:
        """See `Store.items`."""
        found: Mapping[bytes, bytes] = await self._ask("HGETALL", f"items:{group}")
        try:
            return {name.decode(): _item(value) for name, value in found.items()}
        except ValueError as error:
            msg = f"{self._name}: what is in items:{group} was not written by pointsman: delete it"
            raise StoreError(msg) from error

    async def swap(self, group: str, name: str, value: bytes, version: int) -> bool:
        """See `Store.swap`."""
        changed = b"%d\n%b" % (version + 1, value)
        return await self._script(_SWAP, f"items:{group}", name, version, changed) == 1

    async def put(self, group: str, name: str, value: bytes) -> None:
        """See `Store.put`."""
        await self._ask("HSET", f"items:{group}", name, b"0\n" + value)

    async def drop(self, group: str, name: str) -> None:
        """See `Store.drop`."""
        await self._ask("HDEL", f"items:{group}", name)

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        await self._server.aclose()

    async def _script(self, script: str, key: str, *arguments: object) -> int:
        await self._check()
        return int(await self._within(self._server.execute_command("EVAL", script, 1, self._key(key), *arguments)))

    async def _ask(self, command: str, key: str, *arguments: object) -> Any:
        await self._check()
        return await self._within(self._server.execute_command(command, self._key(key), *arguments))

    async def _check(self) -> None:
        """Raises StoreError when a newer version has written here; asked once."""
        if self._known:
            return
        key = self._key("schema")
        await self._within(self._server.execute_command("SETNX", key, SCHEMA_VERSION))
        version = int(await self._within(self._server.execute_command("GET", key)))
        if version > SCHEMA_VERSION:
            msg = f"{self._name}: a newer version has written it (schema {version}, not {SCHEMA_VERSION})"
            raise StoreError(msg)
        self._known = True

    def _key(self, name: str) -> str:
        return f"{self._prefix}:{name}"

    async def _within(self, work: Awaitable[Any]) -> Any:
        try:
            return await work
        except ReadOnlyError as error:
            # A failover has made a replica of it: its name leads to another server by now, this connection does not.
            await self._server.connection_pool.disconnect(inuse_connections=False)
            msg = f"{self._name}: is a replica that takes no writes; it is looked up anew"
            raise StoreError(msg) from error
        except (RedisError, OSError, TimeoutError) as error:
            msg = f"{self._name}: {str(error) or type(error).__name__}"
            raise StoreError(msg) from error


def _item(value: bytes) -> Item:
    version, _, rest = value.partition(b"\n")
    return Item(int(version), rest)
