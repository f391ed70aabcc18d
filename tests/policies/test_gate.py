"""Gates: green and red are proven, everything else is not yet, and what is missing is never green."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from policies.agreement import Agreement, observed
from policies.evidence import Evidence, Side, bucket_of
from policies.gate import STALE, chance_of, judge, verdict
from policies.migrating import Gate, Measure, Member, Migration, Step
from policies.migration_state import State
from policies.verdicts import Answer, Verdict

from .moves import GATES, NOW, answers, plan, reached

MEMBER = Member("x", "old", "new")


def asked(measure: Measure, allowed: float, evidence: Evidence, now: float = NOW) -> Verdict:
    return verdict(Gate(measure, allowed), MEMBER, evidence, 0.001, now)


def sides(old: Side, new: Side, at: float = NOW) -> Evidence:
    return Evidence(old, new, at=at)


@pytest.mark.parametrize(("failed", "answer"), [(60, Answer.GREEN), (200, Answer.NOT_YET), (600, Answer.RED)])
@pytest.mark.parametrize("measure", [Measure.ERRORS, Measure.COLD_SHARE])
def test_share_of_failures(measure: Measure, failed: int, answer: Answer) -> None:
    """0.2 points more are allowed than the old side's 0.1 %; the text says both shares, of how many."""
    counts = (failed, 0) if measure is Measure.ERRORS else (0, failed)
    seen = sides(Side(1_000_000, 1000, 1000), Side(60_000, *counts))
    said = asked(measure, 0.002, seen)
    assert (said.answer, said.missing, said.route, said.measure) == (answer, False, "x", measure)
    assert said.text.startswith("old 0.100% of 1,000,000, new ")
    assert said.text.endswith("points, +0.2 allowed")


@pytest.mark.parametrize("measure", [Measure.LATENCY_P95, Measure.FIRST_BYTE_P99])
@pytest.mark.parametrize(("slower", "answer"), [(1.0, Answer.GREEN), (1.1, Answer.NOT_YET), (1.4, Answer.RED)])
def test_latency(measure: Measure, slower: float, answer: Answer) -> None:
    """+10 % is allowed; each measure reads its own histogram."""
    chance = random.Random(7)
    times = [chance.lognormvariate(0, 0.3) for _ in range(60_000)]
    old, new = Counter(map(bucket_of, times[:40_000])), Counter(bucket_of(slower * one) for one in times[40_000:])
    field = "latency" if measure is Measure.LATENCY_P95 else "first_byte"
    seen = sides(Side(40_000, **{field: old}), Side(20_000, **{field: new}))  # type: ignore[arg-type]  # a field by name
    said = asked(measure, 0.1, seen)
    assert (said.answer, said.missing) == (answer, False)
    assert "s of 40,000, new " in said.text
    assert said.text.endswith("+10% allowed")


def test_agreement_is_asked_of_comparison() -> None:
    """Its answer, in its words; nothing compared, or under a bound that the policy had before, is missing."""
    alike = Agreement(0.97)
    for _ in range(600):
        alike = alike.merged(observed(0.97, 1.0, 1.0))
    assert asked(Measure.AGREEMENT, 0.97, Evidence(agreement=alike, at=NOW)).answer is Answer.GREEN
    for nothing, bound in ((None, 0.97), (Agreement(0.97), 0.97), (alike, 0.9)):
        said = asked(Measure.AGREEMENT, bound, Evidence(agreement=nothing, at=NOW))
        assert (said.answer, said.missing) == (Answer.NOT_YET, True)


@pytest.mark.parametrize(
    ("cost", "answer", "missing"),
    [
        ((0.8, 0.8), Answer.GREEN, False),
        ((0.1, 0.8), Answer.GREEN, False),
        ((0.81, 0.81), Answer.RED, False),
        ((0.81, 1.3), Answer.RED, False),
        ((0.8, 0.81), Answer.NOT_YET, True),
        (None, Answer.NOT_YET, True),
    ],
)
def test_cost_at_full_share(cost: tuple[float, float] | None, answer: Answer, missing: bool) -> None:
    """All that it may be is allowed, or nothing of it is; else, and where nobody has reckoned, evidence is missing."""
    said = asked(Measure.COST, 0.8, Evidence(cost=None if cost is None else (NOW, *cost)))
    assert (said.answer, said.missing) == (answer, missing)


