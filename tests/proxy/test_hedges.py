"""Hedges over real sockets: the first answer wins, the other attempt is over, and nobody pays more than was allowed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from policies.breaker import State
from policies.facts import FailureFacts, Fault
from policies.hedging import enough
from policies.table import HedgeRule
from proxy.server import running
from proxy.services import Services
from proxy.settings import Settings
from proxy.wiring import serving

USAGE = b'{"usage": {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}}'
POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
owners: {us: {requests: REQUESTS/h, tokens: 30/h}}
targets:
  slow: {kind: vllm, url: "http://127.0.0.1:SLOW", model: m}
  quick: {kind: vllm, url: "http://127.0.0.1:QUICK", model: m, limit: {min: 1, max: 4}}
  third: {kind: vllm, url: "http://127.0.0.1:THIRD", model: m}
  cold: {kind: vllm, url: "http://127.0.0.1:QUICK", model: m, cold: {restore: 60s..5m}}
endpoints:
  chat: {serve_from: slow, fallback: [quick, third], idempotent: true, hedge: {after: 50ms, budget: 100%}}
  calm: {serve_from: slow, fallback: [quick, third], idempotent: true, hedge: {after: 30s, budget: 100%}}
  half: {serve_from: slow, fallback: [quick], idempotent: true, hedge: {after: 50ms, budget: 50%}}
  learnt:
    serve_from: slow
    fallback: [quick]
    idempotent: true
    hedge: {after: p50, until_known: 10s, at_least: 50ms, budget: 100%}
  icy: {serve_from: slow, fallback: [cold], idempotent: true, hedge: {after: 50ms, budget: 100%}}
  ours: {serve_from: slow, fallback: [quick], owner: us, idempotent: true, hedge: {after: 50ms, budget: 100%}}
"""


def busy(wait: int) -> bytes:
    """What an engine says that has too much to do."""
    return b"HTTP/1.1 429 Busy\r\nRetry-After: %d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % wait


