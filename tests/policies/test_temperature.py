"""Whether a target is loaded, as a value: what moves it, what is measured, what a caller is told."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policies.temperature import (
    FIRST_SHARE,
    KEPT,
    LONGEST_PACE,
    NEW,
    RESTORE,
    SLOW_START,
    SOONEST,
    Temperature,
    Warmth,
    answered,
    doubted,
    earliest,
    estimate,
    failed,
    heard,
    idle_limit,
    met_cold,
    own_pace,
    pace,
    remaining,
    restoring,
    sent,
    share,
    warmth,
)
from tests.policies.written import PATIENT

SHORTEST = 60.0
LIMIT = 900.0


def at(temperature: Temperature, now: float) -> Warmth:
    return warmth(temperature, now, LIMIT, SHORTEST)


def warm(now: float = 0.0) -> Temperature:
    """One that answered a quick call at `now`."""
    return answered(NEW, now - 0.1, now, SHORTEST)


def test_nothing_is_known_of_a_new_one() -> None:
    """Unknown until something was heard, and with all of its traffic."""
    assert at(NEW, 0.0) is Warmth.UNKNOWN
    assert share(NEW, 0.0) == 1.0


def test_an_answer_makes_it_ready_and_time_makes_it_cooling() -> None:
    """Ready up to its idle limit, cooling from then on."""
    assert at(warm(), LIMIT - 1) is Warmth.READY
    assert at(warm(), LIMIT) is Warmth.COOLING
    assert warmth(warm(), 1e9, None, SHORTEST) is Warmth.READY


def test_a_refusal_makes_it_cold_and_a_probe_warming() -> None:
    """Warming while a probe is out, cold again when it came back with nothing, ready when it was answered."""
    cold = met_cold(warm(), 1000.0)
    assert at(cold, 1000.0) is Warmth.COLD
    out = restoring(cold, True)
    assert at(out, 1001.0) is Warmth.WARMING
    assert at(restoring(out, False), 1002.0) is Warmth.COLD
    back = answered(out, 1070.0, 1071.0, SHORTEST)
    assert at(back, 1071.0) is Warmth.READY
    assert (back.restores, back.restored, back.gaps) == ((70.0,), 1071.0, (1000.0,))


def test_a_second_refusal_moves_nothing() -> None:
    """It counts from the first one, and the gap is counted once."""
    once = met_cold(warm(), 1000.0)
    assert met_cold(once, 1030.0) == once


def test_a_refusal_of_one_never_used_shows_no_gap() -> None:
    """How long it had been unused is not known."""
    assert met_cold(NEW, 5.0) == Temperature(cold_since=5.0)


def test_an_answer_slower_than_the_shortest_restore_met_it_cold() -> None:
    """A service that holds a cold call shows by the time it took, whatever the call was."""
    held = answered(sent(warm(), 1000.0), 1000.0, 1075.0, SHORTEST)
    assert (held.restores, held.restored, held.gaps) == ((75.0,), 1075.0, (1000.0,))
    first = answered(sent(NEW, 0.0), 0.0, 75.0, SHORTEST)
    assert (first.restores, first.gaps) == ((75.0,), ())


def test_a_long_answer_of_a_ready_one_shows_nothing() -> None:
    """It generates for long; so does one during which others were answered."""
    slow = answered(warm(), 10.0, 100.0, SHORTEST)
    assert (slow.restores, slow.restored) == ((), -math.inf)
    other = answered(sent(warm(), 1000.0), 1001.0, 1002.0, SHORTEST)
    assert answered(other, 1000.0, 1075.0, SHORTEST).restores == ()


def test_a_call_that_is_out_for_as_long_as_a_restore_shows_it_warming() -> None:
    """Nobody has been answered meanwhile: whoever comes now need not be held as well."""
    out = sent(sent(NEW, 5.0), 20.0)
    assert out.asked == 5.0
    assert at(out, 64.9) is Warmth.UNKNOWN
    assert at(out, 65.0) is Warmth.WARMING


def test_an_answer_that_was_under_way_before_it_was_found_cold() -> None:
    """A copy was alive after all; nothing was restored for it, so nothing is measured."""
    back = answered(met_cold(warm(), 10.0), 5.0, 12.0, SHORTEST)
    assert at(back, 12.0) is Warmth.READY
    assert (back.restores, back.restored) == ((), -math.inf)


def test_a_held_call_that_was_sent_before_it_was_found_cold() -> None:
    """The service held one and refused another: the restore began with the first."""
    assert answered(met_cold(warm(), 10.0), 5.0, 80.0, SHORTEST).restores == (75.0,)


def test_a_call_that_failed_says_nothing() -> None:
    """Unless it was given up after a restore's time with nobody answered: then it was held."""
    out = sent(warm(), 1000.0)
    assert failed(out, 1000.0, 1002.0, SHORTEST) == warm()
    assert failed(out, 999.0, 1100.0, SHORTEST) == out
    assert failed(warm(), 1000.0, 1100.0, SHORTEST) == warm()
    held = failed(out, 1000.0, 1061.0, SHORTEST)
    assert (held.cold_since, held.asked, at(held, 1061.0)) == (1000.0, None, Warmth.COLD)


