"""Shared state of a fleet of one, in memory: nothing of a rehearsal is to reach the fleet's own."""

from __future__ import annotations

from collections.abc import Mapping

from backends.state import Item, Lease


class MemoryStore:
    """`backends.state.Store` for one process; see there."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._documents: dict[str, tuple[int, bytes]] = {}
        self._groups: dict[str, dict[str, Item]] = {}

    async def take(self, name: str, holder: str, wall: float, period: float) -> Lease | None:
        """See `Store.take`."""
        held = self._leases.get(name)
        alive = held is not None and wall < held.expires
        if held is not None and alive and held.holder != holder:
            return None
        token = 1 if held is None else held.token + (not alive)
        self._leases[name] = lease = Lease(name, holder, token, wall + period)
        return lease

    async def release(self, lease: Lease) -> None:
        """See `Store.release`."""
        held = self._leases.get(lease.name)
        if held is not None and (held.holder, held.token) == (lease.holder, lease.token):
            self._leases[lease.name] = Lease(lease.name, lease.holder, lease.token, 0.0)

    async def read(self, name: str) -> bytes | None:
        """See `Store.read`."""
        found = self._documents.get(name)
        return found[1] if found is not None else None

    async def write(self, name: str, value: bytes, token: int) -> bool:
        """See `Store.write`."""
        if token < self._documents.get(name, (token, b""))[0]:
            return False
        self._documents[name] = (token, value)
        return True

    async def items(self, group: str) -> Mapping[str, Item]:
        """See `Store.items`."""
        return dict(self._groups.get(group, {}))

    async def swap(self, group: str, name: str, value: bytes, version: int) -> bool:
        """See `Store.swap`."""
        items = self._groups.setdefault(group, {})
        before = items.get(name)
        if (before.version if before is not None else 0) != version or (before is not None and version == 0):
            return False
        items[name] = Item(version + 1, value)
        return True

    async def put(self, group: str, name: str, value: bytes) -> None:
        """See `Store.put`."""
        self._groups.setdefault(group, {})[name] = Item(0, value)

    async def drop(self, group: str, name: str) -> None:
        """See `Store.drop`."""
        self._groups.get(group, {}).pop(name, None)

    async def aclose(self) -> None:
        """See `Store.aclose`."""
