"""Tests that may be looked at at any time: wrong as rarely as they say, however often one looks."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.evidence import LAST, bucket_of
from policies.sequential import Counts, deviations, quantiles, shares, surprise
from policies.verdicts import Answer

from .written import PATIENT


def test_surprise_is_a_ratio_of_probabilities() -> None:
    """Of the mixture's to the share's own: worked out by hand for one request, and infinite for what can't be."""
    assert surprise((1, 1), 0.5) == pytest.approx(math.log(0.5 / 0.5))
    assert surprise((2, 2), 0.5) == pytest.approx(math.log((0.5 * 1.5 / 2) / 0.25))
    assert surprise((0, 0), 0.3) == pytest.approx(0.0)
    assert (surprise((1, 3), 0.0), surprise((2, 3), 1.0)) == (math.inf, math.inf)
    assert surprise((0, 3), 0.0) == pytest.approx(math.log(0.5 / 1 * 1.5 / 2 * 2.5 / 3))


def test_few_counts_prove_nothing() -> None:
    """A side on which nothing has failed is not certain for that: it takes about twenty failures' worth of requests."""
    old = (0.0, 1e6)
    assert [shares(old, (0.0, new), 0.002, 0.001) for new in (100.0, 1000.0, 4000.0)] == [Answer.NOT_YET] * 3
    assert shares(old, (0.0, 20_000.0), 0.002, 0.001) is Answer.GREEN
    assert [shares(old, (k, 10.0), 0.002, 0.001) for k in (1.0, 2.0)] == [Answer.NOT_YET] * 2


@PATIENT
@given(st.integers(1, 30), st.floats(0.01, 0.99))
def test_surprise_is_fair(n: int, p: float) -> None:
    """A bet on the mixture has no advantage where `p` is true: its mean over all outcomes is 1."""
    mean = sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) * math.exp(surprise((k, n), p)) for k in range(n + 1))
    assert mean == pytest.approx(1.0)


def drawn(chance: random.Random, n: int, p: float) -> int:
    """A binomial number, by its normal approximation where that is good."""
    if n * p * (1 - p) > 200:
        return min(n, max(0, round(chance.gauss(n * p, math.sqrt(n * p * (1 - p))))))
    return sum(chance.random() < p for _ in range(n))


def looked_at(seed: int, old: float, new: float, looks: int, share: float) -> set[Answer]:
    """All the answers that one migration's step gives when it is looked at after every 200 requests."""
    chance = random.Random(seed)
    counts = [[0, 0], [0, 0]]
    given_: set[Answer] = set()
    for _ in range(looks):
        arrived = drawn(chance, 200, share)
        for side, more, p in ((0, 200 - arrived, old), (1, arrived, new)):
            counts[side][0] += drawn(chance, more, p)
            counts[side][1] += more
        given_.add(shares((counts[0][0], counts[0][1]), (counts[1][0], counts[1][1]), 0.01, 0.05))
    return given_


@pytest.mark.parametrize(("old", "share"), [(0.02, 0.5), (0.001, 0.1)])
def test_wrong_answers_are_as_rare_as_stated(old: float, share: float) -> None:
    """Where the difference is just what is allowed any answer is wrong: of 100, looked at 80 times each, 5 give one."""
    told = sum(looked_at(seed, old, old + 0.01, 80, share) != {Answer.NOT_YET} for seed in range(100))
    assert told <= 5 + 2 * math.sqrt(5)


def ever_red(allowed: float, chance: float, requests: int) -> float:
    """The probability that the new side is called red at any request, where just what is allowed fails on it.

    Exact, by what its failures may be after each request; on the old side nothing fails of very many.
    """
    reached, stopped, limit = [1.0], 0.0, 0
    for n in range(1, requests + 1):
        reached = [a * (1 - allowed) + b * allowed for a, b in zip([*reached, 0.0], [0.0, *reached], strict=True)]
        while limit <= n and shares((0.0, 1e7), (float(limit), float(n)), allowed, chance) is not Answer.RED:
            limit += 1
        stopped += sum(reached[limit:])
        del reached[limit:]
    return stopped


@pytest.mark.parametrize(("allowed", "chance", "requests"), [(0.002, 0.001, 2000), (0.01, 0.001, 2000)])
def test_alarms_are_as_rare_as_stated_where_next_to_nothing_fails(allowed: float, chance: float, requests: int) -> None:
    """Failures that are few come in clumps: the probability of an alarm at any request of the first 2,000 is exact."""
    assert 0 < ever_red(allowed, chance, requests) <= chance


def test_a_candidate_that_fails_at_everything_is_red_at_once() -> None:
    """Whatever the share: a handful of requests prove it, not as many as it takes to see a small difference."""
    for share in (0.01, 0.25, 0.5):
        needed = next(n for n in range(1, 100) if shares((0.0, n / share - n), (n, n), 0.002, 0.001) is Answer.RED)
        assert needed <= 8
    assert shares((0.0, 100.0), (1.0, 1.0), 0.002, 0.001) is Answer.NOT_YET


def test_no_difference_is_never_called_one() -> None:
    """A candidate that is as good lies so far from what is allowed that hardly any luck makes it a breach."""
    assert not any(Answer.RED in looked_at(seed, 0.02, 0.02, 60, 0.5) for seed in range(100))


