"""The pipeline's order of steps, with scripted backends: attempts, deadlines, and that everything is given back."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from backends.base import Call, Reply
from backends.book import Book
from backends.errors import BackendError
from backends.http.edge import BodyTooLarge
from policies.breaker import State
from policies.facts import FailureFacts, Fault
from policies.migrating import Shift
from policies.overlay import laid
from policies.table import Miss, Target
from proxy.pipeline import RouteMissing, serve
from proxy.record import Record
from proxy.rehearsal.loop import VirtualLoop

from .parts import POLICY, Answer, Pieces, Scripted, invocation, services, targets
from .tracing import Traced

REFUSED = FailureFacts(Fault.NETWORK, retry_safe=True)
LOST = FailureFacts(Fault.NETWORK, retry_safe=None)
WRONG = FailureFacts(Fault.CALLER, retry_safe=False)
OK = Reply(body=b"ok")
MIGRATING = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  first: {kind: vllm, url: "http://127.0.0.1:1", model: m}
  second: {kind: vllm, url: "http://127.0.0.1:2", model: m}
endpoints:
  chat: {serve_from: second, idempotent: true, retry: {attempts: 2, budget: 0%},
         migrate: {to: first, steps: [{share: 100%}]}}
"""


def record() -> Record:
    return Record("request-0", arrived=100.0, started=0.0)


async def answer(backend: Scripted, endpoint: str = "chat", *, streaming: bool = False) -> tuple[Reply, Record]:
    """Serve one invocation to its end."""
    parts = await services(backend)
    written = record()
    trace = parts.telemetry.start(invocation(endpoint), 0)
    try:
        async with serve(invocation(endpoint, streaming=streaming), written, trace, parts) as (reply, _):
            return reply, written
    finally:
        views = parts.book.views(parts.policy.current.table.targets.values())
        assert all(view.in_flight == 0 for copies in views.values() for view in copies)
        parts.log.close()


async def test_the_first_target_answers() -> None:
    """One call, to the target that the policy names, with the client's bytes."""
    backend = Scripted([OK])
    reply, written = await answer(backend)
    assert reply is OK
    assert targets(backend) == ["first"]
    assert backend.calls[0][1].body == b"{}"
    assert [attempt.failure for attempt in written.attempts] == [None]


async def test_a_traced_request_is_as_usual_as_others() -> None:
    """Its context goes out with it, and what is told of it is a note, as of one without spans."""
    backend, written, traced = Scripted([OK]), record(), Traced()
    parts = await services(backend)
    asked = invocation()
    trace = traced.telemetry.start(asked, 0)
    async with serve(asked, written, trace, parts):
        written.head_sent(200)
        written.over("done")
    parts.log.close()
    written.invocation = asked
    assert written.note(101.0) is not None
    sent = backend.calls[0][1].trace
    assert sent is not None
    assert sent.traceparent[3:35] == trace.trace_id
    trace.finish(written.outcome(101.0))
    assert set(traced.spans()) == {"InvokeEndpoint chat", "lookup", "choose", "invoke m"}


async def test_a_stream_is_known_to_hold_its_place_for_as_long_as_it_lasts() -> None:
    """Who waits behind streams is told by that whether it is worth it, and not by how soon they began."""
    now = 100.0
    parts = await services(Scripted([Reply(stream=Pieces(b"x"))]), now=lambda: now)
    asked = invocation(streaming=True)
    gate = parts.gates.of(parts.policy.current.table.targets["first"])
    async with serve(asked, record(), parts.telemetry.start(asked, 0), parts):
        assert (gate.streaming, gate.held) == (1, None)
        now += 7.0
    parts.log.close()
    assert (gate.streaming, gate.held, gate.active) == (0, 7.0, 0)


async def test_a_refused_target_is_followed_by_the_fallback() -> None:
    """A failure that is safe to repeat moves on, and both attempts are on the record."""
    backend = Scripted([REFUSED, OK])
    _, written = await answer(backend)
    assert targets(backend) == ["first", "second"]
    assert [attempt.failure for attempt in written.attempts] == ["scripted", None]


async def test_what_may_have_run_is_not_sent_again() -> None:
    """A lost answer ends the request, since a second run could be billed twice."""
    backend = Scripted([LOST])
    with pytest.raises(BackendError):
        await answer(backend)
    assert targets(backend) == ["first"]


async def test_an_idempotent_route_sends_it_again() -> None:
    """The policy's word makes a lost answer repeatable."""
    backend = Scripted([LOST, OK])
    reply, _ = await answer(backend, "again")
    assert reply is OK
    assert len(backend.calls) == 2


async def test_the_callers_own_mistake_is_not_tried_elsewhere() -> None:
    """A wrong request is wrong everywhere."""
    backend = Scripted([WRONG])
    with pytest.raises(BackendError):
        await answer(backend)
    assert targets(backend) == ["first"]


