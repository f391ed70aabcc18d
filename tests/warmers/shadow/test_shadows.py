"""What is asked for a sampled request, and what is counted."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import pytest

from backends.base import Trace
from backends.errors import BackendError, Said
from backends.outcome import SHADOW
from policies.agreement import judge
from policies.evidence import Side
from policies.facts import FailureFacts
from policies.redaction import Keeping, Redaction
from policies.table import Sticky, Target, VllmSpec
from policies.temperature import Warmth
from policies.verdicts import Answer
from tests.memory import MemoryStore
from tests.warmers.shadow.scene import (
    COLD,
    NEW,
    OLD,
    REFUSED,
    THROTTLED,
    Scene,
    answer,
    call,
    route,
    running,
    table_of,
)
from warmers.shadow import Shadows, Sharing
from warmers.shadow import shadows as module

KEEP = Keeping("/nowhere", Redaction(), below=0.9)


async def test_a_sampled_request_is_asked_of_both_and_compared() -> None:
    """Candidate and old target each get the call once; scores, evidence, traces, log lines and dollars follow."""
    scene = Scene()
    async with running(scene):
        assert scene.sampled()
        assert scene.backend.calls == []
        await scene.counts.until(1)
    assert scene.counts.results == {"compared": 1}
    assert sorted(name for name, _, _ in scene.backend.calls) == ["new", "old"]
    assert dict(scene.counts.scores) == pytest.approx({"candidate": 1, "floor": 1})
    assert scene.counts.dollars == pytest.approx(0.5718)
    seen = scene.shadows.collect()["chat", "w1"]["chat"]
    assert seen.agreement is not None
    assert (seen.agreement.requests, seen.new) == (1, Side(1, latency={0: 1}, first_byte={0: 1}))
    assert scene.shadows.collect() == {}
    assert [(one.operation, one.status, one.ended, one.why) for one in scene.told] == [
        (SHADOW, 200, "done", "copy of r-1 for the migration chat")
    ] * 2
    assert [len(trace.finished) for trace in scene.traces] == [1, 1]
    assert scene.inside == 0
    assert all(view.in_flight == 0 for views in scene.book.views((OLD, NEW)).values() for view in views)
    assert scene.kept == []


async def test_a_copy_has_nothing_of_the_clients_own() -> None:
    """No session, no inference id, no trace and no header goes out twice; body, type and attributes do."""
    scene = Scene(route(sticky=Sticky("session")))
    asked = call(session_id="s-1", inference_id="i-1", sdk_invocation_id="x", trace=Trace("t"), headers=(("a", "b"),))
    asked = replace(asked, trace=Trace("t"), custom_attributes="team=blue")
    async with running(scene):
        scene.sampled(asked=asked)
        await scene.counts.until(1)
    for _, sent, deadline in scene.backend.calls:
        own = sent.invocation
        assert (own.session_id, own.inference_id, own.sdk_invocation_id, own.trace, own.headers) == (None,) * 4 + ((),)
        assert own.request_id.startswith("copy-")
        assert (sent.body, sent.custom_attributes, sent.trace, deadline) == (asked.body, "team=blue", None, 60.0)


async def test_a_failure_that_the_client_was_told_is_compared() -> None:
    """What the old model refuses the candidate has to refuse as well."""
    scene = Scene()
    scene.backend.answers = {"new": REFUSED, "old": REFUSED}
    async with running(scene):
        scene.shadows.refused(scene.route, call(), BackendError(REFUSED, OLD, "no", Said(400, "no")))
        await scene.counts.until(1)
    assert scene.counts.results == {"compared": 1}
    assert dict(scene.counts.scores) == {"candidate": 1.0, "floor": 1.0}


@pytest.mark.parametrize("full", [NEW, OLD])
async def test_no_place_of_a_client_is_taken(full: Target) -> None:
    """A target that is busy gets no copy; no place stays taken."""
    scene = Scene()
    places = full.limit.bounds.most
    busy = sum(scene.gates.enter(full) for _ in range(places))
    assert busy >= module.AT_A_TIME
    async with running(scene):
        scene.sampled()
        await scene.counts.until(1)
    assert scene.counts.results == {"load": 1}
    assert scene.backend.calls == []
    assert scene.inside == busy


async def test_a_busy_process_leaves_copies_out() -> None:
    """When a turn of the loop takes as long as clients should not have to wait, nothing is asked."""
    ticks = itertools.count()
    scene = Scene(now=lambda: next(ticks) * 0.5)
    async with running(scene):
        scene.sampled()
        await scene.counts.until(1)
    assert scene.counts.results == {"load": 1}


async def test_a_spent_budget_ends_copies_for_the_day() -> None:
    """Once it is spent nothing more is sent until the next day."""
    scene = Scene(route(budget=0.5))
    async with running(scene):
        scene.sampled()
        await scene.counts.until(1)
        scene.sampled()
        await scene.counts.until(2)
        assert scene.counts.results == {"compared": 1, "budget": 1}
        scene.wall += 86_400
        scene.sampled()
        await scene.counts.until(3)
    assert scene.counts.results == {"compared": 2, "budget": 1}


async def test_a_step_that_is_over_gets_no_more_copies() -> None:
    """What was sampled for another window, or before a rollback, is dropped."""
    scene = Scene()
    scene.sampled()
    scene.table = table_of(route(shift=None))
    async with running(scene):
        await scene.counts.until(1)
    assert scene.counts.results == {"moved": 1}


@pytest.mark.parametrize(
    ("answers", "result", "side"),
    [
        ({"new": COLD}, "cold", Side(1, 0, 1)),
        ({"new": THROTTLED}, "candidate_failed", Side(1, 1, 0, {0: 1}, {0: 1})),
        ({"old": THROTTLED}, "floor_failed", Side(1, 0, 0, {0: 1}, {0: 1})),
    ],
)
async def test_failures_of_hosting_are_evidence_of_their_own(
    answers: dict[str, FailureFacts], result: str, side: Side
) -> None:
    """The candidate's errors and cold starts are counted; answers are compared only where there are two."""
    scene = Scene()
    scene.backend.answers = dict(answers)
    async with running(scene):
        scene.sampled()
        await scene.counts.until(1)
    assert scene.counts.results == {result: 1}
    seen = scene.shadows.collect()["chat", "w1"]["chat"]
    assert (seen.agreement, seen.new) == (None, side)
    assert {one.ended for one in scene.told} == {"done", "failed"}