def test_an_answer_elsewhere_counts() -> None:
    """If it is newer than the refusal; nothing is measured by it, and traffic comes back bit by bit."""
    assert heard(NEW, 5.0) == Temperature(used=5.0)
    assert heard(warm(10.0), 5.0) == warm(10.0)
    cold = met_cold(warm(), 1000.0)
    assert heard(cold, 999.0) == cold
    back = heard(cold, 1080.0)
    assert (at(back, 1081.0), back.restored, back.restores) == (Warmth.READY, 1080.0, ())


def test_doubted_is_unknown_again() -> None:
    """A probe that failed for another reason leaves nothing certain but the measurements."""
    before = answered(restoring(met_cold(warm(), 100.0), True), 160.0, 161.0, SHORTEST)
    after = doubted(restoring(met_cold(before, 2000.0), True))
    assert at(after, 2000.0) is Warmth.UNKNOWN
    assert after.restores == (60.0,)


def test_the_idle_limit_is_the_shortest_gap_that_ended_cold() -> None:
    """Or the declared one, if that is shorter; a longer gap that ended warm takes it back."""
    assert idle_limit(NEW, None) == math.inf
    seen = Temperature(used=0.0, gaps=(400.0, 300.0))
    assert (idle_limit(seen, None), idle_limit(seen, 200.0), idle_limit(seen, 900.0)) == (300.0, 200.0, 300.0)
    assert answered(seen, 350.0, 350.5, SHORTEST).gaps == (400.0,)
    assert answered(seen, 200.0, 200.5, SHORTEST).gaps == (400.0, 300.0)


def test_one_that_is_just_back_gets_its_traffic_bit_by_bit() -> None:
    """A tenth at once, half after half of the time, all of it at its end."""
    back = Temperature(restored=100.0)
    moments = (100.0, 100.0 + SLOW_START / 2, 100.0 + SLOW_START)
    assert [share(back, moment) for moment in moments] == [FIRST_SHARE, 0.5, 1.0]


def test_estimates_are_measured_or_declared() -> None:
    """Median and 90th percentile of what was seen; before that the declared range, else what others report."""
    assert (estimate(NEW, (60.0, 240.0)).median, estimate(NEW, (60.0, 240.0)).p90) == (120.0, 240.0)
    assert estimate(NEW, None).p90 == RESTORE[1]
    seen = estimate(Temperature(restores=(90.0, 70.0, 80.0)), (60.0, 240.0))
    assert (seen.median, seen.p90, seen.measured) == (80.0, 90.0, 3)


@pytest.mark.parametrize(
    ("restores", "passed", "left"),
    [
        ((70.0, 80.0, 90.0), 0.0, 80.0),
        ((70.0, 80.0, 90.0), 75.0, 10.0),
        ((70.0, 80.0, 90.0), 79.9, 5.1),
        ((70.0, 80.0), 100.0, 140.0),
        ((), 0.0, 120.0),
        ((), 130.0, 110.0),
        ((), 239.9, SOONEST),
        ((), 400.0, 100.0),
    ],
)
def test_what_is_left_of_a_restore(restores: tuple[float, ...], passed: float, left: float) -> None:
    """The median of those that took longer than has passed; when all are exceeded, a quarter of that again."""
    cold = Temperature(cold_since=1000.0, restores=restores)
    assert remaining(cold, 1000.0 + passed, (60.0, 240.0)) == pytest.approx(left)


