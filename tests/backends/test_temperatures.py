"""How warm targets are right now: what is tracked, what a request looks at, who waits and who is woken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from backends.base import Call, Invocation
from backends.temperatures import VERDICT, Full, Temperatures, in_part
from policies.table import EndpointSpec, LimitRule, Target, VllmSpec
from policies.temperature import SLOW_START, Warmth
from tests.policies.written import engine, target

IMPORTED = target("imported", restore=(60.0, 300.0), idle_limit=900.0)
PLAIN = target("plain")


def tracking(*targets: Target) -> Temperatures:
    found = Temperatures()
    found.keep(targets or (IMPORTED, PLAIN))
    return found


def answer(temperatures: Temperatures, now: float, target: Target = IMPORTED) -> float | None:
    temperatures.sent(target, now - 0.1)
    return temperatures.answered(target, now - 0.1, now)


def test_only_what_declares_cold_is_tracked_at_first() -> None:
    """A policy without `cold:` makes nothing to look at; the word of a target makes it tracked."""
    temperatures = Temperatures()
    temperatures.keep((PLAIN,))
    assert not temperatures.tracked
    assert temperatures.calm(PLAIN, 0.0)
    assert temperatures.first(PLAIN, 0.0)
    assert temperatures.may_try(PLAIN, 0.0)
    assert (temperatures.warmth(PLAIN, 0.0), temperatures.share(PLAIN, 0.0)) == (Warmth.UNKNOWN, 1.0)
    assert (temperatures.earliest(PLAIN, 0.0), temperatures.asked(PLAIN)) == (0.0, False)
    assert answer(temperatures, 1.0, PLAIN) is None
    assert temperatures.failed(PLAIN, 0.0, 1.0) is False
    temperatures.doubted(PLAIN, 0.0)
    temperatures.reached(PLAIN, (1, 2))
    temperatures.asking(PLAIN, 0.0, -1)
    assert not temperatures.tracked
    temperatures.met_cold(PLAIN, 2.0)
    assert temperatures.warmth(PLAIN, 2.0) is Warmth.COLD
    assert not temperatures.calm(PLAIN, 2.0)


def test_a_ready_target_is_calm_until_its_idle_limit() -> None:
    """Each answer moves that moment on; past it the target is cooling."""
    temperatures = tracking()
    assert not temperatures.calm(IMPORTED, 0.0)
    answer(temperatures, 1.0)
    assert temperatures.calm(IMPORTED, 900.0)
    answer(temperatures, 500.0)
    assert temperatures.calm(IMPORTED, 1399.0)
    assert not temperatures.calm(IMPORTED, 1400.0)
    assert temperatures.warmth(IMPORTED, 1400.0) is Warmth.COOLING


def test_how_long_an_answer_takes_is_known() -> None:
    """From the answers of a ready target; a restore is none."""
    temperatures = tracking()
    assert temperatures.expected(IMPORTED) == 0.0
    answer(temperatures, 1.0)
    for _ in range(100):
        temperatures.answered(IMPORTED, 10.0, 12.0)
    assert temperatures.expected(IMPORTED) == pytest.approx(2.0, rel=0.01)
    temperatures.met_cold(IMPORTED, 20.0)
    temperatures.answered(IMPORTED, 20.0, 200.0)
    assert temperatures.expected(IMPORTED) == pytest.approx(2.0, rel=0.01)
    assert temperatures.expected(PLAIN) == 0.0


def test_a_restore_is_measured_and_followed_by_slow_start() -> None:
    """From the refusal to the call that was answered; until it has all its traffic back it is not calm."""
    temperatures = tracking()
    answer(temperatures, 1.0)
    temperatures.met_cold(IMPORTED, 1000.0)
    temperatures.asking(IMPORTED, 1000.0, 1)
    assert temperatures.asked(IMPORTED)
    assert temperatures.warmth(IMPORTED, 1001.0) is Warmth.WARMING
    assert temperatures.earliest(IMPORTED, 1010.0) == 50.0
    assert temperatures.answered(IMPORTED, 1070.0, 1070.5) == 70.0
    assert temperatures.remaining(IMPORTED, 1070.5) == 70.0
    temperatures.asking(IMPORTED, 1070.5, -1)
    assert not temperatures.calm(IMPORTED, 1071.0)
    assert temperatures.share(IMPORTED, 1075.5) == 0.5
    answer(temperatures, 1070.5 + SLOW_START)
    assert temperatures.calm(IMPORTED, 1090.0)


def test_what_other_processes_use_is_known_to_be_ready() -> None:
    """A process that has just started need not find out by itself; nor one that found the target cold before."""
    temperatures = tracking()
    temperatures.heard(IMPORTED, 10.0, 20.0)
    assert temperatures.calm(IMPORTED, 909.0)
    temperatures.heard(IMPORTED, 15.0, 20.0)
    assert not temperatures.calm(IMPORTED, 911.0)  # it is calm by its own word until then
    temperatures.met_cold(IMPORTED, 920.0)
    temperatures.heard(IMPORTED, 915.0, 921.0)
    assert temperatures.warmth(IMPORTED, 921.0) is Warmth.COLD
    temperatures.heard(IMPORTED, 990.0, 991.0)
    assert temperatures.warmth(IMPORTED, 991.0) is Warmth.READY
    temperatures.heard(PLAIN, 1.0, 2.0)
    assert "plain" not in temperatures.tracked


def test_the_first_goes_and_others_wait_for_its_verdict() -> None:
    """One a second at a target that may be cold."""
    temperatures = tracking()
    assert [temperatures.first(IMPORTED, moment) for moment in (0.0, 0.0, VERDICT / 2, VERDICT)] == [
        True,
        False,
        False,
        True,
    ]


def test_a_caller_may_be_the_probe_at_its_pace() -> None:
    """Where a target speaks opaque: one call each five seconds."""
    temperatures = tracking()
    assert [temperatures.may_try(IMPORTED, moment) for moment in (0.0, 4.9, 5.0, 5.1)] == [True, False, True, False]
    temperatures.met_cold(IMPORTED, 100.0)
    assert [temperatures.until_try(IMPORTED, moment) for moment in (100.0, 104.0, 105.0, 106.0)] == [5.0, 1.0, 0.0, 0.0]
    assert [temperatures.may_try(IMPORTED, moment) for moment in (100.0, 105.0)] == [False, True]
    assert temperatures.until_try(PLAIN, 0.0) == 0.0


def test_where_nothing_is_declared_a_caller_tries_each_second() -> None:
    """Nothing says that it will be minutes, and callers are refused meanwhile."""
    temperatures = tracking()
    temperatures.met_cold(PLAIN, 0.0)
    assert [temperatures.may_try(PLAIN, moment) for moment in (0.0, 0.9, 1.0, 1.1, 2.0)] == [
        False,
        False,
        True,
        False,
        True,
    ]


def test_a_call_that_was_held_for_too_long_was_held_for_cold() -> None:
    """It is told as such to its caller; a quick failure says nothing."""
    temperatures = tracking()
    temperatures.sent(IMPORTED, 0.0)
    assert temperatures.failed(IMPORTED, 0.0, 1.0) is False
    temperatures.sent(IMPORTED, 2.0)
    assert temperatures.warmth(IMPORTED, 62.0) is Warmth.WARMING
    assert not temperatures.proven(IMPORTED)
    assert temperatures.failed(IMPORTED, 2.0, 62.0) is True
    assert temperatures.warmth(IMPORTED, 62.0) is Warmth.COLD
    assert temperatures.proven(IMPORTED)
    assert temperatures.failed(IMPORTED, 2.0, 62.0) is False


REPLICATED = replace(engine("engine", 2), restore=(60.0, 300.0))
CALL = Call(Invocation("x", None, False, b"", "id"), b"", None, None, None)


def test_target_is_cold_when_each_of_its_addresses_is() -> None:
    """One cold replica says nothing of the others, and neither does one that was cold before another answered."""
    temperatures = tracking(REPLICATED)
    answer(temperatures, 1.0, REPLICATED)
    temperatures.met_cold(REPLICATED, 2.0, 0)
    temperatures.met_cold(REPLICATED, 3.0, 0)
    assert temperatures.warmth(REPLICATED, 3.0) is Warmth.READY
    assert not temperatures.is_state(REPLICATED, CALL)
    answer(temperatures, 4.0, REPLICATED)
    temperatures.met_cold(REPLICATED, 5.0, 1)
    assert temperatures.warmth(REPLICATED, 5.0) is Warmth.READY
    temperatures.met_cold(REPLICATED, 6.0, 0)
    assert temperatures.warmth(REPLICATED, 6.0) is Warmth.COLD
    assert temperatures.is_state(REPLICATED, CALL)
    assert answer(temperatures, 66.1, REPLICATED) == pytest.approx(60.0)
    assert temperatures.warmth(REPLICATED, 66.1) is Warmth.READY


def test_address_that_was_cold_long_ago_counts_for_nothing() -> None:
    """A restore is over after 300 seconds at most, whether anybody has seen it or not."""
    temperatures = tracking(replace(REPLICATED, restore=None))
    temperatures.met_cold(REPLICATED, 1.0, 0)
    temperatures.met_cold(REPLICATED, 301.5, 1)
    assert not temperatures.tracked
    temperatures.keep((REPLICATED,))
    temperatures.met_cold(REPLICATED, 302.0, 0)
    assert temperatures.warmth(REPLICATED, 302.0) is Warmth.COLD


def test_address_that_a_new_policy_does_not_have_counts_for_nothing() -> None:
    """Nor does what was known of a target that is gone."""
    temperatures = tracking(replace(engine("engine", 3), restore=(60.0, 300.0)))
    temperatures.met_cold(engine("engine", 3), 1.0, 2)
    temperatures.keep((REPLICATED,))
    temperatures.met_cold(REPLICATED, 2.0, 0)
    assert temperatures.warmth(REPLICATED, 2.0) is Warmth.UNKNOWN
    temperatures.keep(())
    temperatures.keep((REPLICATED,))
    temperatures.met_cold(REPLICATED, 3.0, 1)
    assert temperatures.warmth(REPLICATED, 3.0) is Warmth.UNKNOWN


def test_refusal_of_a_target_that_is_not_tracked_is_no_state() -> None:
    """It is the retries' to say then what becomes of the request."""
    temperatures = tracking(PLAIN)
    assert not temperatures.is_state(PLAIN, CALL)
    temperatures.met_cold(PLAIN, 1.0)
    assert temperatures.is_state(PLAIN, CALL)