async def test_what_the_candidate_refuses_and_the_old_one_answers_is_no_agreement() -> None:
    """An error of the model where the client got an answer counts as 0."""
    scene = Scene()
    scene.backend.answers = {"new": REFUSED}
    async with running(scene):
        scene.sampled()
        await scene.counts.until(1)
    assert dict(scene.counts.scores) == pytest.approx({"candidate": 0, "floor": 1})
    assert {(one.status, one.attempts[0].status) for one in scene.told} == {(200, None), (400, 400)}


async def test_differences_are_kept_where_the_policy_says_so() -> None:
    """Below the mark, and below the floor of the same request: what the old one does by itself is no difference."""
    scene = Scene(keep=KEEP)
    scene.backend.answers = {"new": answer("Berlin, I would say.")}
    async with running(scene):
        scene.sampled()
        await scene.counts.until(1)
        scene.backend.answers["old"] = answer("Berlin, I would say.")
        scene.sampled()
        await scene.counts.until(2)
    (kept,) = scene.kept
    assert kept.comparison.score < 0.9 < kept.floor.score
    assert b"Berlin" in kept.new.body
    assert b"Paris" in kept.old.body


async def test_a_bug_at_the_old_target_ends_no_other_copy_either() -> None:
    """Whichever of the two breaks, the other is heard to its end first."""
    scene = Scene()
    scene.backend.answers = {"old": ZeroDivisionError()}
    async with running(scene):
        scene.sampled()
        await scene.counts.until(1)
    assert scene.counts.results == {"broken": 1}
    assert [one.target for one in scene.told] == ["new"]


