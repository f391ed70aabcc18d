"""Migrations in one process: what is there with shared state, and what is said without."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from backends.migration_counts import MigrationCounts
from backends.state import open_store
from policies.evidence import SLOT, Evidence
from policies.load import load_policy
from policies.migration_state import Decision, Event, Verb
from policies.table import Route
from proxy.alerts import Alerts
from proxy.migrating import LATE, costs_of, strained, teller
from proxy.server import running
from proxy.services import Services
from proxy.settings import Settings, read
from proxy.wiring import serving, static_credentials
from tests.proxy.cli.commanding import POLICY, Commanding
from warmers.migrations.ledger import Ledger
from warmers.prices import SHIPPED

COSTED = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  gpu: {kind: endpoint, endpoint: gpu, region: us-east-1, speaks: openai-chat, cost: {instance: ml.g6e.xlarge}}
  one:
    kind: bedrock
    model: arn:aws:bedrock:us-east-1:123456789012:imported-model/apexguru0001
    speaks: openai-chat
    cost: {units: 1}
endpoints:
  x:
    serve_from: gpu
    clients_speak: openai-chat
    migrate:
      to: one
      steps: [{share: 5%, hold: 24h}, {share: 100%}]
      gates: {errors: at most +1 points, cost_at_full_share: at most 80%}
"""


def shown(table_route: object) -> float:
    assert isinstance(table_route, Route)
    return table_route.shift.share if table_route.shift is not None else 0.0


def served(laptop: Commanding, folder: Path) -> AbstractAsyncContextManager[Services]:
    """A process of the fleet that the laptop commands."""
    given = {
        "policy": str(laptop.policy),
        "state": laptop.address,
        "log": str(folder / "log"),
        "state_copy": str(folder),
    }
    return serving(read(given, {}), {}, static_credentials("a", "b"))


async def test_a_process_that_starts_serves_the_step_that_the_fleet_is_at(tmp_path: Path) -> None:
    """From its first request on: nobody is sent back to the old target by a restart."""
    laptop = Commanding(tmp_path)
    await laptop.order(Verb.START)
    async with served(laptop, tmp_path) as services:
        assert services.controller is not None
        assert services.follower is not None
        assert shown(services.policy.current.table.lookup("apexguru", None)) == 0.1
        label = services.policy.current.label
        await laptop.order(Verb.BYPASS, until=time.time() + 60.0)
        await services.follower.look(services.policy.current.table)
        assert shown(services.policy.current.table.lookup("apexguru", None)) == 0.0
        assert services.policy.current.label == label
        assert isinstance(services.policy.current.table.lookup("plain", None), Route)


async def test_a_reload_keeps_the_step(tmp_path: Path) -> None:
    """A new text is put in force with migrations where they stand, not where the text begins."""
    laptop = Commanding(tmp_path)
    await laptop.order(Verb.START)
    async with served(laptop, tmp_path) as services:
        laptop.policy.write_text(POLICY + "  another: {serve_from: gpu}\n")
        assert await services.policy.reload()
        assert isinstance(services.policy.current.table.lookup("another", None), Route)
        assert shown(services.policy.current.table.lookup("apexguru", None)) == 0.1


