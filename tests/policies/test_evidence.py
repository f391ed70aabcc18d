"""Evidence of two parts of the traffic adds up to that of both, and survives the store."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.agreement import Agreement, observed
from policies.evidence import LAST, LONGEST, SHORTEST, SLOTS_KEPT, WIDER, Evidence, Side, bucket_of, quantile, upper

from .written import PATIENT

BUCKETS = st.dictionaries(st.integers(0, LAST), st.integers(0, 1000), max_size=5)
COUNT = st.integers(0, 10**6)
SIDES = st.builds(Side, COUNT, COUNT, COUNT, BUCKETS, BUCKETS)
SCORE = st.sampled_from([0.0, 0.25, 0.5, 1.0])
AGREEMENTS = st.none() | st.builds(lambda one, other: observed(0.97, one, other), SCORE, SCORE)
BUSY = st.frozensets(st.integers(5_900_000, 5_900_000 + SLOTS_KEPT - 1), max_size=20)
EVIDENCE = st.builds(
    Evidence,
    SIDES,
    SIDES,
    AGREEMENTS,
    st.none() | st.tuples(SCORE, SCORE, SCORE),
    st.integers(0, 10**10).map(float),
    BUSY,
)


@PATIENT
@given(EVIDENCE, EVIDENCE, EVIDENCE)
def test_order_of_adding_does_not_matter(one: Evidence, two: Evidence, three: Evidence) -> None:
    """Workers and machines may be merged as they come; with nothing added it stays what it is."""
    assert (one + two) + three == one + (two + three)
    assert (one + two).old == (two + one).old
    assert (one + two).busy == one.busy | two.busy
    assert (one + Evidence()).old == one.old


@PATIENT
@given(EVIDENCE)
def test_evidence_survives_the_store(evidence: Evidence) -> None:
    """Counts, buckets, comparisons and times come back as they were."""
    assert Evidence.from_json(evidence.to_json()) == evidence


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        [],
        {"old": {}},
        {"old": 1, "new": 2},
        Evidence().to_json() | {"cost": [1]},
        Evidence().to_json() | {"busy": [1, "x"]},
        Evidence().to_json() | {"busy": [float("inf"), "1"]},
    ],
)
def test_anything_else_is_refused(data: object) -> None:
    """What another version wrote is not guessed at."""
    with pytest.raises(ValueError, match="not evidence of a migration"):
        Evidence.from_json(data)


def test_busy_slots_are_short_and_older_evidence_has_none() -> None:
    """A week of requests is half a kilobyte in the store, and what a version without slots has written can be read."""
    week = Evidence(busy=frozenset(range(5_900_000, 5_900_000 + 7 * 288)))
    assert len(json.dumps(week.to_json()["busy"])) < 600
    older = {key: value for key, value in Evidence(at=3.0).to_json().items() if key != "busy"}
    assert Evidence.from_json(older) == Evidence(at=3.0)


def test_newer_projection_of_the_cost_holds() -> None:
    """Of two, the one that was made later; one that is not known replaces none."""
    early, late, silent = Evidence(cost=(1.0, 0.7, 0.9)), Evidence(cost=(2.0, 0.5, 0.5)), Evidence(at=3.0)
    assert ((early + late).cost, (late + early).cost, (late + silent).cost) == ((2.0, 0.5, 0.5),) * 3
    assert (late + silent).at == 3.0


def test_agreement_under_another_bound_is_not_added() -> None:
    """A policy that changed its bound began a new window; counts of both would say nothing."""
    with pytest.raises(ValueError, match="bound"):
        Evidence(agreement=Agreement(0.97)) + Evidence(agreement=Agreement(0.9))


@PATIENT
@given(st.floats(0, 2 * LONGEST, allow_nan=False))
def test_bucket_holds_its_durations(seconds: float) -> None:
    """Each lies above the bucket before and at most at the top of its own, give or take rounding; 1 % wide."""
    bucket = bucket_of(seconds)
    assert 0 <= bucket <= LAST
    assert seconds <= upper(bucket) * (1 + 1e-9)
    assert bucket == 0 or seconds > upper(bucket - 1) * (1 - 1e-9)


def test_ends_of_the_buckets() -> None:
    """The first holds what is too short to matter, the last everything else."""
    assert (bucket_of(0.0), bucket_of(SHORTEST), bucket_of(1e9)) == (0, 0, LAST)
    assert (upper(0), upper(LAST)) == (SHORTEST, math.inf)
    assert upper(1) / upper(0) == pytest.approx(WIDER)
    assert upper(LAST - 1) >= LONGEST / WIDER**2


def test_empty_buckets_are_not_kept() -> None:
    """Most of the 1,500 hold nothing; what is stored stays small."""
    assert dict(Side(latency={5: 0, 3: 2}).latency) == {3: 2}


def test_quantile() -> None:
    """The top of the bucket that holds it; nothing has none, and the last bucket has an end."""
    assert quantile({}, 0.5) == 0.0
    assert quantile({bucket_of(1.0): 9, bucket_of(2.0): 1}, 0.9) == pytest.approx(1.0, rel=0.011)
    assert quantile({bucket_of(1.0): 9, bucket_of(2.0): 1}, 0.95) == pytest.approx(2.0, rel=0.011)
    assert quantile({bucket_of(1e9): 1}, 0.5) == 3600.0
