"""Values of one request: equal and hashed by their fields, without a dictionary, and frozen to the type checker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.values import value


@value(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0


def test_values_are_their_fields() -> None:
    """Two with the same fields are one key of a dictionary, and `replace` makes a changed copy."""
    assert {Point(1, 2): "a"}[Point(1, 2)] == "a"
    assert replace(Point(1, 2), y=3) == Point(1, 3)
    assert repr(Point(1)) == "Point(x=1, y=0)"


def test_values_have_no_room_for_more() -> None:
    """A misspelt attribute is an error, not a new one."""
    with pytest.raises(AttributeError):
        object.__setattr__(Point(1), "z", 1)


def test_what_changes_is_no_value() -> None:
    """The one thing that the decorator would hide is refused."""
    with pytest.raises(TypeError, match="frozen"):
        value(frozen=False, slots=True)
