"""What a request does at a target that is not known to be loaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from backends.base import Call, Reply
from backends.errors import BackendError
from backends.temperatures import Temperatures
from policies.choose import Attempt, Plan, first_plan
from policies.facts import FailureFacts, Fault
from policies.sessions import marked
from policies.table import Route, RouteTable, Target
from policies.temperature import Warmth
from proxy import cold
from proxy.pipeline import serve
from proxy.record import Record
from proxy.services import Services
from warmers.ping import Parts
from warmers.restoring import Restorer

from .parts import Held, invocation, services

COLD = FailureFacts(Fault.PLATFORM, retry_safe=True, cold=True)
POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  imported: {kind: vllm, url: "http://127.0.0.1:1", model: m, speaks: openai-chat, cold: {restore: 60s..5m},
             limit: {queue: 2}}
  silent: {kind: vllm, url: "http://127.0.0.1:1", model: m, cold: {restore: 60s..5m}}
  quick: {kind: vllm, url: "http://127.0.0.1:1", model: m, speaks: openai-chat, cold: {restore: 1s..5m}}
  several: {kind: vllm, urls: ["http://127.0.0.1:1", "http://127.0.0.1:2"], model: m, speaks: openai-chat,
            cold: {restore: 60s..5m}}
  brief: {kind: vllm, url: "http://127.0.0.1:1", model: m, cold: {restore: 100ms..5m}, limit: {queue: 2}}
  warm: {kind: vllm, url: "http://127.0.0.1:2", model: m}
endpoints:
  spills: {serve_from: imported, fallback: [warm]}
  nowhere: {serve_from: imported, fallback: [silent], retry: {attempts: 1}}
  holds: {serve_from: imported, when_cold: hold, timeout: 5m}
  fails: {serve_from: imported, fallback: [warm], when_cold: fail}
  opaque: {serve_from: silent, when_cold: fail}
  patient: {serve_from: brief, when_cold: hold, timeout: 5m}
  hurried: {serve_from: quick, when_cold: fail}
  replicated: {serve_from: several, when_cold: hold, timeout: 5m, retry: {attempts: 2}}
"""


class World:
    """Services at a moment of one's own choice, with a restorer that asks a scripted backend."""

    def __init__(self, made: Services, backend: Held) -> None:
        self.now = 1000.0
        self.draw = 0.5
        self.backend = backend
        self.temperatures = Temperatures()
        self.temperatures.keep(made.policy.current.table.targets.values())
        made = replace(made, temperatures=self.temperatures, now=lambda: self.now, draw=lambda: self.draw)
        parts = Parts(
            table=self._table,
            backends=made.backends,
            book=made.book,
            meters=made.meters,
            now=made.now,
            wall=made.wall,
            draw=made.draw,
            new_id=made.new_id,
            pause=asyncio.sleep,
            trace=made.telemetry.start,
            tell=lambda _: None,
            temperatures=self.temperatures,
        )
        self.restorer = Restorer(parts)
        self.services = replace(made, restorer=self.restorer)
        self.record = Record("request-0", self.now, 0.0)

    def _table(self) -> tuple[RouteTable, str]:
        return self.services.policy.current.table, "d/1"

    def route(self, endpoint: str) -> Route:
        return self.services.policy.current.table.routes[endpoint, None]

    def target(self, name: str) -> Target:
        return self.services.policy.current.table.targets[name]

    def plan(self, endpoint: str) -> Plan:
        return first_plan(self.route(endpoint), {}, None, lambda: 0.5)

    async def passed(self, endpoint: str, deadline: float = 300.0, session: str | None = None) -> list[str]:
        """Where a new request may go."""
        asked = replace(invocation(endpoint), session_id=session)
        call = Call(asked, b"{}", None, None, None)
        self.record = Record("request-0", self.now, 0.0)
        plan = await cold.passed(
            self.route(endpoint), self.plan(endpoint), call, self.now + deadline, self.record, self.services
        )
        return list(dict.fromkeys(attempt.target.name for attempt in plan.attempts))

    def answered(self, name: str, sent_at: float) -> None:
        self.temperatures.sent(self.target(name), sent_at)
        self.temperatures.answered(self.target(name), sent_at, self.now)


