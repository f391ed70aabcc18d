"""What is counted of copies."""

from __future__ import annotations

import json

import pytest

from backends.meters import Meters
from backends.shadow_counts import ShadowCounts


def counted(cap: int = 100) -> ShadowCounts:
    """Counts with one of each."""
    counts = ShadowCounts(cap)
    counts.result("chat", "compared")
    counts.score("chat", "candidate", 0.62)
    counts.usd("chat", 0.25)
    counts.difference("chat", "kept")
    return counts


def rendered(counts: ShadowCounts) -> list[str]:
    return [line for line in "".join(counts.render()).splitlines() if not line.startswith("#")]


def test_each_count_has_its_line() -> None:
    """Results, scores, dollars and differences are exported under their names."""
    lines = rendered(counted())
    assert 'pointsman_shadow_requests_total{model="chat",result="compared"} 1' in lines
    assert 'pointsman_shadow_likeness_ratio_bucket{model="chat",against="candidate",le="0.6"} 0' in lines
    assert 'pointsman_shadow_likeness_ratio_bucket{model="chat",against="candidate",le="0.7"} 1' in lines
    assert 'pointsman_shadow_usd_total{model="chat"} 0.25' in lines
    assert 'pointsman_shadow_differences_total{model="chat",result="kept"} 1' in lines


def test_counts_of_two_processes_add_up() -> None:
    """Every number is a sum."""
    mine = counted()
    mine.merge(counted())
    lines = rendered(mine)
    assert 'pointsman_shadow_requests_total{model="chat",result="compared"} 2' in lines
    assert 'pointsman_shadow_likeness_ratio_count{model="chat",against="candidate"} 2' in lines
    assert 'pointsman_shadow_usd_total{model="chat"} 0.5' in lines
    assert 'pointsman_shadow_differences_total{model="chat",result="kept"} 2' in lines


def test_label_sets_are_bounded() -> None:
    """Beyond the cap everything lands in one; what is known goes on counting."""
    counts = counted(cap=1)
    counts.result("other", "load")
    counts.result("chat", "compared")
    lines = rendered(counts)
    assert 'pointsman_shadow_requests_total{model="_other",result="_other"} 1' in lines
    assert 'pointsman_shadow_requests_total{model="chat",result="compared"} 2' in lines


def test_counts_cross_a_process_boundary() -> None:
    """What is dumped and loaded renders alike, inside the meters as well."""
    counts = counted()
    assert rendered(ShadowCounts.load(json.loads(json.dumps(counts.dump())), 100)) == rendered(counts)
    meters = Meters()
    meters.shadow = counts
    restored = Meters.restore(meters.snapshot())
    merged = Meters()
    merged.merge(restored)
    assert 'pointsman_shadow_requests_total{model="chat",result="compared"} 1' in merged.render({})
    with pytest.raises(KeyError):
        ShadowCounts.load({}, 1)
