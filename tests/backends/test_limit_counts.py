"""What is counted of targets' limits."""

from __future__ import annotations

import json

import orjson
import pytest

from backends.limit_counts import LimitCounts
from backends.meters import Meters


def counted(limit: int = 40, cap: int = 100) -> LimitCounts:
    """Counts of one busy target."""
    counts = LimitCounts(cap)
    counts.states([("gpu", limit, limit - 1, 3)])
    counts.refused("gpu")
    return counts


def rendered(counts: LimitCounts) -> list[str]:
    return [line for line in "".join(counts.render()).splitlines() if not line.startswith("#")]


def test_each_count_has_its_line() -> None:
    """Limit, requests inside, requests waiting and refusals are exported under their names."""
    assert rendered(counted()) == [
        'pointsman_target_limit{target="gpu"} 40',
        'pointsman_target_least_limit{target="gpu"} 40',
        'pointsman_target_in_flight{target="gpu"} 39',
        'pointsman_target_waiting{target="gpu"} 3',
        'pointsman_target_refused_total{target="gpu"} 1',
    ]


def test_counts_of_two_processes_add_up_and_the_strangled_one_shows() -> None:
    """Each has a limit of its own: the target bears their sum, and the least tells who is worse off."""
    mine = counted(120)
    mine.merge(counted(4))
    assert rendered(mine) == [
        'pointsman_target_limit{target="gpu"} 124',
        'pointsman_target_least_limit{target="gpu"} 4',
        'pointsman_target_in_flight{target="gpu"} 122',
        'pointsman_target_waiting{target="gpu"} 6',
        'pointsman_target_refused_total{target="gpu"} 2',
    ]


def test_of_a_process_that_is_gone_only_its_refusals_remain() -> None:
    """It has no limit any more, and nobody inside; nor has a target that the policy lost."""
    counts = counted()
    counts.states([("other", 9, 0, 0)])
    assert 'pointsman_target_limit{target="gpu"} 40' not in rendered(counts)
    counts.settle()
    assert rendered(counts) == ['pointsman_target_refused_total{target="gpu"} 1']


def test_counts_cross_a_process_boundary() -> None:
    """What is dumped and loaded renders alike, inside the meters as well."""
    counts = counted()
    assert rendered(LimitCounts.load(json.loads(json.dumps(counts.dump())), 100)) == rendered(counts)
    meters, merged = Meters(), Meters()
    meters.limits = counts
    restored = Meters.restore(meters.snapshot())
    merged.merge(restored)
    assert rendered(merged.limits) == rendered(counts)
    assert 'pointsman_target_limit{target="gpu"} 40' in merged.render({})
    restored.settle()
    assert "pointsman_target_limit{" not in restored.render({})
    with pytest.raises(KeyError):
        LimitCounts.load({}, 1)


def test_a_release_that_knew_of_none_is_understood() -> None:
    """Around an upgrade its other counts go on."""
    meters = Meters()
    meters.shed("chat", "target")
    older = orjson.loads(meters.snapshot())
    del older["limits"]
    restored = Meters.restore(orjson.dumps(older))
    assert rendered(restored.limits) == []
    assert 'pointsman_shed_total{model="chat",reason="target"} 1' in restored.render({})


def test_labels_are_bounded() -> None:
    """Beyond the cap everything lands in `_other`."""
    counts = LimitCounts(1)
    counts.states([("a", 1, 1, 0), ("b", 7, 5, 2), ("c", 4, 3, 1)])
    for name in "abc":
        counts.refused(name)
    lines = rendered(counts)
    assert 'pointsman_target_limit{target="_other"} 11' in lines
    assert 'pointsman_target_least_limit{target="_other"} 4' in lines
    assert 'pointsman_target_refused_total{target="_other"} 2' in lines