@asynccontextmanager
async def world(backend: Held | None = None) -> AsyncIterator[World]:
    backend = backend or Held(Reply(body=b"{}"))
    made = World(await services(backend, text=POLICY), backend)
    try:
        yield made
    finally:
        await made.restorer.stop()
        made.services.log.close()


def failure(made: World, facts: FailureFacts) -> BackendError:
    return BackendError(facts, made.target("imported"), "scripted")


async def test_a_ready_target_is_simply_asked() -> None:
    """Nothing is looked at twice, and nothing is sent beside the request."""
    async with world() as made:
        made.answered("imported", made.now - 0.1)
        made.now += 1
        assert await made.passed("spills") == ["imported", "warm"]
        assert made.record.cold is None
        assert made.backend.calls == []


async def test_what_fails_otherwise_at_a_target_that_may_go_cold_is_a_failure_like_any_other() -> None:
    """It says nothing of cold: it is told, and not asked again without an end."""

    class Broken(Held):
        async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
            self.calls.append((target.name, call, deadline))
            assert len(self.calls) == 1
            raise BackendError(FailureFacts(Fault.MODEL, retry_safe=False), target, "broken")

    async with world(Broken(Reply())) as made:
        asked, record = invocation("holds"), Record("request-0", made.now, 0.0)
        with pytest.raises(BackendError, match="broken"):
            async with serve(asked, record, made.services.telemetry.start(asked, 0), made.services):
                pass
        assert (len(record.attempts), record.cold) == (1, None)


async def test_the_first_goes_and_the_others_learn_from_it() -> None:
    """At a target that may be cold; an answer lets all of them go, a refusal sends them where the policy says."""
    async with world() as made:
        assert await made.passed("spills") == ["imported", "warm"]
        others = [asyncio.ensure_future(made.passed("spills")) for _ in range(2)]
        await asyncio.sleep(0)
        made.answered("imported", made.now - 0.1)
        assert await asyncio.gather(*others) == [["imported", "warm"]] * 2
    async with world() as made:
        await made.passed("spills")
        other = asyncio.ensure_future(made.passed("spills"))
        await asyncio.sleep(0)
        assert (
            cold.refused(Attempt(made.target("imported")), failure(made, COLD), made.now, made.now, made.services)
            is True
        )
        assert await other == ["warm"]


async def test_a_first_one_that_failed_holds_nobody_up() -> None:
    """For another reason than cold: the others go at once and see for themselves."""
    async with world() as made:
        assert await made.passed("spills") == ["imported", "warm"]
        made.temperatures.sent(made.target("imported"), made.now)
        others = [asyncio.ensure_future(made.passed("spills")) for _ in range(2)]
        await asyncio.sleep(0)
        broken = FailureFacts(Fault.NETWORK, retry_safe=True)
        cold.refused(Attempt(made.target("imported")), failure(made, broken), made.now, made.now, made.services)
        for _ in range(20):  # turns of the loop, not a time: they wait for nothing more
            await asyncio.sleep(0)
        assert all(other.done() for other in others)
        assert await asyncio.gather(*others) == [["imported", "warm"]] * 2


async def test_nobody_waits_long_for_the_first() -> None:
    """It may generate for a minute: after a second the others go too, and whoever finds no place to wait."""
    async with world() as made:
        await made.passed("spills")
        began = asyncio.get_running_loop().time()
        found = await asyncio.gather(*(made.passed("spills") for _ in range(3)))
        assert found == [["imported", "warm"]] * 3
        assert 0.9 < asyncio.get_running_loop().time() - began < 30.0


