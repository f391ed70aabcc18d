"""Migrations in one process: what is there with shared state, and what is said without."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from policies.load import load_policy
from policies.migration_state import Decision, Event, Verb
from policies.table import Route
from proxy.migrating import costs_of, say
from proxy.settings import read
from proxy.wiring import serving, static_credentials
from tests.proxy.cli.commanding import POLICY, Commanding
from warmers.prices import SHIPPED


def shown(table_route: object) -> float:
    assert isinstance(table_route, Route)
    return table_route.shift.share if table_route.shift is not None else 0.0


async def test_a_process_that_starts_serves_the_step_that_the_fleet_is_at(tmp_path: Path) -> None:
    """From its first request on: nobody is sent back to the old target by a restart."""
    laptop = Commanding(tmp_path)
    await laptop.order(Verb.START)
    given = {"policy": str(laptop.policy), "state": laptop.address, "log": str(tmp_path / "log"), "face": "all"}
    async with serving(read(given, {}), {}, static_credentials("a", "b")) as services:
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
    given = {"policy": str(laptop.policy), "state": laptop.address, "log": str(tmp_path / "log"), "face": "all"}
    async with serving(read(given, {}), {}, static_credentials("a", "b")) as services:
        laptop.policy.write_text(POLICY + "  another: {serve_from: gpu}\n")
        assert await services.policy.reload()
        assert isinstance(services.policy.current.table.lookup("another", None), Route)
        assert shown(services.policy.current.table.lookup("apexguru", None)) == 0.1


async def test_without_shared_state_nothing_moves_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The policy is served as it begins."""
    laptop = Commanding(tmp_path)
    given = {"policy": str(laptop.policy), "log": str(tmp_path / "log"), "face": "all"}
    async with serving(read(given, {}), {}, static_credentials("a", "b")) as services:
        assert (services.follower, services.controller) == (None, None)
    assert "the policy has migrations (apexguru) and no --state" in caplog.text


@pytest.mark.parametrize(("alert", "level"), [(True, logging.WARNING), (False, logging.INFO)])
def test_a_decision_is_one_line_of_the_log(alert: bool, level: int, caplog: pytest.LogCaptureFixture) -> None:
    """A warning where somebody should be woken."""
    with caplog.at_level(logging.INFO):
        say(Decision("x", Event.GREW, 0.0, "controller", "fine", 0.1, 0.5, 1, 2, alert=alert))
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (
        level,
        "migration x grew: fine (0.1 -> 0.5 of the traffic; controller)",
    )


def test_costs_come_from_the_prices(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At those of the file; without a file that can be read none is known, which is said once and stops nothing."""
    cost = "region: us-east-1, cost: {instance: ml.g6e.xlarge"
    table = load_policy(
        f"""\
apiVersion: pointsman/v1
account: "123456789012"
targets: {{a: {{kind: endpoint, endpoint: a, {cost}}}}}, b: {{kind: endpoint, endpoint: b, {cost}, share: 50%}}}}}}
endpoints:
  x:
    serve_from: a
    migrate: {{to: b, steps: [{{share: 100%}}], gates: {{cost_at_full_share: at most 80%}}}}
""",
        {},
    )
    plan = table.migrations["x"]
    assert costs_of(SHIPPED)(plan, table, 7.0)["x"].cost == (7.0, 0.5)
    blind = costs_of(tmp_path / "none.yaml")
    assert (blind(plan, table, 7.0), blind(plan, table, 8.0)) == ({}, {})
    assert [record.message for record in caplog.records if "can't be known" in record.message] == [
        f"what migrations will cost can't be known: [Errno 2] No such file or directory: '{tmp_path / 'none.yaml'}'"
    ]
