"""How many connections each worker has, where every worker can see it: a page of memory that they share.

A message a connection would cost more than the connection. What stands there may be a moment old: it is for dividing
connections fairly, not for counting them.
"""

from __future__ import annotations

import mmap
import os

ABSENT = -1
"""Stands for a worker that accepts nothing now."""
SLACK = 2
"""Connections above the least busy worker's that are nobody's business; an eighth of those comes on top."""
_SIZE = 4096


class Board:
    """The shared page: one number for each worker."""

    def __init__(self, descriptor: int, workers: int) -> None:
        """`descriptor` is of a page made by `new_page`; it may be closed afterwards."""
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._counts = memoryview(self._memory).cast("i")
        self._workers = workers

    def put(self, number: int, connections: int) -> None:
        """Worker `number` has so many now, or is ABSENT."""
        self._counts[number] = connections

    def least(self) -> int:
        """The connections of the worker that has the fewest; 0 where none accepts."""
        return min((count for count in self._counts[: self._workers] if count != ABSENT), default=0)

    def close(self) -> None:
        """Give the page back."""
        self._counts.release()
        self._memory.close()


class Part:
    """Divides connections among the workers of one board, as `acceptor.Crowd` asks for it."""

    def __init__(self, board: Board, number: int) -> None:
        self._board = board
        self._number = number

    def mine(self, connections: int) -> bool:
        """Whether this worker, which has so many, is not far above the one with the fewest."""
        self._board.put(self._number, connections)
        least = self._board.least()
        return connections <= least + SLACK + least // 8


def new_page(workers: int) -> int:
    """A descriptor of a page in which every worker is absent; the caller closes it."""
    descriptor = os.memfd_create("pointsman-workers")
    os.ftruncate(descriptor, _SIZE)
    board = Board(descriptor, workers)
    for number in range(workers):
        board.put(number, ABSENT)
    board.close()
    return descriptor
