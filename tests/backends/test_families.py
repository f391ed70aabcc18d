"""The values of one metric: joined, bounded, and the same wherever they were counted."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.families import Histograms, Scalars, dump, last, load, merge
from backends.metric_names import RESTORE_TIME, RESTORES, TEMPERATURE, WARM_COST

CAP = 3
LABELS = st.tuples(st.sampled_from("abcdef"), st.sampled_from(["ready", "failed"]))


def lines(family: Scalars | Histograms) -> list[str]:
    return [line for line in family.render().splitlines() if not line.startswith("#")]


def values(family: Scalars) -> dict[str, float]:
    return {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines(family)}


@given(st.lists(LABELS), st.lists(LABELS))
def test_no_count_is_lost_and_no_label_set_too_many(mine: list[tuple[str, str]], theirs: list[tuple[str, str]]) -> None:
    """Two processes' counts come to their sum, in at most one more label set than the cap: `_other`."""
    one, other = Scalars(RESTORES, CAP), Scalars(RESTORES, CAP)
    for family, counted in ((one, mine), (other, theirs)):
        for labels in counted:
            family.count(labels)
    one.merge(other)
    assert sum(values(one).values()) == len(mine) + len(theirs)
    assert len(lines(one)) <= CAP + 1


@given(st.lists(LABELS, max_size=20))
def test_what_fits_is_counted_by_itself(counted: list[tuple[str, str]]) -> None:
    """Where there is room for all, each label set has its own count."""
    family = Scalars(RESTORES, 100)
    for labels in counted:
        family.count(labels)
    names = Counter(f'pointsman_restores_total{{target="{target}",result="{result}"}}' for target, result in counted)
    assert values(family) == dict(names)


def test_two_values_become_one_as_the_metric_wants() -> None:
    """A counter adds up, of a state the worst is told, of an estimate the last."""
    for join, expected in ((None, 5.0), (max, 3.0), (last, 2.0)):
        family = Scalars(WARM_COST, CAP) if join is None else Scalars(WARM_COST, CAP, join)
        for value in (3.0, 2.0):
            family.count(("a", "policy"), value)
        assert list(values(family).values()) == [expected]


def test_what_there_is_now_replaces_what_there_was() -> None:
    """A label set that has gone has no value, and makes room."""
    family = Scalars(TEMPERATURE, 1, max)
    family.replace([(("a",), 1)])
    family.replace([(("b",), 2)])
    assert lines(family) == ['pointsman_target_temperature{target="b"} 2']


def test_families_cross_a_process_boundary_together() -> None:
    """What is dumped, loaded and merged is doubled; whole numbers stay whole."""

    def counted() -> tuple[Scalars, Histograms]:
        family, times = Scalars(RESTORES, CAP), Histograms(RESTORE_TIME, CAP)
        family.count(("a", "ready"))
        times.observe(("a",), 61.0)
        return family, times

    there: tuple[Scalars, Histograms] = Scalars(RESTORES, CAP), Histograms(RESTORE_TIME, CAP)
    load(there, json.loads(json.dumps(dump(counted()))))
    assert [family.render() for family in there] == [family.render() for family in counted()]
    merge(there, counted())
    assert lines(there[0]) == ['pointsman_restores_total{target="a",result="ready"} 2']
    assert lines(there[1])[-2:] == [
        'pointsman_restore_seconds_sum{target="a"} 122.0',
        'pointsman_restore_seconds_count{target="a"} 2',
    ]


def test_histograms_are_bounded_as_well() -> None:
    """Beyond the cap one histogram has all."""
    family = Histograms(RESTORE_TIME, 1)
    for target in "abc":
        family.observe((target,), 1.0)
    assert 'pointsman_restore_seconds_count{target="_other"} 2' in lines(family)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {RESTORES.name: 1, RESTORE_TIME.name: []},
        {RESTORES.name: [[["a", "ready"], "many"]], RESTORE_TIME.name: []},
        {RESTORES.name: [], RESTORE_TIME.name: [[["a"], 1.0, [1]]]},
    ],
)
def test_anything_else_is_refused(data: dict[str, object]) -> None:
    """A snapshot that is none, or that has other buckets, is no snapshot of ours."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        load((Scalars(RESTORES, CAP), Histograms(RESTORE_TIME, CAP)), data)
