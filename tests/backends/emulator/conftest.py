"""A running emulator for each test, and the clients that drive it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.standins import Standin, emulator_in_thread


@pytest.fixture
def standin() -> Iterator[Standin]:
    """The usual models, one of each kind, on port 0."""
    with emulator_in_thread() as running:
        yield running