async def test_spill_goes_to_the_fallback_while_one_probe_is_out() -> None:
    """However many come, one request brings the target back, and none of them waits."""
    async with world() as made:
        made.temperatures.met_cold(made.target("imported"), made.now)
        assert await asyncio.gather(*(made.passed("spills") for _ in range(100))) == [["warm"]] * 100
        await asyncio.sleep(0)
        assert len(made.backend.calls) == 1
        assert made.record.cold == "spill"
        assert made.record.why == "endpoints.spills.serve_from: warm, cold-spill: imported is cold"
        await made.passed("spills")
        assert made.record.why.endswith("imported is warming")
        assert len(made.backend.calls) == 1


async def test_spill_with_nothing_warm_fails_and_says_when_to_come_again() -> None:
    """A fallback that is as cold is no place to go."""
    async with world() as made:
        for name in ("imported", "silent"):
            made.temperatures.met_cold(made.target(name), made.now)
        made.now += 4
        with pytest.raises(BackendError, match="imported is cold, expected back in") as caught:
            await made.passed("nowhere")
        assert caught.value.facts.cold
        assert caught.value.facts.retry_after == pytest.approx((60 * 300) ** 0.5 - 4)
        assert (made.record.cold, made.record.why) == (
            "fail",
            "endpoints.nowhere.serve_from: cold-fail: imported is cold",
        )


async def test_hold_waits_until_it_is_back() -> None:
    """All who wait are let go by one answer, and their wait counts as the target's time."""
    async with world() as made:
        made.temperatures.met_cold(made.target("imported"), made.now)
        held = [asyncio.ensure_future(made.passed("holds")) for _ in range(2)]
        while not made.backend.calls:  # noqa: ASYNC110 - the scripted backend rings nothing
            await asyncio.sleep(0)
        assert not any(one.done() for one in held)
        made.now += 90
        made.backend.go.set()
        assert await asyncio.gather(*held) == [["imported"]] * 2
        assert made.record.cold == "hold"
        assert made.record.backend_seconds == 90.0
        assert made.temperatures.warmth(made.target("imported"), made.now) is Warmth.READY


