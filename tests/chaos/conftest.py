"""One proxy among all the upstreams for the whole suite, in one event loop; every fault has targets of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .broken_requests import BODY_LIMIT
from .stage import Stage, staged
from .table import CONTROLS, UPSTREAMS

LIMITS = ("--head-time", "3", "--body-limit", f"{BODY_LIMIT}", "--body-budget", "24")
"""Small enough to be reached by a test."""


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The proxy, the upstreams, and how both were at first."""
    async with staged(tmp_path_factory.mktemp("chaos"), (*UPSTREAMS, *CONTROLS), *LIMITS) as found:
        yield found