async def test_the_policy_bounds_the_attempts() -> None:
    """`retry: {attempts: 1}` means one."""
    backend = Scripted([REFUSED])
    with pytest.raises(BackendError):
        await answer(backend, "alone")
    assert len(backend.calls) == 1


async def test_no_attempt_begins_after_the_deadline() -> None:
    """A failure at the deadline is the answer, whatever the plan still holds."""
    backend = Scripted([REFUSED, OK])
    clock = iter([100.0, 100.0, 161.0, 161.0, 161.0])
    parts = await services(backend, now=lambda: next(clock))
    trace = parts.telemetry.start(invocation(), 0)
    with pytest.raises(BackendError):
        async with serve(invocation(), record(), trace, parts):
            pass
    parts.log.close()
    assert targets(backend) == ["first"]


@pytest.mark.parametrize(("streaming", "limit"), [(False, 160.0), (True, 580.0)])
async def test_the_deadline_runs_from_the_requests_head(streaming: bool, limit: float) -> None:
    """60 s and 8 minutes by default, counted from arrival, for every attempt alike."""
    backend = Scripted([REFUSED, Reply(stream=Pieces(b"x")) if streaming else OK])
    await answer(backend, streaming=streaming)
    assert [deadline for _, _, deadline in backend.calls] == [limit, limit]


async def test_a_body_that_no_target_takes_is_refused_before_it_is_sent() -> None:
    """The refusal names the largest limit among the route's targets, and nobody is asked."""
    backend = Scripted([OK])
    parts = await services(backend)
    trace = parts.telemetry.start(invocation(), 0)
    long = replace(invocation(), body=b"x" * (25 * 1024 * 1024 + 1))
    with pytest.raises(BodyTooLarge, match=str(25 * 1024 * 1024)):
        async with serve(long, record(), trace, parts):
            pass
    parts.log.close()
    assert backend.calls == []


@pytest.mark.parametrize(
    ("endpoint", "component", "miss"),
    [
        ("nowhere", None, Miss.UNKNOWN_ENDPOINT),
        ("packed", None, Miss.COMPONENT_REQUIRED),
        ("chat", "one", Miss.COMPONENT_NOT_ALLOWED),
        ("packed", "two", Miss.UNKNOWN_COMPONENT),
    ],
)
async def test_what_the_policy_does_not_know_is_said_so(endpoint: str, component: str | None, miss: Miss) -> None:
    """Clients match the texts of the four ways to miss, so each is told apart; a known endpoint is written down."""
    parts = await services(Scripted())
    trace = parts.telemetry.start(invocation(), 0)
    written = record()
    with pytest.raises(RouteMissing) as caught:
        async with serve(invocation(endpoint, component), written, trace, parts):
            pass
    parts.log.close()
    assert caught.value.miss is miss
    known = "" if miss is Miss.UNKNOWN_ENDPOINT else endpoint
    outcome = written.outcome(101.0)
    assert (outcome.endpoint, outcome.component) == (known, None)


async def test_the_stream_is_closed_once_however_the_block_is_left() -> None:
    """An error while writing frees the upstream, and the target is no longer in flight."""
    stream = Pieces(b"a", b"b")
    parts = await services(Scripted([Reply(stream=stream)]))
    trace = parts.telemetry.start(invocation(), 0)

    async def fail_while_writing() -> None:
        async with serve(invocation(), record(), trace, parts):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_while_writing()
    parts.log.close()
    assert stream.closed == 1


async def test_a_client_that_leaves_during_an_attempt_gives_the_target_back() -> None:
    """Cancellation is recorded as given up, and nothing stays in flight."""

    class Hanging(Scripted):
        async def invoke(self, *_: object) -> Reply:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

    begun = asyncio.Event()
    parts = await services(Hanging())
    written = record()
    trace = parts.telemetry.start(invocation(), 0)

    async def enter() -> None:
        async with serve(invocation(), written, trace, parts):
            pass

    task = asyncio.create_task(enter())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    parts.log.close()
    views = parts.book.views(parts.policy.current.table.targets.values())
    assert views["first"][0].in_flight == 0
    assert written.attempts[0].failure is not None
    assert "given up" in written.attempts[0].failure


SHARED = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  first: {kind: vllm, url: "http://127.0.0.1:1", model: m, region: us-east-1}
  second: {kind: vllm, url: "http://127.0.0.1:2", model: m, region: us-east-1}
endpoints:
  chat: {serve_from: first, fallback: [second], idempotent: true, timeout: 20s}
