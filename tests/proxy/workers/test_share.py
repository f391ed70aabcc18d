"""Who takes the next connection, by what all workers have."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from proxy.workers.share import ABSENT, SLACK, Board, Part, new_page


@pytest.fixture
def boards() -> Iterator[tuple[Board, Board]]:
    """The page of three workers, as two processes see it."""
    page = new_page(3)
    one, other = Board(page, 3), Board(page, 3)
    os.close(page)
    yield one, other
    one.close()
    other.close()


def test_each_sees_what_the_others_have(boards: tuple[Board, Board]) -> None:
    """Those that accept nothing do not count; where nobody does, there is nobody to wait for."""
    one, other = boards
    assert one.least() == 0
    one.put(0, 9)
    other.put(1, 7)
    assert (one.least(), other.least()) == (7, 7)
    one.put(1, ABSENT)
    assert other.least() == 9


def test_a_worker_far_above_the_least_busy_one_stands_back(boards: tuple[Board, Board]) -> None:
    """A small lead is nobody's business; asking tells the others what one has."""
    one, other = boards
    busy, idle = Part(one, 0), Part(other, 1)
    other.put(1, 80)
    assert busy.mine(80 + SLACK + 10)
    assert not busy.mine(80 + SLACK + 11)
    assert idle.mine(80)
    assert one.least() == 80
