"""The report of `make bench`: ratios are paired within rounds, and nothing is lost on the way to the files."""

from __future__ import annotations

import json

import pytest

from benchmarks.report import Cell, Measured, Round, Spread, as_json, as_markdown, spread


def measured(microseconds: float, cpu: float | None = None) -> Measured:
    return Measured(microseconds, microseconds / 2, 1e6 / microseconds, 100, cpu)


DRIFTING = Cell(
    "vllm", "whole", 1, tuple(Round(measured(base), measured(base * 3, cpu=50.0)) for base in (100.0, 200.0, 400.0))
)
"""A machine that gets slower from round to round, and a hop that always makes three of one."""


def test_ratio_is_taken_within_a_round() -> None:
    """A machine that drifts moves absolute values, not the ratio."""
    summary = DRIFTING.summary()
    assert summary["ratio"] == Spread(3.0, 3.0, 3.0)
    assert summary["direct_us"] == Spread(200.0, 150.0, 300.0)
    assert summary["added_us"] == Spread(400.0, 300.0, 600.0)
    assert summary["first_byte_added_us"] == Spread(200.0, 150.0, 300.0)
    assert summary["proxy_cpu_us"].median == 50.0


@pytest.mark.parametrize(
    ("values", "expected"),
    [([7.0], Spread(7.0, 7.0, 7.0)), ([1.0, 3.0], Spread(2.0, 1.5, 2.5)), ([1.0, 2.0, 30.0], Spread(2.0, 1.5, 16.0))],
)
def test_spread_is_median_and_quartiles(values: list[float], expected: Spread) -> None:
    """One wild round moves a quartile, not the median; a single round is its own spread."""
    assert spread(values) == expected


def test_markdown_has_a_table_for_each_answer() -> None:
    """First-byte columns are in the streams' table only; facts stand above."""
    stream = Cell("endpoint", "stream", 16, DRIFTING.rounds)
    text = as_markdown([DRIFTING, stream], {"commit": "abc1234"})
    whole, streamed = text.split("## stream")
    assert "- commit: abc1234" in whole
    assert "first byte" not in whole
    assert "first byte ratio" in streamed
    assert "| vllm | 1 | 200 (150-300) | 600 (450-900) | 3.00 (3.00-3.00) | 400 (300-600) |" in whole
    assert "| endpoint | 16 |" in streamed


def test_json_keeps_every_round() -> None:
    """Who doubts a median can look at what it was made from."""
    document = json.loads(json.dumps(as_json([DRIFTING], {"commit": "abc1234"})))
    assert document["about"] == {"commit": "abc1234"}
    assert [each["direct"]["median_us"] for each in document["cells"][0]["rounds"]] == [100.0, 200.0, 400.0]


def with_waits(*waits: float) -> Cell:
    """Rounds in which the proxy waited for its core for these shares of the time; the busier, the slower."""
    rounds = (Round(measured(100.0), Measured(100.0 + wait * 1e3, 50.0, 1e4, 100, 50.0, wait)) for wait in waits)
    return Cell("vllm", "whole", 1, tuple(rounds))


def test_busy_rounds_are_left_out() -> None:
    """What other processes did to a round is not what the hop costs; the report says how many rounds were used."""
    cell = with_waits(0.0, 0.5, 0.0, 0.04, 0.9, 0.0, 0.01)
    assert cell.summary()["proxied_us"].high == 110.0
    assert "| 5 of 7 |" in as_markdown([cell], {})


def test_all_rounds_count_where_too_few_were_quiet() -> None:
    """Four lucky rounds of seven are no measurement; all count, and the report says that the machine was busy."""
    cell = with_waits(0.0, 0.5, 0.0, 0.0, 0.9, 0.0, 0.5)
    assert len(cell.used) == 7
    assert "| 7 of 7, busy |" in as_markdown([cell], {})