"""


def test_a_dead_target_holds_a_request_no_longer_than_its_share() -> None:
    """Where a lost answer may be asked for again, half of the time is left for the fallback."""

    class Dead(Scripted):
        async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
            if target.name == "first":
                await asyncio.Event().wait()
            return OK

    async def asked() -> Record:
        loop = asyncio.get_running_loop()
        parts = await services(Dead(), text=SHARED, now=loop.time)
        trace = parts.telemetry.start(invocation(), 0)
        written = Record("request-0", arrived=loop.time(), started=0.0)
        async with serve(invocation(), written, trace, parts) as (reply, _):
            assert reply is OK
        parts.log.close()
        return written

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        attempts = runner.run(asked()).attempts
    assert [attempt.timed_out for attempt in attempts] == [True, False]
    assert attempts[0].seconds == pytest.approx(10.0)


async def test_repeats_end_with_the_routes_budget() -> None:
    """A route that fails all the time repeats what its traffic pays for, and no more."""
    backend = Scripted([REFUSED] * 100)
    text = POLICY.replace("idempotent: true", "retry: {attempts: 2, budget: 0%}")
    parts = await services(backend, text=text, now=lambda: 100.0)
    trace = parts.telemetry.start(invocation("again"), 0)
    for _ in range(15):
        with pytest.raises(BackendError):
            async with serve(invocation("again"), record(), trace, parts):
                pass
    parts.log.close()
    assert len(backend.calls) == 15 + 10


async def test_a_repeat_at_the_same_target_waits() -> None:
    """The wait that the target asks for is kept, and counts as the target's time, not as ours."""
    busy = FailureFacts(Fault.PLATFORM, retry_safe=True, throttled=True, retry_after=0.1)
    loop = asyncio.get_running_loop()
    parts = await services(Scripted([busy, OK]), now=loop.time)
    trace = parts.telemetry.start(invocation("again"), 0)
    written = Record("request-0", arrived=loop.time(), started=0.0)
    async with serve(invocation("again"), written, trace, parts) as (reply, _):
        assert reply is OK
    parts.log.close()
    assert loop.time() - written.arrived > 0.1
    assert written.backend_seconds > 0.1


async def test_a_target_that_fails_is_left_alone_and_comes_back() -> None:
    """After five failures in a row requests go to the fallback at once, until a probe has been answered."""
    now = 100.0
    answers: list[Answer] = [REFUSED, OK] * 5
    backend = Scripted(answers + [OK] * 6)
    parts = await services(backend, now=lambda: now)
    trace = parts.telemetry.start(invocation(), 0)
    asked: list[list[str]] = []
    for arrived in [100.0] * 6 + [107.0] * 2:
        now = arrived
        before = len(backend.calls)
        async with serve(invocation(), Record("request-0", arrived, 0.0), trace, parts):
            asked.append(targets(backend)[before:])
    parts.log.close()
    assert asked == [["first", "second"]] * 5 + [["second"]] + [["first"]] * 2


async def test_what_a_candidate_fails_at_is_no_repeat() -> None:
    """The target that it takes over from carried all of it before: however many fail, none lacks an answer."""

    class Broken(Scripted):
        async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
            self.answers.append(LOST if target.name == "first" else OK)
            return await super().invoke(target, call, deadline, replica)

    backend = Broken()
    parts = replace(await services(backend, text=MIGRATING, now=lambda: 100.0), book=Book(workers=8))
    shifts = {"chat": Shift("chat", "1.1", "second", "first", 0.9)}
    parts.policy._dress = lambda table: laid(table, shifts)
    parts.policy.redress()
    trace = parts.telemetry.start(invocation(), 0)
    for _ in range(40):
        async with serve(invocation(), record(), trace, parts) as (reply, _):
            assert reply is OK
    parts.log.close()
    assert targets(backend).count("first") >= 5


async def test_a_target_that_had_no_time_is_not_to_blame() -> None:
    """A body that came too late has used all of it: the target, which nobody asked, is left as it was."""
    late = FailureFacts(Fault.NETWORK, retry_safe=True, timed_out=True)
    parts = await services(Scripted([late] * 6), now=lambda: 161.0)
    trace = parts.telemetry.start(invocation(), 0)
    for _ in range(6):
        with pytest.raises(BackendError):
            async with serve(invocation(), record(), trace, parts):
                pass
    parts.log.close()
    assert {state for _, _, state in parts.book.breakers(161.0)} == {State.CLOSED}


async def test_a_session_is_led_back_to_the_copy_that_opened_it() -> None:
    """The client's id carries the copy's tag, the copy sees its own, and the fallback is not tried."""
    asked = replace(invocation(), session_id="NEW_SESSION")
    backend = Scripted([REFUSED, Reply(new_session_id="abc; Expires=2026-11-21T12:00:00Z")])
    parts = await services(backend)
    trace = parts.telemetry.start(invocation(), 0)
    async with serve(asked, record(), trace, parts) as (reply, _):
        known = (reply.new_session_id or "").partition(";")[0]
    assert known.startswith("abc-pm")
    backend.answers.append(Reply(closed_session_id="abc"))
    async with serve(replace(asked, session_id=known), record(), trace, parts) as (reply, _):
        assert reply.closed_session_id == known
    parts.log.close()
    assert targets(backend) == ["first", "second", "second"]
    assert [call.invocation.session_id for _, call, _ in backend.calls[1:]] == ["NEW_SESSION", "abc"]