def test_what_is_warmed_is_tracked() -> None:
    """A warm-up is out: whoever finds the target cold need not send another."""
    temperatures = tracking(PLAIN)
    temperatures.asking(PLAIN, 0.0, 1)
    assert temperatures.asked(PLAIN)


def test_a_new_policy_keeps_what_is_known() -> None:
    """Under a new shortest restore as well; a target that is gone is forgotten."""
    temperatures = tracking()
    temperatures.met_cold(IMPORTED, 1.0)
    temperatures.keep((replace(IMPORTED, restore=(5.0, 10.0)),))
    assert temperatures.warmth(IMPORTED, 2.0) is Warmth.COLD
    temperatures.keep((PLAIN,))
    assert not temperatures.tracked


def moved(at: Target, *places: str) -> Target:
    """The same name at other addresses."""
    spec = at.spec
    assert isinstance(spec, VllmSpec)
    return replace(at, spec=replace(spec, urls=places))


def test_a_target_that_a_new_policy_has_elsewhere_is_another_one() -> None:
    """Neither cold nor warm as far as is known; what comes late from where it was says nothing."""
    here = replace(engine("engine", 1), restore=(60.0, 300.0), idle_limit=900.0)
    there = moved(here, "http://there")
    temperatures = tracking(here)
    temperatures.met_cold(here, 1.0)
    temperatures.sent(here, 1.5)
    temperatures.keep((there,))
    assert temperatures.warmth(there, 2.0) is Warmth.UNKNOWN
    assert temperatures.may_try(there, 2.0)
    temperatures.met_cold(here, 3.0)
    temperatures.heard(here, 2.5, 3.0)
    temperatures.reached(here, (1, 3))
    assert temperatures.answered(here, 1.5, 3.0) is None
    assert temperatures.failed(here, 1.5, 3.0) is False
    assert temperatures.warmth(there, 3.0) is Warmth.UNKNOWN
    assert answer(temperatures, 4.0, there) is None
    temperatures.doubted(here, 5.0)
    assert temperatures.calm(there, 5.0)
    assert [one.copies for one in temperatures.seen(5.0)] == [None]
    temperatures.keep((here,))
    assert not temperatures.calm(here, 5.0)


