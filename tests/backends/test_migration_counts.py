"""What is counted of migrations."""

from __future__ import annotations

import json

import pytest

from backends.meters import Meters
from backends.migration_counts import MigrationCounts
from policies.migration_state import Event

DECISIONS = "pointsman_migration_decisions_total"


def counted(cap: int = 100, share: float = 0.25, step: int = 2, lost: float = 0.0) -> MigrationCounts:
    counts = MigrationCounts(cap)
    counts.stand({"apexguru": (step, share)})
    counts.decided("apexguru", "grew")
    counts.lost(lost)
    return counts


def rendered(counts: MigrationCounts) -> list[str]:
    """All lines but those of what was never decided."""
    return [line for line in lines_of(counts) if not (line.startswith(DECISIONS) and line.endswith(" 0"))]


def lines_of(counts: MigrationCounts) -> list[str]:
    return [line for line in "".join(counts.render()).splitlines() if not line.startswith("#")]


def test_each_count_has_its_line() -> None:
    """Share, step, decisions, and the store's absence."""
    assert rendered(counted()) == [
        'pointsman_migration_share_ratio{migration="apexguru"} 0.25',
        'pointsman_migration_step{migration="apexguru"} 2',
        'pointsman_migration_decisions_total{migration="apexguru",event="grew"} 1',
        "pointsman_shared_state_lost_seconds 0.0",
    ]
    assert rendered(MigrationCounts(10)) == []


def test_what_wakes_somebody_is_counted_from_nothing() -> None:
    """An alert on an increase would miss the first of a counter that was not there before."""
    counts = MigrationCounts(100)
    counts.stand({"a": (0, 0.0)})
    events = (Event.BREACHED.value, Event.ROLLBACK.value, Event.BYPASSED.value, Event.REPLACED.value)
    nothing = [f'{DECISIONS}{{migration="a",event="{event}"}} 0' for event in events]
    assert [line for line in lines_of(counts) if line.startswith(DECISIONS)] == nothing
    counts.decided("a", "breached")
    counts.stand({"a": (0, 0.0)})
    assert f'{DECISIONS}{{migration="a",event="breached"}} 1' in lines_of(counts)


def test_of_several_processes_the_furthest_is_told() -> None:
    """Where it stands is not a sum; decisions are."""
    mine = counted()
    mine.merge(counted(share=0.5, step=3, lost=7.0))
    mine.merge(counted(share=0.05, step=1))
    mine.merge(MigrationCounts(10))
    assert rendered(mine) == [
        'pointsman_migration_share_ratio{migration="apexguru"} 0.5',
        'pointsman_migration_step{migration="apexguru"} 3',
        'pointsman_migration_decisions_total{migration="apexguru",event="grew"} 3',
        "pointsman_shared_state_lost_seconds 7.0",
    ]


def test_what_has_left_the_policy_is_told_no_more() -> None:
    """Nor what a process that is gone had."""
    counts = counted()
    counts.stand({"other": (0, 0.0)})
    assert not any("share_ratio" in line and "apexguru" in line for line in rendered(counts))
    counts.settle()
    assert rendered(counts) == ['pointsman_migration_decisions_total{migration="apexguru",event="grew"} 1']


def test_beyond_the_cap_everything_is_other() -> None:
    """The number of label sets is bounded."""
    counts = counted(cap=1)
    counts.stand({"a": (1, 0.1), "b": (1, 0.1)})
    counts.decided("b", "grew")
    lines = rendered(counts)
    assert 'pointsman_migration_share_ratio{migration="_other"} 0.1' in lines
    assert 'pointsman_migration_decisions_total{migration="_other",event="_other"} 2' in lines


def test_counts_cross_a_process_boundary() -> None:
    """As JSON, by themselves and within the meters."""
    there = MigrationCounts.load(json.loads(json.dumps(counted().dump())), 100)
    assert rendered(there) == rendered(counted())
    meters = Meters("1")
    meters.migrations.merge(counted())
    assert "pointsman_migration_step" in Meters.restore(meters.snapshot()).render({})


@pytest.mark.parametrize("data", [{}, {"shares": 1}, {"shares": [], "steps": [], "decisions": [["a"]], "lost": None}])
def test_anything_else_is_refused(data: dict[str, object]) -> None:
    """It is no snapshot."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        MigrationCounts.load(data, 10)
