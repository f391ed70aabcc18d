"""What the hop may cost, and whether what was measured shows it. Pure.

A goal is reached when the whole interval lies at or below 1.1 times the bound (at or above, for what must be dearer):
what one machine's rounds leave open counts against us.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .latency import added
from .sums import Interval, interval, ratios
from .systems import POLLING

SLACK = 1.1

Cells = Mapping[str, Mapping[str, list[float]]]


@dataclass(frozen=True, slots=True)
class Goal:
    """One bound."""

    text: str
    bound: float
    values: Callable[[Cells, Cells], list[float]]
    """From CPU and waits, by round; KeyError where a server was not measured."""
    least: bool = False
    """The bound is a lower one."""
    aim: bool = False
    """Wished for rather than promised."""

    def reached(self, found: Interval) -> bool:
        """Whether the whole interval is on the right side of the bound and its slack."""
        return found.low >= self.bound / SLACK if self.least else found.high <= self.bound * SLACK


def _cpu(these: str, those: str) -> Callable[[Cells, Cells], list[float]]:
    return lambda cpu, _: ratios(cpu[these]["cpu"], cpu[those]["cpu"])


def _more(these: str, those: str) -> Callable[[Cells, Cells], list[float]]:
    def values(cpu: Cells, _: Cells) -> list[float]:
        return [this - that for this, that in zip(cpu[these]["cpu"], cpu[those]["cpu"], strict=True)]

    return values


def _wait(these: str, those: str, which: str) -> Callable[[Cells, Cells], list[float]]:
    return lambda _, waits: ratios(added(waits, these, which), added(waits, those, which))


GOALS = (
    Goal("CPU of a request, all on: x bare aiohttp", 0.6, _cpu("ours", "bare")),
    Goal("the same: x vllm-router", 1.0, _cpu("ours", "vllm-router"), aim=True),
    Goal("signed for an endpoint: us more than opaque", 20.0, _more("ours, endpoint", "ours")),
    Goal("signed for Bedrock: us more than opaque", 20.0, _more("ours, bedrock", "ours")),
    Goal("a stream of 50 chunks, framed anew: x bare aiohttp", 1.0, _cpu("ours, stream", "bare, stream")),
    Goal("added p50 at a fixed rate: x vllm-router", 1.0, _wait("ours", "vllm-router", "whole")),
    Goal(
        "added first byte of a stream: x vllm-router",
        1.0,
        _wait("ours, stream", "vllm-router, stream", "first"),
    ),
    Goal("added p50, busy polling: x vllm-router", 1.0, _wait(POLLING, "vllm-router", "whole")),
    Goal(
        "added first byte, busy polling: x vllm-router",
        1.0,
        _wait(f"{POLLING}, stream", "vllm-router, stream", "first"),
    ),
    Goal("LiteLLM's CPU: x ours", 100.0, _cpu("litellm", "ours"), least=True),
    Goal("1,000 endpoints: x one endpoint", 1.0, _cpu("ours, 1,000 endpoints", "ours, 1 endpoint")),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal and what was found."""

    goal: Goal
    found: Interval | None
    """None where a server that it needs was not measured."""

    @property
    def word(self) -> str:
        """`reached`, `missed` or `not measured`."""
        if self.found is None:
            return "not measured"
        return "reached" if self.goal.reached(self.found) else "missed"


def verdicts(cpu: Cells, waits: Cells) -> list[Verdict]:
    """Every goal."""
    return [Verdict(goal, _found(goal, cpu, waits)) for goal in GOALS]


def _found(goal: Goal, cpu: Cells, waits: Cells) -> Interval | None:
    try:
        values = goal.values(cpu, waits)
    except KeyError:
        return None
    return interval(values) if values else None