class Engine:
    """Answers once it is told to, or breaks the connection then; sees when it is not waited for any longer."""

    def __init__(self, answer: bytes, go: asyncio.Event | None = None) -> None:
        self.answer, self.go = answer, go or asyncio.Event()
        self.asked, self.gone = 0, asyncio.Event()
        self.busy, self.over = asyncio.Event(), asyncio.Event()

    @classmethod
    def quick(cls, answer: bytes) -> Engine:
        """One that needs not be told."""
        engine = cls(answer)
        engine.go.set()
        return engine

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(5)
        self.asked += 1
        self.busy.set()
        going, leaving = asyncio.ensure_future(self.go.wait()), asyncio.ensure_future(self._left(reader))
        await asyncio.wait({going, leaving}, return_when=asyncio.FIRST_COMPLETED)
        going.cancel()
        leaving.cancel()
        if self.answer and not self.gone.is_set():
            head = (
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            )
            refuses = self.answer.startswith(b"HTTP/")
            writer.write(self.answer if refuses else head % len(self.answer) + self.answer)
        writer.close()
        self.over.set()

    async def _left(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            await reader.read(1)
        self.gone.set()


class Bench:
    """The proxy, its parts, and the engines behind it."""

    def __init__(self, port: int, services: Services, engines: dict[str, Engine], log: Path) -> None:
        self.port, self.services, self.engines, self.log = port, services, engines, log

    async def ask(self, endpoint: str = "chat", *more: str, operation: str = "invocations") -> tuple[int, bytes]:
        """Status and body of an answer."""
        head, body = await self.answer(endpoint, *more, operation=operation)
        return int(head.split()[1]), body

    async def answer(self, endpoint: str = "chat", *more: str, operation: str = "invocations") -> tuple[bytes, bytes]:
        """Head and body of an answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = (f"POST /endpoints/{endpoint}/{operation} HTTP/1.1", "Host: h", "Connection: close", *more)
        writer.write("\r\n".join((*lines, "Content-Length: 5", "", "hello")).encode())
        try:
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        return head, body

    def counted(self, endpoint: str = "chat") -> dict[str, int]:
        """Results of hedges."""
        prefix = f'pointsman_hedges_total{{model="{endpoint}",result="'
        lines = [line for line in self.services.meters.render({}).splitlines() if line.startswith(prefix)]
        return {line.removeprefix(prefix).split('"')[0]: int(line.split()[-1]) for line in lines}

    async def counts(self, result: str, endpoint: str = "chat", times: int = 1) -> None:
        """Wait until so many hedges have come to `result`."""
        while self.counted(endpoint).get(result) != times:  # noqa: ASYNC110 - a count tells nobody
            await asyncio.sleep(0.001)

    async def told(self, result: str, endpoint: str, times: int = 1) -> tuple[int, bytes]:
        """An answer of the slow one, which gives it once so many hedges have come to `result`."""
        asking = asyncio.ensure_future(self.ask(endpoint))
        await self.counts(result, endpoint, times)
        self.engines["slow"].go.set()
        return await asking

    async def nothing_is_left(self) -> bool:
        """Wait until no place at a target is taken, and no hedge runs."""
        while self._busy():  # noqa: ASYNC110 - a place that is free tells nobody
            await asyncio.sleep(0.001)
        return True

    def _busy(self) -> bool:
        inside = sum(active + waiting for _, _, active, waiting in self.services.gates.states())
        return inside > 0 or any(task.get_name().startswith("hedge") for task in asyncio.all_tasks())


@asynccontextmanager
async def bench(folder: Path, requests: int = 100, **engines: Engine) -> AsyncIterator[Bench]:
    known = {"slow": Engine(b"slow"), "quick": Engine.quick(b"quick"), "third": Engine.quick(b"third")} | engines
    text, servers = POLICY.replace("REQUESTS", str(requests)), []
    for name, engine in known.items():
        servers.append(await asyncio.start_server(engine.serve, "127.0.0.1", 0))
        text = text.replace(f":{name.upper()}", f":{servers[-1].sockets[0].getsockname()[1]}")
    policy, log = folder / "policy.yaml", folder / "log"
    policy.write_text(text)
    settings = Settings(policy=str(policy), port=0, admin_port=0, drain=1.0, log=str(log))
    async with serving(settings, {}) as services, running(settings, services) as addresses:
        try:
            yield Bench(addresses.port, services, known, log)
        finally:
            for server in servers:
                server.close()


async def test_second_target_answers_and_the_first_is_cancelled(tmp_path: Path) -> None:
    """The slow one sees its connection closed at once, and both attempts are counted and logged."""
    async with bench(tmp_path) as it:
        assert await it.ask() == (200, b"quick")
        await it.engines["slow"].gone.wait()
        assert (it.counted(), await it.nothing_is_left()) == ({"won": 1}, True)
        text = it.services.meters.render({})
        assert 'pointsman_attempts_total{target="slow",kind="vllm",result="given_up"} 1' in text
        assert 'pointsman_attempts_total{target="quick",kind="vllm",result="answered"} 1' in text
    entry = json.loads(it.log.read_text())
    assert [(one["target"], one.get("given_up")) for one in entry["attempts"]] == [("slow", True), ("quick", None)]
    assert "silent for 0.05 s, so quick as well" in entry["why"]
    assert 0.05 <= entry["backend_seconds"] < entry["seconds"]


async def test_first_target_may_still_win(tmp_path: Path) -> None:
    """Then the second attempt is cancelled."""
    quick = Engine(b"quick")
    async with bench(tmp_path, slow=Engine(b"slow", quick.busy), quick=quick) as it:
        assert await it.ask() == (200, b"slow")
        await quick.gone.wait()
        assert (it.counted(), await it.nothing_is_left()) == ({"lost": 1}, True)


async def test_target_that_answers_in_time_is_the_only_one(tmp_path: Path) -> None:
    """Nothing is sent beside it, and nothing counted."""
    async with bench(tmp_path, slow=Engine.quick(b"slow")) as it:
        assert await it.ask("calm") == (200, b"slow")
        assert (it.counted("calm"), it.engines["quick"].asked) == ({}, 0)


async def test_budget_holds(tmp_path: Path) -> None:
    """A half of the requests at most, all of them being slow."""
    async with bench(tmp_path) as it:
        slow = it.engines["slow"]
        for times in (1, 2):
            assert await it.told("budget", "half", times) == (200, b"slow")
            slow.go.clear()
            assert await it.ask("half") == (200, b"quick")
            await slow.gone.wait()
            slow.gone.clear()
        assert it.counted("half") == {"budget": 2, "won": 2}


def overloaded(services: Services) -> None:
    target = services.policy.current.table.targets["quick"]
    for _ in range(2):
        assert services.gates.enter(target)


def ejected(services: Services) -> None:
    target = services.policy.current.table.targets["quick"]
    for _ in range(5):
        services.book.begin(target, 0)
        services.book.end(target, 0, FailureFacts(Fault.NETWORK, retry_safe=True), services.now())


def states(services: Services) -> dict[str, State]:
    return {name: state for name, _, state in services.book.breakers(services.now())}


def untouched(_: Services) -> None:
    pass


@pytest.mark.parametrize(("endpoint", "prepare"), [("half", overloaded), ("half", ejected), ("icy", untouched)])
async def test_overloaded_ejected_and_cold_targets_are_not_asked(
    tmp_path: Path, endpoint: str, prepare: Callable[[Services], None]
) -> None:
    """The first one is waited for instead."""
    async with bench(tmp_path) as it:
        prepare(it.services)
        assert await it.told("nowhere", endpoint) == (200, b"slow")
        assert (it.counted(endpoint), it.engines["quick"].asked) == ({"nowhere": 1}, 0)


async def test_hedges_find_out_that_a_half_open_target_is_well(tmp_path: Path) -> None:
    """They are probes that cost nobody an answer; a fallback that only hedges ask would else be left out for good. Two
    answers close its breaker."""
    async with bench(tmp_path) as it:
        services = it.services
        ejected(services)
        place = services.book.of(services.policy.current.table.targets["quick"], 0)
        place.breaker = replace(place.breaker, until=services.now())
        assert states(services)["quick"] is State.HALF_OPEN
        assert [await it.ask() for _ in range(2)] == [(200, b"quick")] * 2
        assert states(services)["quick"] is State.CLOSED


async def test_streams_sessions_and_repeats_of_the_sdk_are_not_hedged(tmp_path: Path) -> None:
    """A stream has begun somewhere, a session lives in one copy, and what the SDK sends again was sent already."""
    async with bench(tmp_path) as it:
        slow = it.engines["slow"]
        for operation, more in (
            ("invocations-response-stream", ()),
            ("invocations", ("X-Amzn-SageMaker-Session-Id: NEW_SESSION",)),
            ("invocations", ("amz-sdk-request: attempt=2; max=3",)),
        ):
            asking = asyncio.ensure_future(it.ask("chat", *more, operation=operation))
            await slow.busy.wait()
            await asyncio.sleep(0.1)  # twice the time after which any other request is hedged
            slow.go.set()
            assert (await asking)[0] == 200
            slow.go.clear()
            slow.busy.clear()
        assert it.engines["quick"].asked == 0


async def test_first_target_fails_while_the_second_works(tmp_path: Path) -> None:
    """The second one's answer is waited for, and nobody else is asked."""
    quick = Engine(b"quick")
    async with bench(tmp_path, slow=Engine(b"", quick.busy), quick=quick) as it:
        asking = asyncio.ensure_future(it.ask())
        await it.engines["slow"].over.wait()
        await asyncio.sleep(0.1)  # by then it is known that the first one has failed
        quick.go.set()
        assert await asking == (200, b"quick")
        assert (it.counted(), it.engines["third"].asked, await it.nothing_is_left()) == ({"won": 1}, 0, True)


async def test_retries_go_on_where_both_have_failed(tmp_path: Path) -> None:
    """The next target is asked, and the second one not again."""
    quick = Engine.quick(b"")
    async with bench(tmp_path, slow=Engine(b"", quick.over), quick=quick) as it:
        assert await it.ask() == (200, b"third")
        assert (it.counted(), quick.asked, await it.nothing_is_left()) == ({"failed": 1}, 1, True)


async def test_the_shortest_wait_is_told_where_all_refuse(tmp_path: Path) -> None:
    """Also that of the second one, whose failure is nobody's answer."""
    quick, third = Engine.quick(busy(2)), Engine.quick(busy(30))
    async with bench(tmp_path, slow=Engine(busy(30), quick.over), quick=quick, third=third) as it:
        head, _ = await it.answer()
        assert (b"Retry-After: 2\r\n" in head, third.asked, await it.nothing_is_left()) == (True, 1, True)


async def test_client_that_leaves_cancels_both(tmp_path: Path) -> None:
    """Both targets see it."""
    async with bench(tmp_path, quick=Engine(b"quick")) as it:
        asking = asyncio.create_task(it.ask())
        await it.engines["quick"].busy.wait()
        asking.cancel()
        for name in ("slow", "quick"):
            await it.engines[name].gone.wait()
        with suppress(asyncio.CancelledError):
            await asking
        await it.counts("given_up")
        assert it.counted() == {"given_up": 1}


async def test_both_attempts_are_billed_to_the_owner(tmp_path: Path) -> None:
    """The one that was cancelled counts as much as the other: twice 20 tokens of 30, so that the owner is in debt."""
    async with bench(tmp_path, quick=Engine.quick(USAGE)) as it:
        assert await it.ask("ours") == (200, USAGE)
        assert it.counted("ours") == {"won": 1}
        assert (await it.ask("ours"))[0] == 429


async def test_owner_without_quota_gets_no_hedge(tmp_path: Path) -> None:
    """The one request that is granted is the first attempt; the hedge that is not made takes none from the budget."""
    async with bench(tmp_path, requests=1) as it:
        assert await it.told("quota", "ours") == (200, b"slow")
        assert it.counted("ours") == {"quota": 1}
        route = it.services.policy.current.table.routes["ours", None]
        assert [it.services.book.afford_hedge(route) for _ in range(2)] == [True, False]


async def test_a_percentile_is_learnt_from_the_answers_of_the_first_target(tmp_path: Path) -> None:
    """Ten answers make it known; what is slower then is hedged, and counts as slow although it was cancelled."""
    async with bench(tmp_path, slow=Engine.quick(b"slow")) as it:
        for _ in range(enough(50)):
            assert await it.ask("learnt") == (200, b"slow")
        assert it.counted("learnt") == {}
        it.engines["slow"].go.clear()
        assert await it.ask("learnt") == (200, b"quick")
        assert it.counted("learnt") == {"won": 1}
    last = json.loads(it.log.read_text().splitlines()[-1])
    assert "silent for 0." in last["why"]


async def test_what_the_first_target_took_is_learnt_and_its_failures_are_not(tmp_path: Path) -> None:
    """An answer, and an attempt that was slow and cancelled; a target that refuses at once is not a quick one."""
    async with bench(tmp_path, slow=Engine.quick(b"")) as it:
        route = it.services.policy.current.table.routes["learnt", None]
        rule, target, engine = HedgeRule(10.0, percentile=50), route.targets[0], it.engines["slow"]

        def known() -> float:
            return it.services.book.patience(route, rule, target, it.services.now())

        for _ in range(enough(50)):
            assert await it.ask("learnt") == (200, b"quick")
        assert known() == 10.0
        it.services.book.reset("slow")
        engine.answer = b"slow"
        for _ in range(enough(50)):
            assert await it.ask("learnt") == (200, b"slow")
        before = known()
        assert before < 10.0
        engine.go.clear()
        assert await it.ask("learnt") == (200, b"quick")
        assert known() > before
