"""The memory of signatures that workers share."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.replays import BUCKETS, WAYS, Replays, new_memory
from tests.policies.written import PATIENT

NOW = 1_795_262_400.0
LASTS = 600.0


def signature(number: int) -> bytes:
    return sha256(b"%d" % number).digest()


@pytest.fixture
def memories() -> Iterator[tuple[Replays, Replays]]:
    descriptor = new_memory()
    yield Replays(descriptor), Replays(descriptor)
    os.close(descriptor)


def test_what_one_has_seen_the_other_knows(memories: tuple[Replays, Replays]) -> None:
    """To the millisecond, and of other signatures nothing."""
    one, other = memories
    assert one.first_seen(signature(1), NOW + 0.25, LASTS) == NOW + 0.25
    assert other.first_seen(signature(1), NOW + 5, LASTS) == NOW + 0.25
    assert other.first_seen(signature(2), NOW + 6, LASTS) == NOW + 6
    assert one.first_seen(signature(2), NOW + 7, LASTS) == NOW + 6


def test_what_is_over_is_forgotten_and_its_place_used_again(memories: tuple[Replays, Replays]) -> None:
    """A signature as old as that is refused for its time, so it may be taken for a new one."""
    one, other = memories
    one.first_seen(signature(1), NOW, LASTS)
    assert other.first_seen(signature(1), NOW + LASTS, LASTS) == NOW
    assert other.first_seen(signature(1), NOW + LASTS + 1, LASTS) == NOW + LASTS + 1
    assert one.first_seen(signature(1), NOW + LASTS + 2, LASTS) == NOW + LASTS + 1


def test_bytes_of_two_entries_are_no_third(memories: tuple[Replays, Replays]) -> None:
    """A signature that stands across two others, by chance, has not been seen."""
    one, _ = memories
    first = b"\0\0\0\0" + b"a" * 28
    one.first_seen(first, NOW, LASTS)
    stamp = round(NOW * 1000).to_bytes(6, "big")
    across = b"\0\0\0\0" + b"a" * 4 + stamp + b"\0" * 18
    assert one.first_seen(across, NOW + 1, LASTS) == NOW + 1
    one.first_seen(b"\0\0\0\0" + b"b" * 28, NOW + 2, LASTS)
    assert one.first_seen(across, NOW + 3, LASTS) == NOW + 1


def test_a_process_by_itself_shares_with_nobody() -> None:
    """Its memory is its own."""
    one, other = Replays(), Replays()
    one.first_seen(signature(1), NOW, LASTS)
    assert other.first_seen(signature(1), NOW + 1, LASTS) == NOW + 1
    assert one.first_seen(signature(1), NOW + 1, LASTS) == NOW


@PATIENT
@given(st.lists(st.integers(0, 40), min_size=2 * WAYS, max_size=80))
def test_the_oldest_of_a_full_bucket_gives_way(numbers: list[int]) -> None:
    """Of signatures that fall into one bucket the last sixteen are known, whatever came between."""
    memory, known = Replays(), dict[int, float]()
    for moment, number in enumerate(numbers):
        now, same = NOW + moment, b"\0\0\0\0" + signature(number)[4:]
        expected = known.setdefault(number, now)
        assert memory.first_seen(same, now, LASTS) == expected
        if len(known) > WAYS:
            del known[min(known, key=lambda each: known[each])]


def test_at_three_hundred_a_second_hardly_any_is_forgotten() -> None:
    """Ten minutes of them fill a third of the places; all but a few are known at the end."""
    memory, draw = Replays(), random.Random(1)
    seen = [draw.randbytes(32) for _ in range(WAYS * BUCKETS // 3)]
    for number, each in enumerate(seen):
        memory.first_seen(each, NOW + number / 300, LASTS)
    end = NOW + len(seen) / 300
    asked = seen[:5000]
    forgotten = sum(memory.first_seen(each, end, LASTS) == end for each in asked)
    assert forgotten <= len(asked) / 1000