def test_cost_is_told_as_far_as_it_is_known() -> None:
    """One number when it is one, else both ends and what narrows them."""
    assert asked(Measure.COST, 0.8, Evidence(cost=(NOW, 0.5, 0.5))).text == "50% of the old target's cost, 80% allowed"
    assert asked(Measure.COST, 0.8, Evidence(cost=(NOW, 0.47, 1.3))).text == (
        "47% to 130% of the old target's cost, 80% allowed; a day of requests will tell"
    )


@pytest.mark.parametrize("measure", [measure for measure in Measure if measure is not Measure.COST])
@pytest.mark.parametrize("old", [Side(), Side(1000, 1, 1, {5: 1000}, {5: 1000})])
def test_one_side_alone_is_missing(measure: Measure, old: Side) -> None:
    """However much is known of the old target."""
    said = asked(measure, 0.1, sides(old, Side()))
    assert (said.answer, said.missing) == (Answer.NOT_YET, True)


def test_evidence_that_nobody_adds_to_is_missing_unless_it_is_red() -> None:
    """Ten minutes without a sign of life: what was green then says nothing of now, what was red still does."""
    good = sides(Side(1_000_000, 1000), Side(60_000, 60))
    assert asked(Measure.ERRORS, 0.002, good, NOW + STALE).answer is Answer.GREEN
    late = asked(Measure.ERRORS, 0.002, good, NOW + STALE + 1)
    assert (late.answer, late.missing, "10m1s" in late.text) == (Answer.NOT_YET, True, True)
    bad = sides(Side(1_000_000, 1000), Side(60_000, 6000))
    assert asked(Measure.ERRORS, 0.002, bad, NOW + 9 * STALE).answer is Answer.RED
    assert "no evidence of this step" in asked(Measure.ERRORS, 0.002, Evidence()).text


def test_evidence_from_the_future_is_missing_unless_it_is_red() -> None:
    """It would never get too old: a machine whose clock is wrong must not keep a gate green that nobody feeds."""
    good = sides(Side(1_000_000, 1000), Side(60_000, 60))
    assert asked(Measure.ERRORS, 0.002, good, NOW - STALE).answer is Answer.GREEN
    early = asked(Measure.ERRORS, 0.002, good, NOW - STALE - 1)
    assert (early.answer, early.missing) == (Answer.NOT_YET, True)
    assert "dated 10m1s ahead: the clock of a machine that wrote it, or of this one, is wrong" in early.text
    bad = sides(Side(1_000_000, 1000), Side(60_000, 6000))
    assert asked(Measure.ERRORS, 0.002, bad, NOW - 9 * STALE).answer is Answer.RED


def test_cost_is_as_old_as_its_own_reckoning() -> None:
    """Neither do requests keep an old projection alive, nor a projection the counts of requests."""
    assert asked(Measure.COST, 0.8, Evidence(cost=(NOW - STALE - 1, 0.5, 0.5), at=NOW)).missing is True
    assert asked(Measure.COST, 0.8, Evidence(cost=(NOW, 0.5, 0.5))).answer is Answer.GREEN


def test_every_gate_of_every_member_is_judged() -> None:
    """In the running step; a route that nothing is known of is missing, and no other phase is judged."""
    members = tuple(Member(name, "old", "new", GATES) for name in ("x", "y"))
    whole = plan(members=members)
    state = reached(whole, 1)
    seen = {"x": sides(Side(1_000_000, 1000, 0, {5: 10**6}), Side(60_000, 60, 0, {5: 60_000}))}
    said = judge(whole, state, seen, NOW)
    assert [(one.route, one.measure, one.missing) for one in said] == [
        ("x", Measure.ERRORS, False), ("x", Measure.LATENCY_P95, False),
        ("y", Measure.ERRORS, True), ("y", Measure.LATENCY_P95, True),
    ]  # fmt: skip
    assert answers(said)[:2] == ["green", "green"]
    assert judge(whole, State.planned(whole), seen, NOW) == ()
    assert judge(whole, replace(state, step=-1), seen, NOW) == ()
    assert judge(whole, replace(state, step=9), seen, NOW) == ()