async def test_hold_is_bounded_by_the_deadline_and_the_queue() -> None:
    """Nobody is held who cannot be served, nor more than the queue may hold; they fail at once."""
    async with world() as made:
        made.temperatures.met_cold(made.target("imported"), made.now)
        hopeless = asyncio.ensure_future(made.passed("holds", deadline=66.0))
        await asyncio.wait([hopeless], timeout=10)
        assert hopeless.done()  # 60 s for the quickest restore leave an answer less than a tenth of the time
        with pytest.raises(BackendError, match="imported is"):
            await hopeless
        held = [asyncio.ensure_future(made.passed("holds")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BackendError, match="imported is"):
            await made.passed("holds")
        assert made.record.cold == "fail"
        for one in held:  # their clients go away
            one.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        assert {seen.waiting for seen in made.temperatures.seen(made.now)} == {0}


async def test_hold_ends_when_the_deadline_leaves_no_room_for_an_answer() -> None:
    """A restore that is late fails the request while there is time to say so."""
    async with world() as made:
        made.temperatures.met_cold(made.target("imported"), made.now)
        made.now += 60
        with pytest.raises(BackendError, match="imported is warming"):
            await made.passed("holds", deadline=0.05)
        assert made.record.cold == "fail"


async def test_fail_fails_at_once_although_there_is_a_fallback() -> None:
    """The policy's word; the probe is out all the same."""
    async with world() as made:
        made.temperatures.met_cold(made.target("imported"), made.now)
        with pytest.raises(BackendError):
            await made.passed("fails")
        await asyncio.sleep(0)
        assert len(made.backend.calls) == 1


async def test_of_an_opaque_target_a_callers_request_is_the_probe() -> None:
    """One each few seconds, since there is no cheapest request; the others fail meanwhile."""
    async with world() as made:
        made.temperatures.met_cold(made.target("silent"), made.now - 5)
        assert await made.passed("opaque") == ["silent"]
        with pytest.raises(BackendError):
            await made.passed("opaque")
        made.now += 5
        assert await made.passed("opaque") == ["silent"]
        assert made.backend.calls == []


async def test_who_is_held_at_an_opaque_target_is_its_probe_in_turn() -> None:
    """Nobody else asks it: one of those who wait goes at each pace, and hears by his own request that it is back."""
    async with world() as made:
        brief = made.target("brief")
        made.temperatures.met_cold(brief, made.now)
        held = [asyncio.ensure_future(made.passed("patient")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BackendError, match="brief is cold"):
            await made.passed("patient")  # the queue is full
        assert made.record.cold == "fail"
        made.now += 1
        done, waiting = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        assert [await one for one in done] == [["brief"]]
        made.answered("brief", made.now)
        assert [await one for one in waiting] == [["brief"]]


async def test_without_a_restorer_callers_are_the_probe() -> None:
    """As for opaque targets."""
    async with world() as made:
        made.services = replace(made.services, restorer=None)
        made.temperatures.met_cold(made.target("imported"), made.now - 5)
        assert await made.passed("fails") == ["imported", "warm"]


async def test_a_session_is_not_spilled() -> None:
    """What was said before is in the memory of that copy; elsewhere nobody knows it."""
    async with world() as made:
        session = marked(made.route("spills"), made.target("imported"), 0, "abc")
        made.temperatures.met_cold(made.target("imported"), made.now)
        with pytest.raises(BackendError):
            await made.passed("spills", session=session)


async def test_traffic_comes_back_bit_by_bit() -> None:
    """Just after a restore a tenth of the requests of a route that spills, then more, then all."""
    async with world() as made:
        made.temperatures.met_cold(made.target("imported"), made.now)
        made.now += 90
        made.answered("imported", made.now)
        for seconds, draw, where in ((0, 0.05, "imported"), (0, 0.2, "warm"), (5, 0.45, "imported"), (0, 0.55, "warm")):
            made.now += seconds
            made.draw = draw
            assert (await made.passed("spills"))[0] == where
        assert "imported is just back" in made.record.why
        made.draw = 0.99
        assert await made.passed("fails") == ["imported", "warm"]
        made.now += 6
        assert (await made.passed("spills"))[0] == "imported"


async def test_all_of_it_goes_back_where_there_is_no_other_place() -> None:
    """Slow start is for routes that have one."""
    async with world() as made:
        made.temperatures.met_cold(made.target("silent"), made.now)
        made.temperatures.met_cold(made.target("imported"), made.now)
        made.now += 90
        made.answered("imported", made.now)
        made.draw = 0.99
        assert await made.passed("nowhere") == ["imported"]


async def test_a_call_that_is_out_for_long_proves_nothing() -> None:
    """The probe has a second to show that the target is only slow; nobody fails for it."""
    async with world() as made:
        quick = made.target("quick")
        made.temperatures.sent(quick, made.now)
        made.now += 2
        assert made.temperatures.warmth(quick, made.now) is Warmth.WARMING
        made.backend.go.set()
        assert await made.passed("hurried") == ["quick"]
        assert len(made.backend.calls) == 1
    async with world() as made:
        made.temperatures.sent(quick, made.now)
        made.now += 2
        with pytest.raises(BackendError, match="quick is warming"):
            await made.passed("hurried")


async def test_who_is_refused_or_held_for_cold() -> None:
    """A word that means cold, and a call that was held for as long as a restore takes; other failures are failures."""
    async with world() as made:
        imported = made.target("imported")
        broken = FailureFacts(Fault.NETWORK, retry_safe=True)
        assert cold.refused(Attempt(imported), failure(made, broken), made.now, made.now, made.services) is False
        made.temperatures.sent(imported, made.now)
        made.now += 61
        late = failure(made, replace(broken, timed_out=True))
        assert cold.refused(Attempt(imported), late, made.now - 61, made.now, made.services) is True
        assert made.temperatures.warmth(imported, made.now) is Warmth.COLD
