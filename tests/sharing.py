"""How `make test` shares the tests out between its processes: `pytest_xdist_make_scheduler` of `conftest.py`.

A module stays in one process, since its tests may share what it has started; so do modules that share something dear:
real vLLM, a checkout in which `make setup` ran, a proxy that went through every fault. What takes long begins first,
and mutants, each on its own, come last: they fill what time the other process still needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

SHARED = {
    "tests/contract/": "contract",
    "tests/chaos/": "chaos",
    "tests/proxy/cli/test_quickstart_vllm.py": "checkout",
    "tests/test_make.py": "checkout",
    "tests/test_pages.py": "checkout",
    "tests/test_readme.py": "checkout",
}
"""Modules, by the beginning of their paths, that belong to one unit, and its name."""
LONG = (
    "contract",
    "chaos",
    "checkout",
    "tests/proxy/workers/test_promises.py",
    "tests/proxy/workers/test_peers.py",
    "tests/proxy/workers/test_ways.py",
    "tests/vllm/test_comparison.py",
    "tests/test_wheel.py",
)
"""Units of half a minute and more, the longest first."""
ALONE = "tests/test_mutants.py"
"""Its tests share nothing."""


def unit(nodeid: str) -> str:
    """The unit that a test belongs to: all of it runs in one process, in the order of the files."""
    path, _, _ = nodeid.partition("::")
    if path == ALONE:
        return nodeid
    return next((name for begin, name in SHARED.items() if path.startswith(begin)), path)


def ordered(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The long ones first and the mutants last; the rest stays in its order."""
    places = {name: place for place, name in enumerate(LONG)}

    def place(item: pytest.Item) -> int:
        name = unit(item.nodeid)
        return len(LONG) + 1 if name.startswith(ALONE) else places.get(name, len(LONG))

    return sorted(items, key=place)


class Sharing(LoadScopeScheduling):  # type: ignore[misc] # xdist tells no types
    """xdist's sharing out of scopes, with ours: a process gets its next unit when it is nearly done with its last."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False  # the order is `ordered`'s, not that of how many tests a unit has
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
