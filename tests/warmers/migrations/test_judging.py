"""Gates that are asked once: the same answers as `policies.gate.judge`, whatever comes after what."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from policies.evidence import Evidence, Side
from policies.gate import STALE, judge
from policies.migrating import Gate, Measure
from policies.verdicts import Answer
from tests.policies.moves import GATES, NOW, plan, reached
from tests.policies.written import PATIENT
from warmers.migrations.judging import Judge

COST = Gate(Measure.COST, 0.8)


def seen(failed: int, at: float, cost: float) -> Evidence:
    """Of a day; the cost was worked out just now."""
    times = {5: 40_000}
    old, new = Side(40_000, 40, 0, times, times), Side(20_000, failed, 0, times, times)
    return Evidence(old, new, cost=(NOW, cost, cost), at=at)


@PATIENT
@given(
    st.lists(
        st.tuples(
            st.sampled_from([20, 60, 5000]), st.sampled_from([NOW, NOW - STALE - 1]), st.sampled_from([0.5, 0.9])
        ),
        max_size=8,
    ),
    st.lists(st.integers(0, 2), min_size=8, max_size=8),
)
def test_answers_are_those_of_the_gates(looks: list[tuple[int, float, float]], steps: list[int]) -> None:
    """At every look, with other counts, at another age, of another step or plan, or with all as it was."""
    one = Judge()
    member = replace(plan().members[0], gates=(*GATES, COST))
    for (failed, at, cost), step in zip(looks, steps, strict=False):
        whole = plan(members=(member,), false_alarms=0.01 if failed != 60 else 0.02)
        state, evidence = reached(whole, step), {"x": seen(failed, at, cost)}
        assert one.judge(whole, state, evidence, NOW) == judge(whole, state, evidence, NOW)


def test_what_nobody_adds_to_grows_old() -> None:
    """An answer that is remembered is missing all the same once its evidence is stale, and red stays red."""
    one, whole = Judge(), plan()
    state = reached(whole, 1)
    good, bad = {"x": seen(20, NOW, 0.5)}, {"x": seen(5000, NOW, 0.5)}
    assert [said.missing for said in one.judge(whole, state, good, NOW)] == [False, False]
    assert [said.missing for said in one.judge(whole, state, good, NOW + STALE + 1)] == [True, True]
    assert one.judge(whole, state, bad, NOW)[0].answer is Answer.RED
    assert one.judge(whole, state, bad, NOW + STALE + 1)[0].answer is Answer.RED