async def test_a_bug_in_one_copy_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged without what was said, counted, and the next one is compared."""
    scene = Scene()
    scene.backend.answers = {"new": ZeroDivisionError("secret body")}
    async with running(scene):
        scene.sampled()
        await scene.counts.until(1)
        scene.backend.answers = {}
        scene.sampled()
        await scene.counts.until(2)
    assert scene.counts.results == {"broken": 1, "compared": 1}
    assert "a copy for the migration chat broke" in caplog.text
    assert scene.inside == 0


async def test_at_most_so_many_are_asked_at_a_time() -> None:
    """The others wait; at the end they are dropped, and counted."""
    scene = Scene()
    scene.backend.gate = asyncio.Event()
    for _ in range(module.AT_A_TIME + 2):
        scene.sampled()
    async with running(scene):
        for _ in range(50):  # turns of the loop, not time: whatever could begin has begun
            await asyncio.sleep(0)
        assert len(scene.backend.calls) == 2 * module.AT_A_TIME
    assert scene.counts.results["ended"] == 2
    assert scene.inside == 0


async def test_evidence_about_another_bound_starts_anew() -> None:
    """A policy that changes the gate's bound in the middle of a window has the newer evidence only."""
    scene = Scene()
    async with running(scene):
        scene.sampled()
        await scene.counts.until(1)
        scene.table = table_of(route(), bound=0.5)
        scene.sampled()
        await scene.counts.until(2)
    assert (scene.agreement().bound) == 0.5


async def test_many_requests_make_a_verdict() -> None:
    """A candidate that answers something else is called red after some two dozen requests."""
    scene = Scene()
    scene.backend.answers = {"new": answer("I am a teapot and nothing else")}
    async with running(scene):
        for number in range(1, 41):
            scene.sampled()
            await scene.counts.until(number)
    assert judge(scene.agreement(), 0.01).answer is Answer.RED


async def test_a_copy_goes_to_one_of_the_replicas() -> None:
    """By the same rule as traffic: the less busy of two."""
    scene = Scene()
    old = replace(OLD, spec=VllmSpec(("http://127.0.0.1:1", "http://127.0.0.1:2"), "m"))
    scene.book.begin(old, 0)
    scene.table = replace(scene.table, targets={"old": old, "new": NEW})
    async with running(scene):
        scene.sampled()
        await scene.counts.until(1)
    assert {one.attempts[0].replica for one in scene.told if one.target == "old"} == {1}


async def test_spending_is_shared_as_long_as_copies_run() -> None:
    """A task of its own tells other processes; it ends with the copies."""
    scene, store, told = Scene(), MemoryStore(), asyncio.Event()

    async def pause(_: float) -> None:
        if "copies/20000" in store.groups:
            told.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    sharing = Sharing(store, scene.parts.purse, "w", lambda: scene.wall)
    scene.shadows = Shadows(replace(scene.parts, sharing=sharing, pause=pause))
    async with running(scene):
        scene.sampled()
        await told.wait()
    assert store.groups["copies/20000"].keys() == {"w"}


async def test_a_candidate_that_is_loading_is_not_asked_by_every_copy() -> None:
    """One request loads it; the others are counted as ones that a cold copy would have met, and not sent."""
    scene = Scene()
    scene.backend.answers = {"new": COLD}
    async with running(scene):
        for number in range(1, 4):
            scene.sampled()
            await scene.counts.until(number)
        assert [name for name, _, _ in scene.backend.calls].count("new") == 1
        assert scene.counts.results == {"cold": 3}
        assert scene.shadows.collect()["chat", "w1"]["chat"].new == Side(3, 0, 3)
        scene.backend.answers, scene.steady = {}, 1000.0
        scene.sampled()
        await scene.counts.until(4)
    assert scene.counts.results == {"cold": 3, "compared": 1}
    assert scene.temperatures.warmth(NEW, 1000.0) is Warmth.READY
    assert 'pointsman_restore_seconds_count{target="new"} 1' in scene.meters.render({})


async def test_clients_say_how_a_candidate_does_that_serves_some() -> None:
    """In a step with a share copies are compared, and its errors and latencies are those of clients."""
    scene = Scene(route(share=0.05))
    async with running(scene):
        scene.sampled()
        await scene.counts.until(1)
    seen = scene.shadows.collect()["chat", "w1"]["chat"]
    assert seen.new == Side()
    assert seen.agreement is not None
