"""Overload on the request's path: who is shed, where it goes, and what the client is told."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import replace

import pytest
from opentelemetry.trace import StatusCode

from backends.base import Call, Reply, Usage
from backends.errors import BackendError
from policies.facts import FailureFacts, Fault
from policies.table import Target
from proxy.faces.failures import error_reply
from proxy.pipeline import serve
from proxy.record import Record
from proxy.traced import RequestTrace

from .parts import Held, Scripted, invocation, services
from .tracing import Traced

ONE = "limit: {min: 1, max: 1, queue: 0}"
POLICY = f"""
apiVersion: pointsman/v1
account: "123456789012"
owners: {{us: {{requests: 1/h}}, them: {{tokens: 10/h}}}}
targets:
  first: {{kind: vllm, url: "http://127.0.0.1:1", model: m, {ONE}}}
  second: {{kind: vllm, url: "http://127.0.0.1:2", model: m, {ONE}}}
  pair: {{kind: vllm, urls: ["http://127.0.0.1:4", "http://127.0.0.1:5"], model: m}}
  queued: {{kind: vllm, url: "http://127.0.0.1:3", model: m, limit: {{min: 1, max: 1, queue: 5}}}}
  slow: {{kind: vllm, url: "http://127.0.0.1:6", model: m, limit: {{min: 1}}}}
endpoints:
  slow: {{serve_from: slow, retry: {{attempts: 1}}}}
  queued: {{serve_from: queued, retry: {{attempts: 1}}}}
  late: {{serve_from: queued, fallback: [second], timeout: 400ms}}
  twice: {{serve_from: pair, retry: {{attempts: 1}}}}
  alone: {{serve_from: first}}
  chat: {{serve_from: first, fallback: [second]}}
  bounded: {{serve_from: first, owner: us}}
  counted: {{serve_from: first, owner: them}}
"""


class Throttling(Scripted):
    """A backend whose second replica turns everybody away at once."""

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        self.calls.append((f"{target.name} {replica}", call, deadline))
        if replica == 1:
            facts = FailureFacts(Fault.MODEL, retry_safe=True, throttled=True)
            raise BackendError(facts, target, "scripted")
        return Reply(body=b"ok")


class Late(Scripted):
    """A backend whose answers take as long as it is told; what takes thirty seconds is given up."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.takes, self.body = 0.0, 1.0, b"ok"
        self.client_leaves = False

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        self.now += self.takes
        if self.takes >= 30.0:
            if self.client_leaves:
                raise asyncio.CancelledError
            raise BackendError(FailureFacts(Fault.MODEL, retry_safe=None, timed_out=True), target, "scripted")
        return Reply(body=self.body)


class Failing(Held):
    """A backend that fails, once it is told to."""

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        await super().invoke(target, call, deadline, replica)
        raise BackendError(FailureFacts(Fault.PLATFORM, retry_safe=None), target, "scripted")


class Client:
    """Requests to one set of services."""

    def __init__(self, backend: Held) -> None:
        self.backend = backend

    async def ask(self, endpoint: str, record: Record | None = None, trace: RequestTrace | None = None) -> Record:
        """One request to its end."""
        loop = asyncio.get_running_loop()
        record = record or Record("request-0", arrived=loop.time(), started=0.0)
        trace = trace or self.parts.telemetry.start(invocation(endpoint), 0)
        async with serve(invocation(endpoint), record, trace, self.parts):
            return record

    async def __aenter__(self) -> Client:
        self.parts = await services(self.backend, text=POLICY, now=asyncio.get_running_loop().time)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert all(inside == waiting == 0 for _, _, inside, waiting in self.parts.gates.states())
        self.parts.log.close()


async def test_who_finds_no_place_is_told_at_once() -> None:
    """ThrottlingException with a time to come again, within milliseconds, and nothing is sent or tried again."""
    loop = asyncio.get_running_loop()
    async with Client(Held(Reply(body=b"ok", usage=Usage(10, 10)))) as client:
        first = asyncio.create_task(client.ask("alone"))
        await asyncio.sleep(0)
        began = loop.time()
        with pytest.raises(BackendError) as caught:
            await client.ask("alone")
        assert loop.time() - began < 9.0  # it does not wait for a place, for which it has ten seconds
        client.backend.go.set()
        await first
        page = client.parts.meters.render({})
        assert 'pointsman_shed_total{model="alone",reason="target"} 1' in page
        assert 'pointsman_target_refused_total{target="first"} 1' in page
    told = error_reply(caught.value, Record("r", 0.0, 0.0))
    assert (told.status, told.type, told.retry_after) == (429, "ThrottlingException", 1.0)
    assert len(client.backend.calls) == 1


