"""The structure of JSON."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.comparison.shapes import MOST, likeness, shape_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def test_paths_and_kinds() -> None:
    """Every place is named once, list indexes left out; a null is no place."""
    document = {"a": [{"b": 1}, {"b": 2.5, "c": None}], "d": True, "e": "x"}
    expected = {
        ("", "object"),
        (".a", "list"),
        (".a[]", "object"),
        (".a[].b", "number"),
        (".d", "boolean"),
        (".e", "text"),
    }
    assert expected == shape_of(document)


@given(JSON, JSON)
def test_likeness_is_a_symmetric_share(one: Any, other: Any) -> None:
    """0 to 1, symmetric, 1 for a document and itself."""
    mine, theirs = shape_of(one), shape_of(other)
    assert 0 <= likeness(mine, theirs) <= 1
    assert likeness(mine, theirs) == likeness(theirs, mine)
    assert likeness(mine, mine) == 1


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"a": 1}, {"a": 2}, 1.0),
        ({"a": 1, "b": None}, {"a": 2}, 1.0),
        ({"a": 1}, {"a": "1"}, 1 / 3),
        ({"a": 1}, {"b": 1}, 1 / 3),
        ({}, [], 0.0),
        (None, None, 1.0),
    ],
)
def test_kinds_count_and_values_do_not(one: Any, other: Any, expected: float) -> None:
    """A number in place of a text is another structure; another number is not."""
    assert likeness(shape_of(one), shape_of(other)) == pytest.approx(expected)


def test_a_huge_document_is_cut() -> None:
    """No more places than the bound are looked at."""
    assert len(shape_of({f"k{number}": number for number in range(MOST * 3)})) <= MOST
