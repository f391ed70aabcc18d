"""What is free in the heap, given back; and when it is."""

from __future__ import annotations

import asyncio
import platform
import subprocess
import sys
import weakref
from pathlib import Path

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


LAID = """
import mmap
from pathlib import Path
from proxy import heap

large = int(heap.LARGE_PAGE.read_text())
def huge():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("AnonHugePages"))

dense = [bytes([1]) * 100_000 for _ in range(2 * large // 100_000)]
sparse = mmap.mmap(-1, 4 * large, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, 4 * large, 4 * mmap.PAGESIZE):
    sparse[page] = 1
before, size = huge(), heap.resident()
laid = heap.lay_in_large_pages()
print(large, laid, huge() - before, heap.resident() - size, set(sparse[:: 4 * mmap.PAGESIZE]), set(map(sum, dense)))
"""


@pytest.mark.slow
def test_what_is_densely_used_lies_in_large_pages() -> None:
    """All of it is as it was; a stretch of which each fourth page is used would grow, and stays as it is."""
    done = subprocess.run([sys.executable, "-c", LAID], capture_output=True, text=True, check=True, timeout=60)
    *numbers, ones, sums = done.stdout.split()
    large, laid, huge, grown = map(int, numbers)
    assert (laid > 0) is (tuple(map(int, platform.release().split(".")[:2])) >= (6, 1))
    assert huge == laid * large
    assert grown < laid * large // 4 + large
    assert (ones, sums) == ("{1}", "{100000}")


def test_where_there_are_no_large_pages_nothing_is_done(tmp_path: Path) -> None:
    """A system whose size of a large page is not known has none."""
    assert heap.lay_in_large_pages(tmp_path / "none") == 0


def test_another_c_library_is_left_alone() -> None:
    """Where the system does not know the name of glibc's version there is no glibc."""

    def unknown(_: str) -> str:
        raise ValueError

    assert heap.by_glibc()
    assert not heap.by_glibc(unknown)
    assert not heap.by_glibc(lambda _: None)


class _Enough(Exception):
    """All sizes were looked at."""


async def looked(*sizes: int, takes: float = 0.0) -> tuple[list[int], list[int]]:
    """At which of the looks at a process of these sizes, in MiB, memory was given back, and at which circles were freed
    right before, which `takes` so many seconds; it then has 10 MiB."""
    left, at, now, freed = list(sizes), list[int](), [0], list[int]()

    async def sleep(seconds: float) -> None:
        assert seconds == heap.PERIOD
        if not left:
            raise _Enough
        now[0] = left.pop(0)

    def release() -> None:
        at.append(len(sizes) - len(left))
        now[0] = 10

    def free() -> float:
        assert len(sizes) - len(left) not in at
        freed.append(len(sizes) - len(left))
        return takes

    with pytest.raises(_Enough):
        await asyncio.wait_for(heap.watch(sleep, lambda: now[0] * 1024 * 1024, release, free), 30.0)
    return at, freed


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
    """More than 2 MiB from what it had when that was last done, and freed circles are among it."""
    assert await looked(*sizes) == (given, given)


async def test_a_look_for_circles_that_takes_long_is_the_last() -> None:
    """No request moves meanwhile; what is free all the same is given back."""
    assert await looked(50, 13, 13, takes=0.021) == ([1, 2, 3], [1])


def test_circles_are_freed() -> None:
    """At once, and how long it took is told."""

    class Circle:
        def __init__(self) -> None:
            self.own = self

    alive = weakref.ref(Circle())
    assert 0.0 < heap.collect() < 60.0
    assert alive() is None