async def test_what_ends_last_counts_as_well(tmp_path: Path) -> None:
    """A request that is answered while the process drains is evidence: else a restart would lose the slow ones."""
    asked = asyncio.Event()

    async def model(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST"):
            asked.set()
            while any(task.get_name() == "migrations" for task in asyncio.all_tasks()):  # noqa: ASYNC110 - a task tells nobody
                await asyncio.sleep(0.001)
        writer.write(b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(model, "127.0.0.1", 0)
    url = f"url: 'http://127.0.0.1:{server.sockets[0].getsockname()[1]}', sign: false"
    laptop = Commanding(tmp_path)
    laptop.policy.write_text(
        POLICY.replace("endpoint: gpu,", f"{url}, endpoint: gpu,").replace(
            "endpoint: import,", f"{url}, endpoint: import,"
        )
    )
    await laptop.order(Verb.START)
    async with served(laptop, tmp_path) as services:
        settings = Settings(policy=str(laptop.policy), port=0, admin_port=0, drain=60.0)
        async with running(settings, services) as addresses:
            reader, writer = await asyncio.open_connection("127.0.0.1", addresses.port)
            writer.write(b"POST /endpoints/apexguru/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
            await asked.wait()
        await reader.read()
        writer.close()
    server.close()
    await server.wait_closed()
    store = open_store(laptop.address)
    seen = (await Ledger(store).evidence("apexguru", "1.1"))["apexguru"]
    await store.aclose()
    assert seen.old.requests + seen.new.requests == 1


async def test_without_shared_state_nothing_moves_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The policy is served as it begins; of one without migrations there is nothing to say."""
    laptop = Commanding(tmp_path)
    given = {"policy": str(laptop.policy), "log": str(tmp_path / "log"), "state_copy": str(tmp_path)}
    async with serving(read(given, {}), {}, static_credentials("a", "b")) as services:
        assert (services.follower, services.controller) == (None, None)
    assert "the policy has migrations (apexguru) and no --state" in caplog.text
    caplog.clear()
    laptop.policy.write_text(POLICY.partition("  apexguru:")[0])
    async with serving(read(given, {}), {}, static_credentials("a", "b")):
        assert "no --state" not in caplog.text


@pytest.mark.parametrize(("alert", "level"), [(True, logging.WARNING), (False, logging.INFO)])
def test_a_decision_is_one_line_of_the_log(alert: bool, level: int, caplog: pytest.LogCaptureFixture) -> None:
    """A warning, and an alert where one is told, when somebody should be woken; counted in any case."""
    counts, told = MigrationCounts(10), Told()
    decision = Decision("x", Event.GREW, 0.0, "controller", "fine", 0.1, 0.5, 1, 2, alert=alert)
    with caplog.at_level(logging.INFO):
        for alerts in (None, told):
            teller(counts, alerts, lambda: 60.0)(decision)
    assert [record.levelno for record in caplog.records] == [level, level]
    assert caplog.records[0].getMessage() == "migration x grew: fine (0.1 -> 0.5 of the traffic; controller)"
    assert told.decisions == ([decision] if alert else [])
    assert 'pointsman_migration_decisions_total{migration="x",event="grew"} 2\n' in "".join(counts.render())


def test_every_decision_may_be_an_alert() -> None:
    """Where the operator wants all of them; not when it is long past."""
    told, now = Told(), [60.0]
    tell = teller(MigrationCounts(10), told, lambda: now[0], "all")
    decision = Decision("x", Event.GREW, 0.0, "controller", "fine", 0.1, 0.5, 1, 2)
    for now[0] in (60.0, LATE):
        tell(decision)
    assert told.decisions == [decision]


async def test_target_that_is_cold_or_full_is_strained(tmp_path: Path) -> None:
    """As this process has met it: a cold one shows no room for a rollback, nor one at which the next client waits."""
    laptop = Commanding(tmp_path)
    text = POLICY.replace(
        "endpoint: gpu, region", "endpoint: gpu, cold: {restore: 60s..5m}, limit: {min: 1, max: 1}, region"
    )
    laptop.policy.write_text(text)
    given = {"policy": str(laptop.policy), "log": str(tmp_path / "log"), "state_copy": str(tmp_path)}
    async with serving(read(given, {}), {}, static_credentials("a", "b")) as services:
        target = services.policy.current.table.targets["gpu"]

        def found() -> bool:
            return strained(services.gates, services.temperatures, services.now, target)

        assert not found()
        assert services.gates.enter(target)
        assert found()
        services.gates.leave(target)
        services.temperatures.met_cold(target, services.now())
        assert found()


class Told(Alerts):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.decisions: list[Decision] = []

    def tell(self, decision: Decision) -> None:
        self.decisions.append(decision)


def test_costs_are_worked_out_when_there_is_something_new() -> None:
    """With each slot of time, each request in a new one, each policy; in between the last projection is dated anew."""
    table = load_policy(COSTED, {})
    plan, costs = table.migrations["x"], costs_of(SHIPPED)
    seen = {"x": Evidence(busy=frozenset({5_900_000}))}
    at = SLOT * 5_900_000.5
    first = costs(plan, table, seen, at)["x"].cost
    assert first is not None
    again = costs(plan, table, seen, at + 4.0)["x"].cost
    assert again == (at + 4.0, *first[1:])
    more = costs(plan, table, {"x": Evidence(busy=frozenset({5_900_000, 5_899_900}))}, at + 8.0)["x"].cost
    assert more is not None
    assert more[1] > first[1]
    assert more[2] < first[2]


def test_without_prices_no_cost_is_known(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, and a gate of cost is not green."""
    table = load_policy(COSTED, {})
    costs = costs_of(tmp_path / "nowhere.yaml")
    assert [costs(table.migrations["x"], table, {}, at) for at in (1.0, 2.0)] == [{}, {}]
    assert caplog.text.count("what migrations will cost can't be known") == 1
