"""The admin port of several workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from backends.http.edge import ByteBudget, Listener
from backends.meters import Meters
from proxy.faces.admin import State
from proxy.policy_source import Policy
from proxy.workers.counts import Counts
from proxy.workers.messages import Answered, Question
from proxy.workers.operators import Operators, merged
from proxy.workers.pool import Pool

from ..parts import POLICY, TextSource
from .parts import Played, facts, told
from .test_pool import Stage


class Answering:
    """Workers that answer operators with documents of the test's."""

    def __init__(self, answers: Mapping[int, Mapping[str, tuple[int, Any]]]) -> None:
        self._answers = answers
        self.asked: list[tuple[int, str, str]] = []

    def hear(self, worker: Played, question: Question) -> None:
        if not question.path:
            worker.channel.tell(facts(question.id, in_flight=2))
            return
        self.asked.append((worker.number, question.method, question.path))
        status, document = self._answers[worker.number].get(question.path, (404, {"error": "nothing there"}))
        worker.channel.tell(Answered(question.id, status, document))


@asynccontextmanager
async def operated(
    answers: Mapping[int, Mapping[str, tuple[int, Any]]] | None = None,
) -> AsyncIterator[tuple[Operators, Answering, Pool, Policy, State]]:
    """Operators of two workers."""
    answering = Answering(answers or {0: {}, 1: {}})
    stage = Stage(prepare=lambda worker: setattr(worker, "asked", answering.hear))
    pool, state = stage.pool(), State()
    policy = Policy(TextSource(POLICY), {}, frozenset(), lambda _: None, lambda _: None)
    await policy.load()
    await pool.start(told(1))
    await pool.let_in()
    meters = Meters("1")
    yield Operators(policy, pool, Counts(meters, "1"), state, "secret"), answering, pool, policy, state
    await pool.stop()
    await asyncio.gather(*stage.plays)


async def test_it_is_ready_while_one_worker_serves() -> None:
    """Each worker is listed; nobody left, or draining, is 503."""
    async with operated() as (operators, _, pool, policy, state):
        ready = await operators.read("/readyz")
        facts = orjson.loads(ready.body)
        assert (ready.status, facts["policy"], len(facts["workers"])) == (200, policy.current.label, 2)
        row = {"worker": 1, "state": "serving", "pid": 1, "policy": "digest/1", "restarts": 0}
        assert facts["workers"][1] == row | {"loading": None, "ended": None}
        assert facts["problem"] is None
        state.draining = True
        assert (await operators.read("/readyz")).status == 503
        state.draining = False
        for slot in pool.slots:
            slot.state = "resting"
        assert (await operators.read("/readyz")).status == 503
        assert (await operators.read("/livez")).status == 200
        again = pool.slots[1]
        assert again.child is not None
        again.state, again.ended, again.child.loading = "starting", "signal 9", "the handler model.py"
        facts = orjson.loads((await operators.read("/readyz")).body)
        assert (facts["workers"][1]["loading"], facts["problem"]) == (again.child.loading, "worker 1 is gone: signal 9")
        for slot in pool.slots:
            slot.state = "serving"


async def test_what_the_supervisor_knows_it_answers() -> None:
    """Metrics and policy are those of all workers; a reload is the supervisor's."""
    async with operated() as (operators, answering, _, policy, _):
        assert b"pointsman_worker_up" in (await operators.read("/metrics")).body
        assert orjson.loads((await operators.read("/admin/policy")).body)["in_flight"] == 4
        source = policy._source
        assert isinstance(source, TextSource)
        source.text = POLICY.replace("owner: us", "owner: them")
        assert (await operators.write("/admin/reload")).status == 200
        assert policy.current.generation == 2
        source.text = "?"
        refused = await operators.write("/admin/reload")
        assert (refused.status, policy.current.generation) == (409, 2)
        assert answering.asked == []


async def test_anything_else_is_put_to_every_worker() -> None:
    """Writes reach all of them; the best answer is the answer, and nothing is nothing anywhere."""
    done = {0: {"/admin/x": (200, {"done": True})}, 1: {"/admin/x": (404, {"done": False})}}
    async with operated(done) as (operators, answering, pool, _, _):
        answer = await operators.write("/admin/x")
        assert (answer.status, orjson.loads(answer.body)) == (200, {"done": True})
        assert answering.asked == [(0, "POST", "/admin/x"), (1, "POST", "/admin/x")]
        assert (await operators.read("/nothing")).status == 404
        for slot in pool.slots:
            slot.state = "resting"
        assert (await operators.read("/admin/x")).status == 503
        for slot in pool.slots:
            slot.state = "serving"


@pytest.mark.parametrize(
    ("documents", "one"),
    [
        (
            {0: {"rows": [{"target": "a"}]}, 1: {"rows": [{"target": "a"}, 3]}},
            {"rows": [{"worker": 0, "target": "a"}, {"worker": 1, "target": "a"}, 3]},
        ),
        ({0: {"tasks": {"a": 1}}, 1: {"tasks": {"a": 2, "b": 1}}}, {"tasks": {"a": 3, "b": 1}}),
        ({0: {"reset": False}, 1: {"reset": True}}, {"reset": True}),
        ({0: {"name": "x"}, 1: {"name": "x"}}, {"name": "x"}),
        ({0: {"name": "x"}, 1: {"name": "y"}}, {"name": {"0": "x", "1": "y"}}),
        ({0: {"name": "x"}, 2: {}}, {"name": {"0": "x", "2": None}}),
    ],
)
def test_answers_of_several_become_one(documents: dict[int, Any], one: dict[str, Any]) -> None:
    """Rows say whose they are, counts are added, one yes is a yes, and what differs is shown by worker."""
    assert merged(documents) == one


async def test_it_speaks_http_and_asks_for_the_token() -> None:
    """Reads are free on loopback; a write without the token reaches no worker; garbage gets JSON."""
    async with operated() as (operators, answering, _, _, _):
        listener = Listener(operators.handle, operators.malformed, ByteBudget(1024), drain=0.1)
        port = await listener.start("127.0.0.1", 0)
        for request, status in (
            (b"GET /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", b"200"),
            (b"GET /livez HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", b"421"),
            (b"POST /admin/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", b"401"),
            (b"GARBAGE\r\n\r\n", b"400"),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            assert (await reader.read()).split(b" ")[1] == status
            writer.close()
            await writer.wait_closed()
        await listener.stop()
        assert answering.asked == []