async def test_who_finds_no_place_goes_to_the_fallback() -> None:
    """A declared fallback takes the overflow, at once and without a wait."""
    async with Client(Held(Reply(body=b"ok", usage=Usage(10, 10)))) as client:
        tasks = [asyncio.create_task(client.ask("chat")) for _ in range(2)]
        while len(client.backend.calls) < 2:  # noqa: ASYNC110 - a call that is held tells nobody
            await asyncio.sleep(0)
        assert [name for name, _, _ in client.backend.calls] == ["first", "second"]
        client.backend.go.set()
        await asyncio.gather(*tasks)


async def test_who_waits_for_a_place_leaves_time_for_the_fallback() -> None:
    """Half of it, though the policy would let it wait for ten seconds, and though what was sent may not be repeated."""
    loop = asyncio.get_running_loop()
    async with Client(Held(Reply(body=b"ok", usage=Usage(10, 10)))) as client:
        began = loop.time()
        tasks = [asyncio.create_task(client.ask("late")) for _ in range(2)]
        while len(client.backend.calls) < 2:  # noqa: ASYNC110 - a call that is held tells nobody
            await asyncio.sleep(0.001)
        assert loop.time() - began > 0.15
        assert [name for name, *_ in client.backend.calls] == ["queued", "second"]
        client.backend.go.set()
        await asyncio.gather(*tasks)


async def test_the_wait_for_a_place_is_no_time_of_the_hop() -> None:
    """Nor of the target, which has not been asked yet: it is told by itself, with a span of its own."""
    loop, traced = asyncio.get_running_loop(), Traced()
    async with Client(Held(Reply(body=b"ok", usage=Usage(10, 10)))) as client:
        first = asyncio.create_task(client.ask("queued"))
        while not client.backend.calls:  # noqa: ASYNC110 - a call that is held tells nobody
            await asyncio.sleep(0)
        record, trace = Record("request-1", arrived=loop.time(), started=0.0), traced.start()
        second = asyncio.create_task(client.ask("queued", record, trace))
        began = loop.time()
        while loop.time() < began + 0.05:  # noqa: ASYNC110 - it waits for as long as it is let
            await asyncio.sleep(0.01)
        client.backend.go.set()
        await asyncio.gather(first, second)
        told = record.outcome(loop.time())
    trace.finish(told)
    assert told.queue_seconds > 0.04
    assert told.overhead_seconds < told.seconds - told.queue_seconds
    assert record.lines(record.arrived + told.queue_seconds).startswith("x-pointsman-overhead-us: 0\r\n")
    assert record.note(loop.time()) is None  # which would have no place for it
    assert traced.spans()["queue"].status.status_code is StatusCode.UNSET


async def test_an_owner_over_its_quota_is_turned_away() -> None:
    """Requests are counted when they come, tokens once they are known."""
    async with Client(Held(Reply(body=b"ok", usage=Usage(10, 10)))) as client:
        client.backend.go.set()
        for endpoint in ("bounded", "counted"):
            await client.ask(endpoint)
            with pytest.raises(BackendError, match="is over its") as caught:
                await client.ask(endpoint)
            assert caught.value.facts.shed
        assert 'reason="owner"} 1' in client.parts.meters.render({})
    assert len(client.backend.calls) == 2