def test_a_target_with_one_new_address_is_cold_no_more_and_warm_still() -> None:
    """The new one may be warm; with one address less it is what it was."""
    two = replace(engine("engine", 2), restore=(60.0, 300.0), idle_limit=900.0)
    assert isinstance(two.spec, VllmSpec)
    first = two.spec.urls[0]
    changed, fewer = moved(two, first, "http://there"), moved(two, first)
    for policy, then in ((changed, Warmth.UNKNOWN), (fewer, Warmth.COLD)):
        temperatures = tracking(two)
        for number in range(2):
            temperatures.met_cold(two, 1.0, number)
        assert temperatures.warmth(two, 2.0) is Warmth.COLD
        temperatures.keep((policy,))
        assert temperatures.warmth(policy, 2.0) is then
    temperatures = tracking(two)
    answer(temperatures, 1.0, two)
    temperatures.met_cold(two, 2.0, 1)
    temperatures.keep((changed,))
    assert temperatures.calm(changed, 3.0)
    temperatures.met_cold(changed, 4.0, 0)  # the other one is another address than the one that was cold
    assert temperatures.warmth(changed, 4.0) is not Warmth.COLD


async def test_whoever_waits_is_woken_by_a_change() -> None:
    """By an answer, a refusal, or a probe that came back; and by nothing else in the time that is left."""
    temperatures = tracking()
    temperatures.met_cold(IMPORTED, 1.0)
    assert await temperatures.change(IMPORTED, 0.001) is False
    happenings: list[Callable[[], object]] = [
        lambda: temperatures.asking(IMPORTED, 2.0, 1),
        lambda: temperatures.asking(IMPORTED, 3.0, -1),
        lambda: temperatures.doubted(IMPORTED, 4.0),
        lambda: temperatures.met_cold(IMPORTED, 5.0),
        lambda: temperatures.answered(IMPORTED, 6.0, 7.0),
    ]
    for happen in happenings:
        waiting = asyncio.ensure_future(temperatures.change(IMPORTED, 5.0))
        await asyncio.sleep(0)
        happen()
        assert await waiting is True


