"""What is counted of cold targets."""

from __future__ import annotations

import json

import pytest

from backends.cold_counts import ColdCounts
from backends.meters import Meters


def counted(cap: int = 100) -> ColdCounts:
    """Counts with one of each."""
    counts = ColdCounts(cap)
    counts.temperatures([("imported", 3), ("other", 1)])
    counts.restore("imported", "ready")
    counts.restored("imported", 61.0)
    counts.request("chat", "spill")
    counts.cost("imported", "policy", 882.0)
    return counts


def rendered(counts: ColdCounts) -> list[str]:
    return [line for line in "".join(counts.render()).splitlines() if not line.startswith("#")]


def test_each_count_has_its_line() -> None:
    """States, probes, durations, requests and dollars are exported under their names."""
    lines = rendered(counted())
    assert 'pointsman_target_temperature{target="imported"} 3' in lines
    assert 'pointsman_restores_total{target="imported",result="ready"} 1' in lines
    assert 'pointsman_restore_seconds_bucket{target="imported",le="120.0"} 1' in lines
    assert 'pointsman_restore_seconds_bucket{target="imported",le="60.0"} 0' in lines
    assert 'pointsman_restore_seconds_sum{target="imported"} 61.0' in lines
    assert 'pointsman_cold_requests_total{model="chat",became="spill"} 1' in lines
    assert 'pointsman_warm_usd_per_month{target="imported",interval="policy"} 882.0' in lines


def test_counts_of_two_processes_add_up_and_the_coldest_shows() -> None:
    """Counters and durations are sums; of a state the coldest is shown, of a cost the last."""
    mine, theirs = counted(), counted()
    theirs.temperatures([("imported", 4), ("other", 0)])
    theirs.cost("imported", "policy", 900.0)
    mine.merge(theirs)
    lines = rendered(mine)
    assert 'pointsman_target_temperature{target="imported"} 4' in lines
    assert 'pointsman_target_temperature{target="other"} 1' in lines
    assert 'pointsman_restores_total{target="imported",result="ready"} 2' in lines
    assert 'pointsman_restore_seconds_count{target="imported"} 2' in lines
    assert 'pointsman_cold_requests_total{model="chat",became="spill"} 2' in lines
    assert 'pointsman_warm_usd_per_month{target="imported",interval="policy"} 900.0' in lines


def test_a_new_look_replaces_the_states() -> None:
    """A target that is tracked no more has no state; nor has any target of a process that is gone."""
    counts = counted()
    counts.temperatures([("other", 1)])
    assert 'pointsman_target_temperature{target="imported"} 3' not in rendered(counts)
    counts.settle()
    assert not [line for line in rendered(counts) if "temperature" in line]
    assert [line for line in rendered(counts) if "restores_total" in line]


def test_counts_cross_a_process_boundary() -> None:
    """What is dumped and loaded renders alike, inside the meters as well."""
    counts = counted()
    assert rendered(ColdCounts.load(json.loads(json.dumps(counts.dump())), 100)) == rendered(counts)
    meters = Meters()
    meters.cold = counts
    restored = Meters.restore(meters.snapshot())
    assert rendered(restored.cold) == rendered(counts)
    merged = Meters()
    merged.merge(restored)
    assert 'pointsman_cold_requests_total{model="chat",became="spill"} 1' in merged.render({})
    restored.settle()
    assert "pointsman_target_temperature{" not in restored.render({})
    with pytest.raises(KeyError):
        ColdCounts.load({}, 1)


def test_labels_are_bounded() -> None:
    """Beyond the cap everything lands in `_other`."""
    counts = ColdCounts(1)
    for name in "abc":
        counts.restore(name, "ready")
        counts.restored(name, 1.0)
        counts.temperatures([("a", 1), ("b", 4), ("c", 2)])
    lines = rendered(counts)
    assert 'pointsman_restores_total{target="a",result="ready"} 1' in lines
    assert 'pointsman_restores_total{target="_other",result="_other"} 2' in lines
    assert 'pointsman_target_temperature{target="_other"} 4' in lines
    assert 'pointsman_restore_seconds_count{target="_other"} 2' in lines
