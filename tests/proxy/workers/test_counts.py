"""What all workers have counted, as one page."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import pytest

from backends.meters import Meters
from proxy.workers.child import Child
from proxy.workers.counts import Counts
from proxy.workers.pool import Slot
from tests.outcomes import outcome

from .parts import facts, line


async def slot(number: int, meters: Meters | None, connections: int = 0) -> Slot:
    """A worker that has said this of itself."""
    ours, theirs = await line()

    class Process:
        pid = os.getpid()
        returncode = None

        async def wait(self) -> int:
            return 0

        def kill(self) -> None:
            """Nothing to end."""

        def send_signal(self, signal: int) -> None:
            """Nobody to hear it."""

    child = Child(Process(), ours)
    child.facts = facts(connections=connections)
    child.meters = meters.snapshot().decode() if meters is not None else None
    await theirs.close()
    await child.listen()
    return Slot(number, "serving", child)


def answered(times: int) -> Meters:
    meters = Meters("1")
    for _ in range(times):
        meters.record(outcome())
    meters.flight("inline").count = 1
    meters.policy("aaaaaaaaaaaa", 3)
    return meters


def value(page: str, name: str) -> float:
    return sum(float(found) for found in re.findall(rf"^{name}(?:\{{[^\n]*\}})? (\S+)$", page, re.M))


async def test_counts_of_those_that_serve_and_those_that_are_gone_add_up() -> None:
    """What a worker had in flight ended with it; one that has not spoken yet counts nothing."""
    counts = Counts(Meters("1"), "1")
    gone = await slot(1, answered(5))
    assert gone.child is not None
    counts.settle(gone.child)
    page = counts.page([await slot(0, answered(2)), Slot(1, "resting"), await slot(2, None)], 3, False)
    assert value(page, "pointsman_responses_total") == 7
    assert value(page, "pointsman_concurrent_requests_per_model") == 1
    assert 'pointsman_policy_info{digest="aaaaaaaaaaaa",generation="3"} 1' in page


async def test_no_label_set_that_was_shown_is_gone_with_a_worker() -> None:
    """Two workers name up to a thousand each, and whoever comes after one of them names what it meets first."""

    def met(first: int, last: int) -> Meters:
        meters = Meters("1")
        for number in range(first, last):
            meters.record(outcome(endpoint=f"e{number}"))
        return meters

    counts = Counts(Meters("1"), "1")
    one, two = await slot(0, met(0, 700)), await slot(1, met(600, 1200))
    before = counts.page([one, two], 1, False)
    assert one.child is not None
    counts.settle(one.child)
    after = counts.page([await slot(0, met(1200, 1900)), two], 1, False)
    named = [set(re.findall(r'pointsman_invocations_total\{endpoint="(\w+)"', page)) for page in (before, after)]
    assert len(named[0]) == 1200
    assert named[0] < named[1]


async def test_what_was_lost_stays_counted_when_its_worker_ends() -> None:
    """Lines of the log and spans: a counter never goes back."""
    counts = Counts(Meters("1"), "1")
    gone, serves = await slot(0, None), await slot(1, None)
    for each, lost in ((gone, 2), (serves, 5)):
        assert each.child is not None
        each.child.facts = replace(each.child.facts, log_lost=lost, spans_lost=10 * lost)
    before = counts.page([gone, serves], 1, False)
    assert gone.child is not None
    counts.settle(gone.child)
    for page in (before, counts.page([serves], 1, False)):
        assert value(page, "pointsman_log_lines_lost_total") == 7
        assert value(page, "pointsman_spans_lost_total") == 70


async def test_a_worker_that_ended_before_it_spoke_leaves_nothing() -> None:
    """Nothing is counted for it."""
    counts = Counts(Meters("1"), "1")
    silent = await slot(0, None)
    assert silent.child is not None
    counts.settle(silent.child)
    assert value(counts.page([], 1, False), "pointsman_responses_total") == 0


async def test_each_worker_is_seen_by_number() -> None:
    """What serves, how often it came back, what it holds."""
    counts = Counts(Meters("1"), "1")
    back = Slot(1, "resting", restarts=4, hung=3)
    page = counts.page([await slot(0, None, connections=3), back], 1, True)
    assert 'pointsman_worker_up{worker="0"} 1.0' in page
    assert 'pointsman_worker_up{worker="1"} 0.0' in page
    assert 'pointsman_worker_restarts_total{worker="1"} 4.0' in page
    assert 'pointsman_worker_hung_total{worker="1"} 3.0' in page
    assert 'pointsman_worker_connections{worker="0"} 3.0' in page
    assert value(page, "pointsman_worker_resident_memory_bytes") > 1_000_000
    assert value(page, "pointsman_policy_stale") == 1
    assert value(page, "pointsman_handler_stale") == 0


async def test_a_handler_that_one_worker_can_not_load_is_stale() -> None:
    """An old one goes on there, which nobody would notice otherwise."""
    stale = await slot(1, None)
    assert stale.child is not None
    stale.child.facts = replace(stale.child.facts, problem="endpoints.chat.handler: ValueError")
    page = Counts(Meters("1"), "1").page([await slot(0, None), stale], 1, False)
    assert value(page, "pointsman_handler_stale") == 1


async def test_counts_go_on_through_an_upgrade() -> None:
    """The last word of the supervisor before replaces its first; counters never go back."""
    counts = Counts(Meters("1"), "1")
    counts.inherit(answered(10).snapshot().decode())
    assert value(counts.page([], 1, False), "pointsman_responses_total") == 10
    counts.inherit(answered(12).snapshot().decode())
    page = counts.page([await slot(0, answered(1))], 1, False)
    assert value(page, "pointsman_responses_total") == 13
    assert value(page, "pointsman_concurrent_requests_per_model") == 1


async def test_what_was_lost_and_who_fell_is_counted_on_through_an_upgrade() -> None:
    """These are counters as well, though the meters do not keep them; a second upgrade adds to the first."""
    first = Counts(Meters("1"), "1")
    gone = await slot(1, None)
    assert gone.child is not None
    gone.child.facts = replace(facts(), log_lost=5, spans_lost=7)
    first.settle(gone.child)
    second = Counts(Meters("1"), "1")
    second.inherit(first.left([Slot(0, "serving", restarts=4, hung=1), Slot(1, "serving")]))
    third = Counts(Meters("1"), "1")
    third.inherit(second.left([Slot(0, "serving", restarts=2), Slot(1, "serving", restarts=1)]))
    page = third.page([Slot(0, "serving", restarts=1), Slot(1, "serving")], 1, False)
    assert value(page, "pointsman_log_lines_lost_total") == 5
    assert value(page, "pointsman_spans_lost_total") == 7
    assert 'pointsman_worker_restarts_total{worker="0"} 7.0' in page
    assert 'pointsman_worker_restarts_total{worker="1"} 1.0' in page
    assert 'pointsman_worker_hung_total{worker="0"} 1.0' in page


async def test_counts_of_a_release_that_counts_otherwise_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """An upgrade goes on, and so does a worker that was started after the new release was installed."""
    counts = Counts(Meters("1"), "1")
    counts.inherit("{}")
    newer = await slot(0, None)
    assert newer.child is not None
    newer.child.meters = "{}"
    assert value(counts.page([newer, await slot(1, answered(3))], 1, False), "pointsman_responses_total") == 3
    counts.settle(newer.child)
    assert caplog.text.count("counts of another release are left out") == 3
