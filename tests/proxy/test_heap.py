"""What is free in the heap, given back; and when it is."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from proxy import heap

SCATTERED = """
from proxy import heap

assert heap.by_glibc()
pieces = [bytes(20_000) for _ in range(3000)]
kept = pieces[::50] + [bytes(1000)]  # the last one holds the heap's end
before = heap.resident()
del pieces
freed = heap.resident()
heap.give_back()
print(before, freed, heap.resident())
"""


@pytest.mark.slow
def test_pages_between_pieces_in_use_go_back() -> None:
    """60 MB are freed but for each fiftieth piece: the process has them until they are given back."""
    done = subprocess.run([sys.executable, "-c", SCATTERED], capture_output=True, text=True, check=True, timeout=60)
    before, freed, after = map(int, done.stdout.split())
    assert before - freed < 10_000_000
    assert freed - after > 40_000_000


def test_another_c_library_is_left_alone() -> None:
    """Where the system does not know the name of glibc's version there is no glibc."""

    def unknown(_: str) -> str:
        raise ValueError

    assert heap.by_glibc()
    assert not heap.by_glibc(unknown)
    assert not heap.by_glibc(lambda _: None)


class _Enough(Exception):
    """All sizes were looked at."""


async def looked(*sizes: int) -> list[int]:
    """At which of the looks at a process of these sizes, in MiB, memory was given back; it then has 10 MiB."""
    left, at, now = list(sizes), list[int](), [0]

    async def sleep(seconds: float) -> None:
        assert seconds == heap.PERIOD
        if not left:
            raise _Enough
        now[0] = left.pop(0)

    def release() -> None:
        at.append(len(sizes) - len(left))
        now[0] = 10

    with pytest.raises(_Enough):
        await asyncio.wait_for(heap.watch(sleep, lambda: now[0] * 1024 * 1024, release), 30.0)
    return at


@pytest.mark.parametrize(
    ("sizes", "given"),
    [
        ((50, 10, 12, 10), [1]),
        ((50, 13, 13), [1, 2, 3]),
        ((50, 12, 7, 11, 11), [1, 3]),
    ],
    ids=["once it has started", "each time that it has grown", "when a burst is over"],
)
async def test_it_gives_back_when_the_process_has_another_size(sizes: tuple[int, ...], given: list[int]) -> None:
    """More than 2 MiB from what it had when that was last done."""
    assert await looked(*sizes) == given
