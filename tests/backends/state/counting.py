"""One process that adds to a shared number, for tests: python -m tests.backends.state.counting ADDRESS TIMES"""

from __future__ import annotations

import asyncio
import sys

from backends.state import Store, open_store


async def count(store: Store, times: int) -> None:
    for _ in range(times):
        while True:
            item = (await store.items("counts")).get("sum")
            value, version = (int(item.value), item.version) if item else (0, 0)
            if await store.swap("counts", "sum", b"%d" % (value + 1), version):
                break
        print("added", flush=True)
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(count(open_store(sys.argv[1]), int(sys.argv[2])))
