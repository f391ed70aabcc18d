"""Likeness of tool calls."""

from __future__ import annotations

from typing import Any

import pytest

from backends.wire.comparison.meaning import ToolCall
from backends.wire.comparison.tools import likeness

WEATHER = ToolCall("weather", {"city": "Ulm", "days": 2})


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((), (), 1.0),
        ((WEATHER,), (), 0.0),
        ((WEATHER,), (ToolCall("weather", {"days": 2, "city": "Ulm"}),), 1.0),
        ((WEATHER,), (ToolCall("climate", {"city": "Ulm", "days": 2}),), 0.0),
        ((WEATHER,), (ToolCall("weather", {"city": "Ulm", "days": 3}),), 0.75),
        ((WEATHER,), (ToolCall("weather", {"city": "Ulm"}),), 0.75),
        ((WEATHER,), (ToolCall("weather", "Ulm"),), 0.5),
        ((ToolCall("weather", '{"city'),), (ToolCall("weather", '{"city'),), 1.0),
        ((WEATHER, WEATHER), (WEATHER,), 0.5),
        ((ToolCall("weather", {"city": None}),), (ToolCall("weather", {"town": None}),), 0.5),
    ],
)
def test_name_and_parsed_arguments_count(one: Any, other: Any, expected: float) -> None:
    """The order of keys does not matter, a wrong name makes the call worthless, a missing call counts as none alike."""
    assert likeness(one, other) == expected
    assert likeness(other, one) == expected