def test_what_is_left_counts_from_the_call_that_is_held() -> None:
    """Where nobody has said that it is cold the first unanswered call began it; with neither, all is left."""
    assert remaining(Temperature(asked=10.0), 70.0, (60.0, 240.0)) == pytest.approx(60.0)
    assert remaining(NEW, 70.0, (60.0, 240.0)) == pytest.approx(120.0)


def test_the_earliest_is_the_quickest_ever() -> None:
    """Before it nobody need be held; nothing is left of it once it has passed."""
    cold = Temperature(cold_since=0.0, restores=(50.0, 80.0))
    assert earliest(cold, 10.0, (60.0, 240.0)) == 40.0
    assert earliest(cold, 55.0, (60.0, 240.0)) == 0.0
    assert earliest(Temperature(asked=0.0), 10.0, None) == 50.0
    assert earliest(NEW, 10.0, (60.0, 240.0)) == 60.0


def test_the_pace_of_a_probe() -> None:
    """A twelfth of the shortest restore, and five seconds at most."""
    assert [pace(one) for one in (None, (60.0, 300.0), (600.0, 900.0), (6.0, 9.0))] == [5.0, 5.0, LONGEST_PACE, 0.5]


EVENTS = st.lists(
    st.tuples(st.sampled_from(["sent", "cold", "out", "in", "answered", "failed", "doubted"]), st.floats(0.0, 400.0)),
    max_size=40,
)


@PATIENT
@example([("answered", 0.0), ("sent", 0.0), ("answered", 60.0)])
@given(EVENTS)
def test_whatever_happens_the_promises_hold(events: list[tuple[str, float]]) -> None:
    """An answer makes it ready, only evidence makes it cold, and the history is bounded and never negative."""
    now, last_sent, value, told_cold = 0.0, 0.0, NEW, False
    for what, seconds in events:
        now += seconds
        match what:
            case "sent":
                value, last_sent = sent(value, now), now
            case "cold":
                value, told_cold = met_cold(value, now), True
            case "out" | "in":
                value = restoring(value, what == "out")
            case "answered":
                value = answered(value, last_sent, now, SHORTEST)
                assert at(value, now) is Warmth.READY
            case "failed":
                value = failed(value, last_sent, now, SHORTEST)
            case _:
                value = doubted(value)
        held = value.asked is not None or value.cold_since is not None
        assert at(value, now) not in {Warmth.COLD, Warmth.WARMING} or told_cold or held
        assert max(len(value.restores), len(value.gaps)) <= KEPT
        assert min((*value.restores, *value.gaps), default=0.0) >= 0.0
        assert remaining(value, now, None) >= SOONEST
        assert earliest(value, now, None) >= 0.0


@PATIENT
@given(st.lists(st.floats(0.1, 1000.0), min_size=1, max_size=KEPT), st.floats(0.0, 2000.0))
def test_estimates_lie_among_what_was_seen(restores: list[float], passed: float) -> None:
    """Neither median nor 90th percentile is ever outside; what is left ends at a restore that was seen, if one can."""
    value = Temperature(cold_since=0.0, restores=tuple(restores))
    told = estimate(value, None)
    assert min(restores) <= told.median <= told.p90 <= max(restores)
    if passed < max(restores):
        assert remaining(value, passed, None) <= max(SOONEST, max(restores) - passed)


def test_callers_try_a_target_each_second_where_nothing_is_declared() -> None:
    """It may be back at once, and who comes in between is turned away; else their pace is the probe's."""
    assert own_pace(None) == 1.0
    assert [own_pace(declared) for declared in ((12.0, 60.0), (600.0, 900.0))] == [1.0, 5.0]
