"""Ids of requests: their form, and that no two are the same."""

from __future__ import annotations

import uuid

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.request_ids import FIRST_BITS, PREFIX_BITS, request_ids


@settings(max_examples=50)
@given(st.integers(0, 2**PREFIX_BITS - 1), st.integers(0, 2**FIRST_BITS - 1))
def test_ids_are_uuids_of_version_four(prefix: int, first: int) -> None:
    """Tools that parse request ids as AWS's take them."""
    new_id = request_ids(prefix, first)
    made = [new_id() for _ in range(3)]
    assert [str(uuid.UUID(each)) for each in made] == made
    assert {uuid.UUID(each).version for each in made} == {4}
    assert len(set(made)) == 3


def test_processes_have_ids_of_their_own() -> None:
    """What differs in the random part has no id in common."""
    assert request_ids(1, 0)() != request_ids(2, 0)()


@settings(max_examples=50)
@given(st.integers(0, 2**FIRST_BITS - 1))
def test_a_process_counts_on_without_a_gap(first: int) -> None:
    """From any number, over the places where more than the last digits change."""
    new_id = request_ids(7, first)
    ends = [int(new_id().rpartition("-")[2], 16) for _ in range(600)]
    assert ends == list(range(first, first + 600))