async def test_a_replica_that_turns_everybody_away_draws_nobody() -> None:
    """After five the other one has the requests; and what those hear who are drawn for the first all the same leaves
    the target's limit as it is."""
    backend = Throttling()
    parts = await services(backend, text=POLICY)
    drawn = replace(parts, draw=itertools.cycle([0.01, 0.9, 0.9]).__next__)
    limits = []
    for each in (*[parts] * 15, *[drawn] * 5):
        trace = each.telemetry.start(invocation("twice"), 0)
        with contextlib.suppress(BackendError):
            async with serve(invocation("twice"), Record("request-0", each.now(), 0.0), trace, each):
                pass
        limits += [limit for _, limit, _, _ in parts.gates.states()]
    assert [name for name, *_ in backend.calls] == ["pair 1"] * 5 + ["pair 0"] * 10 + ["pair 1"] * 5
    assert limits[:5] == sorted(limits[:5], reverse=True)
    assert limits[5:] == sorted(limits[5:])
    assert limits[-1] > limits[4]
    parts.log.close()


@pytest.mark.parametrize("client_leaves", [False, True])
async def test_an_answer_that_does_not_come_in_time_counts_as_a_late_one(client_leaves: bool) -> None:
    """One in fifty, as of a model some of whose answers are long, takes no place away; with many the target is known to
    be slow. So it is where the clients are those who wait no longer: of a target that answers none in time nobody would
    know else that it has too much to do."""
    backend = Late()
    backend.client_leaves = client_leaves
    parts = await services(backend, text=POLICY, now=lambda: backend.now)

    async def ask(takes: float) -> float:
        backend.takes = takes
        with contextlib.suppress(BackendError, asyncio.CancelledError):
            trace = parts.telemetry.start(invocation("slow"), 0)
            async with serve(invocation("slow"), Record("request-0", parts.now(), 0.0), trace, parts):
                pass
        parts.afterwards.now()
        return next(float(places) for name, places, *_ in parts.gates.states() if name == "slow")

    assert [await ask(30.0 if number % 50 == 49 else 1.0) for number in range(200)] == [256.0] * 200
    gate = parts.gates.of(parts.policy.current.table.targets["slow"])
    assert gate.limit.seconds == pytest.approx(1.0, abs=0.2)
    for _ in range(60):
        await ask(30.0)
    assert gate.limit.seconds is not None
    assert gate.limit.seconds > 10.0
    parts.log.close()


async def test_longer_answers_and_requests_usually_take_longer() -> None:
    """Of one route: what each takes is compared with what those of its size usually do."""
    backend = Late()
    parts = await services(backend, text=POLICY, now=lambda: backend.now)

    async def ask(takes: float, asked: int, told: int) -> float:
        backend.takes, backend.body = takes, b"x" * told
        call = replace(invocation("slow"), body=b"x" * asked)
        async with serve(call, Record("request-0", parts.now(), 0.0), parts.telemetry.start(call, 0), parts):
            pass
        parts.afterwards.now()
        pace = parts.gates.of(parts.policy.current.table.targets["slow"]).limit.pace
        assert pace is not None
        return pace.beyond

    for takes, asked, told in ((1.0, 200, 200), (20.0, 200, 5000), (4.0, 9000, 200)):
        assert [await ask(takes, asked, told) for _ in range(50)] == [pytest.approx(0.0, abs=0.01)] * 50
    parts.log.close()


@pytest.mark.parametrize(("held", "ends"), [(Held, type(None)), (Failing, BackendError)])
async def test_who_is_let_in_as_its_target_is_forgotten_is_counted_once(held: type[Held], ends: type) -> None:
    """Between the end of whoever was inside and the beginning of whoever waited nobody is there, and a reload may
    forget what is known of a target that has gone: what ends is what began."""
    backend = held(Reply())
    parts = await services(backend, text=POLICY, now=asyncio.get_running_loop().time)

    async def ask() -> None:
        trace = parts.telemetry.start(invocation("queued"), 0)
        async with serve(invocation("queued"), Record("request-0", parts.now(), 0.0), trace, parts):
            pass

    asked = [asyncio.create_task(ask()) for _ in range(2)]
    while not any(waiting for *_, waiting in parts.gates.states()):  # noqa: ASYNC110 - a count tells nobody
        await asyncio.sleep(0)
    backend.go.set()
    while len(backend.calls) < 2:
        parts.book.keep([])
        await asyncio.sleep(0)
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in found] == [ends] * 2
    queued = parts.policy.current.table.targets["queued"]
    assert [view.in_flight for view in parts.book.views([queued])["queued"]] == [0]
    parts.log.close()
