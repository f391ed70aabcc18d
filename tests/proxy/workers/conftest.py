"""The three times at which promises of two workers are looked at; a module says in `both` what its two serve."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from .crowd import Crowd
from .stage import TIMES, Stage, come_to


@pytest.fixture(scope="module", params=TIMES)
def stage(both: Stage, request: pytest.FixtureRequest) -> Stage:
    """All promises at first; then all of them again with another policy in force, and again with another worker."""
    return come_to(both, request.param)


@pytest.fixture
def crowd(stage: Stage) -> Iterator[Crowd]:
    """Clients of both workers."""
    with ExitStack() as stack:
        yield stage.crowd(stack)
