"""Comparison: how far two answers to one request say the same, under the contract that their clients rely on. Pure.

What came back (`heard`) is read in the dialect that the policy declares (`meaning`): texts of the final answer apart
from reasoning, tool calls, finish reasons, counts of tokens, whole or put together from a stream. `scoring` compares
two such readings part by part and sums them up in one number of 0 to 1. Reading is lenient, unlike translation: what
cannot be read is itself a difference and never an error.
"""

from __future__ import annotations

from .heard import Cadence, Heard
from .meaning import Choice, Meaning, ToolCall, read_meaning
from .scoring import PARTS, Comparison, compare, comparing

__all__ = [
    "PARTS",
    "Cadence",
    "Choice",
    "Comparison",
    "Heard",
    "Meaning",
    "ToolCall",
    "compare",
    "comparing",
    "read_meaning",
]