def test_right_answers_come() -> None:
    """A side that is as good becomes green and one that is twice too bad becomes red, nearly always, in time."""
    good = sum(Answer.GREEN in looked_at(seed, 0.02, 0.02, 150, 0.5) for seed in range(20))
    bad = sum(Answer.RED in looked_at(seed, 0.02, 0.05, 100, 0.5) for seed in range(20))
    assert (good, bad) == (20, 20)


def test_500_requests_can_not_see_a_fifth_of_a_point() -> None:
    """Whatever they met, short of a disaster: that many can't tell +0.2 points from nothing."""
    old = (500.0, 100_000.0)
    assert {shares(old, (k, 500.0), 0.002, 0.001) for k in range(10)} == {Answer.NOT_YET}
    assert shares(old, (100.0, 500.0), 0.002, 0.001) is Answer.RED
    assert shares((5.0, 1000.0), (0.0, 0.0), 0.002, 0.001) is Answer.NOT_YET


COUNTS = st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n).map(float), st.just(float(n))))


@PATIENT
@given(COUNTS, COUNTS, st.floats(0.0005, 0.3))
def test_answer_agrees_with_what_was_counted(old: Counts, new: Counts, allowed: float) -> None:
    """Red only where more than allowed was seen, green only where less was; a stricter test says no more."""
    answer = shares(old, new, allowed, 0.01)
    difference = new[0] / new[1] - old[0] / old[1]
    if answer is not Answer.NOT_YET:
        assert (difference > allowed) == (answer is Answer.RED)
    assert shares(old, new, allowed, 0.0001) in (answer, Answer.NOT_YET)


def halved(old: Counts, new: Counts, allowed: float) -> float:
    """The old side's likeliest share by halving where it may lie: slow, and sure."""
    low, high = 0.0, 1.0 - allowed
    for _ in range(200):
        p = (low + high) / 2
        slope = sum((n - k) / (1 - q) - k / q for (k, n), q in ((old, p), (new, p + allowed)) if 0 < q < 1)
        low, high = (low, p) if slope > 0 else (p, high)
    return low


@PATIENT
@given(COUNTS, COUNTS, st.floats(0.0005, 0.3))
def test_the_variance_is_the_one_under_what_is_allowed(old: Counts, new: Counts, allowed: float) -> None:
    """Of the shares that make the counts likeliest, as found by halving; also where one side has all or nothing."""
    low = halved(old, new, allowed)
    high = low + allowed
    variance = max(0.0, low * (1 - low)) / old[1] + max(0.0, high * (1 - high)) / new[1]
    difference = new[0] / new[1] - old[0] / old[1] - allowed
    assert deviations(old, new, allowed, 0.01)[0] == pytest.approx(difference / math.sqrt(variance), rel=1e-4)


def lognormal(seed: int, count: int, scale: float = 1.0, spread: float = 0.5) -> Counter[int]:
    chance = random.Random(seed)
    return Counter(bucket_of(scale * chance.lognormvariate(0, spread)) for _ in range(count))


def test_quantiles_tell_slower_from_as_fast() -> None:
    """+10 % allowed: as fast is green, +25 % red, a handful of requests neither, +10 % itself neither."""
    old = lognormal(1, 40_000)
    assert quantiles(old, lognormal(2, 20_000), 0.95, 0.1, 0.001) is Answer.GREEN
    assert quantiles(old, lognormal(3, 20_000, 1.25), 0.95, 0.1, 0.001) is Answer.RED
    assert quantiles(old, lognormal(4, 20_000, 1.1), 0.95, 0.1, 0.001) is Answer.NOT_YET
    assert quantiles(old, lognormal(5, 300, 1.25), 0.95, 0.1, 0.001) is Answer.NOT_YET
    assert quantiles(old, {}, 0.95, 0.1, 0.001) is Answer.NOT_YET
    assert quantiles({3: 0}, old, 0.95, 0.1, 0.001) is Answer.NOT_YET


def test_quantiles_of_times_that_are_all_alike() -> None:
    """A machine that always takes 200 ms has no spread at all: the test stands on buckets and not on a distribution."""
    old = {bucket_of(0.2): 5000}
    assert quantiles(old, {bucket_of(0.2): 2000}, 0.95, 0.1, 0.001) is Answer.GREEN
    assert quantiles(old, {bucket_of(0.23): 2000}, 0.95, 0.1, 0.001) is Answer.RED
    assert quantiles(old, {bucket_of(0.2195): 2000}, 0.95, 0.1, 0.001) is Answer.NOT_YET
    assert quantiles(old, {LAST: 2000}, 0.95, 0.1, 0.001) is Answer.RED
    assert quantiles({LAST: 2000}, old, 0.95, 0.1, 0.001) is Answer.GREEN


@pytest.mark.parametrize(("scale", "wrong"), [(1.0, Answer.RED), (1.1, Answer.RED), (1.101, Answer.GREEN)])
def test_quantiles_are_wrong_as_rarely_as_stated(scale: float, wrong: Answer) -> None:
    """Of 40 steps looked at 10 times each, at most about 10 % are ever told wrong where that much is stated."""
    told = 0
    for seed in range(40):
        old: Counter[int] = Counter()
        new: Counter[int] = Counter()
        answers = set()
        for look in range(10):
            old.update(lognormal(seed * 1000 + look, 150, spread=0.3))
            new.update(lognormal(seed * 1000 + 500 + look, 150, scale, 0.3))
            answers.add(quantiles(old, new, 0.9, 0.1, 0.1))
        told += wrong in answers
    assert told <= 4 + 2 * math.sqrt(4)