async def test_waiting_is_bounded_in_requests_and_bytes() -> None:
    """As the target's queue is; a place is free again when someone leaves, however."""
    small = replace(IMPORTED, limit=LimitRule(queue=2, queue_bytes=100))
    temperatures = tracking(small)
    waiting = [asyncio.ensure_future(temperatures.change(small, 5.0, 50)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Full):
        await temperatures.change(small, 5.0)
    waiting[0].cancel()
    await asyncio.gather(waiting[0], return_exceptions=True)
    with pytest.raises(Full):
        await temperatures.change(small, 5.0, 51)
    ((_, warmth),) = temperatures.states(0.0)
    (seen,) = temperatures.seen(0.0)
    assert (warmth, seen.warmth, seen.waiting, seen.since) == (Warmth.UNKNOWN, Warmth.UNKNOWN, 1, None)
    temperatures.keep(())
    assert temperatures.tracked  # someone still waits
    temperatures.met_cold(small, 1.0)
    assert await waiting[1] is True


def test_what_operators_see() -> None:
    """State, since when, estimate and copies."""
    temperatures = tracking()
    temperatures.reached(IMPORTED, (1, 3))
    (seen,) = temperatures.seen(0.0)
    assert seen.copies == (1, 3)
    temperatures.met_cold(IMPORTED, 10.0)
    (seen,) = temperatures.seen(40.0)
    assert (seen.target, seen.warmth, seen.since, seen.copies) == ("imported", Warmth.COLD, 30.0, None)
    assert (seen.restore.p90, seen.restore.measured) == (300.0, 0)


@pytest.mark.parametrize(
    ("kind", "asked", "part"),
    [
        ("endpoint", {}, False),
        ("endpoint", {"target_model": "a.tar.gz"}, True),
        ("endpoint", {"target_variant": "v2"}, True),
        ("vllm", {"target_model": "a.tar.gz"}, False),
    ],
)
def test_calls_for_a_part_of_an_endpoint(kind: str, asked: dict[str, str], part: bool) -> None:
    """A model or a variant is a part; targets of other kinds have one model, whatever the header says."""
    invocation = Invocation("e", None, False, b"", "r", **asked)  # type: ignore[arg-type]  # fields of text
    spec = EndpointSpec("e") if kind == "endpoint" else VllmSpec(("http://h",), "m")
    assert in_part(Target("t", kind, spec), Call(invocation, b"", None, None, None)) is part
