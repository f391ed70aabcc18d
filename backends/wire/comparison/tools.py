"""How alike the tool calls of two answers are: a program acts on them, so that near is not good enough.

Half of a call is its name, half its arguments, parsed: the order of keys and spacing do not matter. Of arguments that
differ, the share of keys with equal values counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .meaning import ToolCall


def likeness(one: Sequence[ToolCall], other: Sequence[ToolCall]) -> float:
    """0 to 1; calls are compared in their order, and one that has no counterpart counts as 0."""
    longest = max(len(one), len(other))
    if not longest:
        return 1.0
    return sum(_call(mine, theirs) for mine, theirs in zip(one, other, strict=False)) / longest


def _call(mine: ToolCall, theirs: ToolCall) -> float:
    if mine.name != theirs.name:
        return 0.0
    return 0.5 + 0.5 * _arguments(mine.arguments, theirs.arguments)


def _arguments(mine: Any, theirs: Any) -> float:
    if mine == theirs:
        return 1.0
    if not isinstance(mine, dict) or not isinstance(theirs, dict):
        return 0.0
    keys = mine.keys() | theirs.keys()
    same = [key for key in keys if key in mine and key in theirs and mine[key] == theirs[key]]
    return len(same) / len(keys)
