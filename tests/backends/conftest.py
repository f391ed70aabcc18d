"""What a backend's tests stand on: our own client of HTTP, a scripted upstream, the stand-in for AWS,
and a file with a key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.http.transport import HttpTransport
from tests.standins import Standin, running_emulator

from .upstream import Upstream, running_upstream


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    """A pool of connections of the test's own, closed with it."""
    transport = HttpTransport()
    yield transport
    await transport.aclose()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """Answers what it is told to."""
    async with running_upstream() as running:
        yield running


@pytest.fixture
async def standin() -> AsyncIterator[Standin]:
    """The usual models, one of each kind, in the test's own loop."""
    async with running_emulator() as running:
        yield running


@pytest.fixture
def static_config(tmp_path: Path) -> Path:
    """A config file with a key in its default profile."""
    path = tmp_path / "config"
    path.write_text("[default]\naws_access_key_id = AKIDOWN\naws_secret_access_key = secret-own\n")
    return path