@pytest.mark.parametrize("steps", [1, 4, 9])
def test_chances_of_all_windows_add_up_to_what_is_allowed(steps: int) -> None:
    """Over all gates of all windows that there can ever be, however often a migration goes back and tries again."""
    whole: Migration = plan(*(Step(share=(index + 1) / 10, hold=1) for index in range(steps)))
    total = sum(len(GATES) * chance_of(whole, window, 0) for window in range(1, 3000))
    assert 0.99 * whole.false_alarms <= total <= whole.false_alarms
    assert chance_of(replace(whole, members=(MEMBER,)), 1, 0) == pytest.approx(0.01 / (steps + 1))


def test_answer_to_come_is_said_in_requests() -> None:
    """A gate that can't tell yet says about how many more it takes; fewer when there have been more."""
    whole = plan(members=(Member("x", "old", "new", (*GATES, Gate(Measure.AGREEMENT, 0.97))),))
    whole = replace(whole, steps=(Step(share=0.1, shadow=0.1, hold=1), Step(share=1.0)))
    state = reached(whole, 0)
    few, more = (
        judge(whole, state, {"x": replace(part(count), agreement=observed(0.97, 1.0, 1.0))}, NOW)
        for count in (100, 1000)
    )
    assert answers(few) == ["not yet"] * 3
    assert all(one.more for one in few)
    assert 850 < (few[0].more or 0) - (more[0].more or 0) < 20_000


def part(count: int) -> Evidence:
    old, new = (Side(many, many // 100, 0, {5: many}) for many in (9 * count, count))
    return sides(old, new)


def test_migration_without_a_difference_is_rarely_stopped() -> None:
    """5 windows of 2 gates, each looked at 6 times, 1 in 5 allowed: of 20 no more than 4 are stopped."""
    whole = plan(*(Step(share=share, hold=1) for share in (0.1, 0.2, 0.3, 0.4, 0.5)), Step(share=1.0), false_alarms=0.2)
    stopped = 0
    for seed in range(20):
        chance = random.Random(seed)
        stopped += any(Answer.RED in window(whole, index, chance) for index in range(5))
    assert stopped <= 4


def window(whole: Migration, index: int, chance: random.Random) -> set[Answer]:
    """All the answers that both gates give in one step whose sides are just alike."""
    given: set[Answer] = set()
    state = replace(reached(whole, 0), step=index, window=index + 1)
    evidence = Evidence(at=NOW)
    for _ in range(6):
        share = whole.steps[index].share
        evidence += sides(drawn(chance, round(400 * (1 - share))), drawn(chance, round(400 * share)))
        given |= {one.answer for one in judge(whole, state, {"x": evidence}, NOW)}
    return given


def drawn(chance: random.Random, count: int) -> Side:
    times = Counter(bucket_of(chance.lognormvariate(0, 0.4)) for _ in range(count))
    return Side(count, sum(chance.random() < 0.01 for _ in range(count)), 0, times)


@pytest.mark.parametrize(
    ("measure", "bad", "far"),
    [
        (Measure.ERRORS, Side(3, 3), True),
        (Measure.ERRORS, Side(30, 0), False),
        (Measure.COLD_SHARE, Side(3, 0, 3), True),
        (Measure.LATENCY_P95, Side(4, 0, latency={bucket_of(9.0): 4}), True),
        (Measure.LATENCY_P95, Side(4, 0, latency={bucket_of(1.0): 4}), False),
        (Measure.AGREEMENT, Side(4, 0), False),
    ],
)
def test_open_answer_that_looks_very_bad(measure: Measure, bad: Side, far: bool) -> None:
    """It is marked, so that nobody waves it through on a few requests; one that looks alike is not."""
    member = replace(MEMBER, gates=(Gate(measure, 0.05),))
    whole = replace(plan(Step(share=0.1, shadow=0.1), Step(share=1.0)), members=(member,))
    state = reached(whole, 0)
    evidence = sides(Side(32, 0, latency={bucket_of(1.0): 32}), bad)
    if measure is Measure.AGREEMENT:
        evidence = replace(evidence, agreement=observed(0.05, 0.5, 0.5))
    (said,) = judge(whole, state, {"x": evidence}, NOW)
    assert (said.answer, said.far) == (Answer.NOT_YET, far)
