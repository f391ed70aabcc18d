"""The idle limit as warm-ups show it, and what to write instead of an interval that is too long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmers.idle import KEPT, Advice, IdleLimit, Seen, advise

MINUTE = 60.0


def limit(*seen: tuple[float, bool]) -> IdleLimit:
    """Observations in minutes."""
    found = IdleLimit()
    for gap, cold in seen:
        found = found.and_(Seen(gap * MINUTE, cold))
    return found


@pytest.mark.parametrize(
    ("known", "least", "most"),
    [
        (limit(), None, None),
        (limit((14, False), (12, False)), 14, None),
        (limit((20, True), (30, True)), None, 20),
        (limit((14, False), (20, True)), 14, 20),
        (limit((14, False), (10, True), (8, False)), 8, 10),
        (limit((10, False), (10, True)), None, 10),
    ],
    ids=["nothing", "warm", "cold", "both", "contradiction", "the same gap both ways"],
)
def test_bounds(known: IdleLimit, least: float | None, most: float | None) -> None:
    """The longest warm gap and the shortest cold one; where they contradict each other the cold one rules."""
    assert known.at_least == (None if least is None else least * MINUTE)
    assert known.at_most == (None if most is None else most * MINUTE)


def test_a_gap_that_others_may_have_shortened_proves_no_warmth() -> None:
    """Where others use the target too, a cold end is proof and a warm one is not."""
    shared = IdleLimit((Seen(600.0, cold=False, alone=False), Seen(1200.0, cold=True, alone=False)))
    assert (shared.at_least, shared.at_most) == (None, 1200.0)


def test_old_observations_are_forgotten() -> None:
    """One cold warm-up of long ago does not rule for ever."""
    known = limit((5, True), *[(14, False)] * KEPT)
    assert (known.at_least, known.at_most, len(known.seen)) == (14 * MINUTE, None, KEPT)


@pytest.mark.parametrize(
    ("known", "every", "instead", "proven"),
    [
        (limit((20, True)), 20, 14, False),
        (limit((14, True)), 14, 14 / 3, False),
        (limit((70, True)), 70, 56, False),
        (limit((4, True)), 4, 2, False),
        (limit((20, True), (17, False)), 20, 17, True),
        (limit((20, True)), 30, 14, False),
    ],
    ids=["below 15", "below 5", "below an hour", "below all", "proven", "longer than what was cold"],
)
def test_interval_that_does_not_keep_it_warm(known: IdleLimit, every: float, instead: float, proven: bool) -> None:
    """The interval that would: what has been seen to hold, else what lies below a limit that others report."""
    found = advise(known, every * MINUTE)
    assert found is not None
    assert found.instead == pytest.approx(instead * MINUTE)
    assert found == Advice(every * MINUTE, found.at_most, found.instead, proven)


def test_how_often_it_was_cold_is_told() -> None:
    """One cold of many may be an accident: shorter gaps do not count, and more of the same are no other advice."""
    once = advise(limit(*[(14, False)] * 20, (13, True), (5, False)), 14 * MINUTE)
    often = advise(limit(*[(14, True)] * 20, (13, True), (5, False)), 14 * MINUTE)
    assert once is not None
    assert often is not None
    assert ((once.cold, once.of), (often.cold, often.of)) == ((1, 21), (21, 21))
    assert once == often


@pytest.mark.parametrize("known", [limit(), limit((14, False)), limit((20, True)), limit((600, True))])
def test_nothing_to_say_of_an_interval_that_no_cold_gap_speaks_against(known: IdleLimit) -> None:
    """A night off ends cold, and that is no reason to complain."""
    assert advise(known, 14 * MINUTE) is None


@given(st.lists(st.tuples(st.floats(1, 1e5), st.booleans()), max_size=30), st.floats(1, 1e5))
def test_advice_is_shorter_than_anything_that_was_cold(seen: list[tuple[float, bool]], every: float) -> None:
    """Whatever was observed: the bounds are in order, and the interval proposed lies below every cold gap."""
    known = IdleLimit(tuple(Seen(gap, cold) for gap, cold in seen))
    if known.at_least is not None and known.at_most is not None:
        assert known.at_least < known.at_most
    found = advise(known, every)
    if found is not None:
        assert 0 < found.instead < min(gap for gap, cold in seen if cold)
        assert found.instead < every
