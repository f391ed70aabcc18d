"""Shared state in this process's memory, which a test can cut off; held to the contract of the real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from backends.state import Item, Lease, StoreError
from backends.state.store import next_token


def broken_once() -> Callable[[], bool]:
    """As a store's `cut`: at the first call it gives what no store may."""
    broken = iter([True])

    def cut() -> bool:
        if next(broken, False):
            message = "no answer of a store"
            raise ValueError(message)
        return False

    return cut


class MemoryStore:
    """As many holders as a test likes share one. `cut` is asked at each call whether it is out of reach."""

    def __init__(self, cut: Callable[[], bool] = lambda: False) -> None:
        self.cut = cut
        self.asked = 0
        self.leases: dict[str, Lease] = {}
        self.documents: dict[str, tuple[int, bytes]] = {}
        self.groups: dict[str, dict[str, Item]] = {}

    def _ask(self) -> None:
        self.asked += 1
        if self.cut():
            message = "cut off"
            raise StoreError(message)

    async def take(self, name: str, holder: str, wall: float, period: float) -> Lease | None:
        self._ask()
        held = self.leases.get(name, Lease(name, "", 0, 0.0))
        alive = wall < held.expires
        if alive and held.holder != holder:
            return None
        self.leases[name] = Lease(name, holder, held.token if alive else next_token(held.token, wall), wall + period)
        return self.leases[name]

    async def release(self, lease: Lease) -> None:
        self._ask()
        held = self.leases.get(lease.name)
        if held is not None and (held.holder, held.token) == (lease.holder, lease.token):
            self.leases[lease.name] = Lease(lease.name, lease.holder, lease.token, 0.0)

    async def read(self, name: str) -> bytes | None:
        self._ask()
        return self.documents[name][1] if name in self.documents else None

    async def write(self, name: str, value: bytes, token: int) -> bool:
        self._ask()
        if self.documents.get(name, (0, b""))[0] > token:
            return False
        self.documents[name] = (token, value)
        return True

    async def items(self, group: str) -> Mapping[str, Item]:
        self._ask()
        return dict(self.groups.get(group, {}))

    async def swap(self, group: str, name: str, value: bytes, version: int) -> bool:
        self._ask()
        found = self.groups.setdefault(group, {}).get(name)
        if (found.version if found else 0) != version or (found is not None and version == 0):
            return False
        self.groups[group][name] = Item(version + 1, value)
        return True

    async def put(self, group: str, name: str, value: bytes) -> None:
        self._ask()
        self.groups.setdefault(group, {})[name] = Item(0, value)

    async def drop(self, group: str, name: str) -> None:
        self._ask()
        self.groups.get(group, {}).pop(name, None)

    async def aclose(self) -> None:
        """Nothing to let go of: other holders go on."""
