"""Evidence of agreement: it adds up, and what is said of it is wrong as seldom as stated."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.agreement import STEPS, Agreement, judge, observed, read, required
from policies.verdicts import Answer

BOUND = 0.97
SHARES = st.floats(0, 1)
EVIDENCE = st.lists(st.tuples(SHARES, SHARES), max_size=8).map(
    lambda pairs: _added([observed(BOUND, mine, theirs, {"text": mine}, {"text": theirs}) for mine, theirs in pairs])
)
Pair = Callable[[random.Random], tuple[float, float]]


def _added(many: list[Agreement], bound: float = BOUND) -> Agreement:
    total = Agreement(bound)
    for one in many:
        total = total.merged(one)
    return total


def _clipped(value: float) -> float:
    return min(1.0, max(0.0, value))


def _requests_until(pair: Pair, seed: int, most: int, chance: float = 0.01, every: int = 1) -> tuple[Answer, int]:
    """The first answer that is not "not yet", and after how many requests; looked at after each `every` of them."""
    draws, evidence = random.Random(seed), Agreement(BOUND)
    for number in range(1, most + 1):
        evidence = evidence.merged(observed(BOUND, *pair(draws)))
        if number % every == 0 and (answer := judge(evidence, chance).answer) is not Answer.NOT_YET:
            return answer, number
    return Answer.NOT_YET, most


@given(EVIDENCE, EVIDENCE)
def test_evidence_adds_up_in_any_order(one: Agreement, other: Agreement) -> None:
    """Workers' evidence merged either way is the same, counts every request once, and judges alike."""
    both, back = one.merged(other), other.merged(one)
    assert both.counts == back.counts
    assert both.requests == one.requests + other.requests
    assert both.candidate == pytest.approx(back.candidate)
    assert judge(both, 0.01).answer is judge(back, 0.01).answer
    assert set(both.parts) == set(one.parts) | set(other.parts)


@given(EVIDENCE)
def test_evidence_survives_json(evidence: Agreement) -> None:
    """What a store keeps is what was written."""
    assert read(json.loads(json.dumps(evidence.document()))) == evidence


@pytest.mark.parametrize("document", [{}, {"counts": []}, {"counts": {}, "parts": {"text": [1]}}, {"counts": {"a": 1}}])
def test_other_documents_are_refused(document: dict[str, object]) -> None:
    """Anything else is an error and never empty evidence."""
    with pytest.raises(ValueError):
        read(document)


def test_evidence_about_another_bound_is_not_added() -> None:
    """Differences are counted against one bound, and mean nothing for another."""
    with pytest.raises(ValueError, match="bound"):
        Agreement(0.97).merged(Agreement(0.95))


def test_nothing_is_said_without_evidence() -> None:
    """Missing data is never green."""
    verdict = judge(Agreement(BOUND), 0.5)
    assert (verdict.answer, verdict.why) == (Answer.NOT_YET, "no request has been compared")
    assert Agreement(BOUND).share is None


def test_words_name_the_numbers_and_the_worst_parts() -> None:
    """A verdict tells how many requests, which share of the floor, and where the candidate falls short."""
    bad = observed(
        BOUND, 0.2, 0.9, {"text": 0.1, "finish": 0.0, "headers": 1.0}, {"text": 0.8, "finish": 1.0, "headers": 1.0}
    )
    red = judge(_added([bad] * 40), 0.01)
    assert red.answer is Answer.RED
    assert red.why == (
        "40 requests: 0.222 of the A/A floor, 0.97 wanted (finish 0.00 against 1.00; text 0.10 against 0.80)"
    )
    open_ = judge(observed(BOUND, 1, 1), 0.01)
    assert open_.why == "1 requests: 1.000 of the A/A floor, 0.97 wanted; about 238 are needed to tell"
    assert "none of the A/A floor" in judge(observed(BOUND, 0, 0), 0.01).why
    assert judge(_added([observed(BOUND, 0.2, 0.9)] * 40), 0.01).why.endswith("0.97 wanted")


@pytest.mark.parametrize(
    ("pair", "answer", "most"),
    [
        (lambda _: (1.0, 1.0), Answer.GREEN, 240),
        (lambda draws: (_clipped(draws.gauss(0.9, 0.05)), _clipped(draws.gauss(0.9, 0.05))), Answer.GREEN, 500),
        (lambda _: (0.6, 1.0), Answer.RED, 25),
        (lambda draws: (_clipped(draws.gauss(0.25, 0.2)), _clipped(draws.gauss(0.5, 0.2))), Answer.RED, 120),
        (lambda draws: (0.4 if draws.random() < 0.2 else 1.0, 1.0), Answer.RED, 250),
    ],
)
def test_how_many_requests_an_answer_takes(pair: Pair, answer: Answer, most: int) -> None:
    """The power: alike is said after some 240 answers that never vary; a broken candidate after dozens."""
    found = [_requests_until(pair, seed, 600) for seed in range(3)]
    assert all(one is answer for one, _ in found)
    assert sorted(number for _, number in found)[1] <= most


@pytest.mark.parametrize("spread", [0.05, 0.3])
def test_false_alarms_are_as_seldom_as_stated(spread: float) -> None:
    """A candidate that lies exactly at the bound, looked at again and again, is called either way in 10 % at most."""

    def pair(draws: random.Random) -> tuple[float, float]:
        theirs = 0.5 + spread * draws.choice((-1, 1))
        return BOUND * (0.5 + spread * draws.choice((-1, 1))), theirs

    found = [_requests_until(pair, seed, 300, chance=0.1, every=10)[0] for seed in range(60)]
    assert found.count(Answer.RED) <= 6
    assert found.count(Answer.GREEN) <= 6


def test_rounding_is_against_what_is_to_be_shown() -> None:
    """Differences within one step of 0 show nothing, however many there are."""
    hair = 0.4 / STEPS
    below = _added([observed(BOUND, BOUND - hair, 1.0)] * 3000)
    above = _added([observed(BOUND, BOUND + hair, 1.0)] * 3000)
    assert judge(below, 0.01).answer is Answer.NOT_YET
    assert judge(above, 0.01).answer is Answer.NOT_YET
    assert required(above, 0.01) == 1_000_000


@pytest.mark.parametrize(("bound", "expected"), [(0.97, 238), (0.9, 74), (0.99, 707)])
def test_required_without_evidence_is_the_least(bound: float, expected: int) -> None:
    """A candidate that always answers alike needs so many requests; a closer bound needs more."""
    assert required(Agreement(bound), 0.01) == expected
