"""Migrations in one process: what is there with shared state, and what is said without."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from backends.migration_counts import MigrationCounts
from policies.migration_state import Decision, Event, Verb
from policies.table import Route
from proxy.alerts import Alerts
from proxy.migrating import LATE, teller
from proxy.settings import read
from proxy.wiring import serving, static_credentials
from tests.proxy.cli.commanding import POLICY, Commanding


def shown(table_route: object) -> float:
    assert isinstance(table_route, Route)
    return table_route.shift.share if table_route.shift is not None else 0.0


async def test_a_process_that_starts_serves_the_step_that_the_fleet_is_at(tmp_path: Path) -> None:
    """From its first request on: nobody is sent back to the old target by a restart."""
    laptop = Commanding(tmp_path)
    await laptop.order(Verb.START)
    given = {
        "policy": str(laptop.policy),
        "state": laptop.address,
        "log": str(tmp_path / "log"),
        "state_copy": str(tmp_path),
    }
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
    given = {
        "policy": str(laptop.policy),
        "state": laptop.address,
        "log": str(tmp_path / "log"),
        "state_copy": str(tmp_path),
    }
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
    given = {"policy": str(laptop.policy), "log": str(tmp_path / "log"), "state_copy": str(tmp_path)}
    async with serving(read(given, {}), {}, static_credentials("a", "b")) as services:
        assert (services.follower, services.controller) == (None, None)
    assert "the policy has migrations (apexguru) and no --state" in caplog.text


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


class Told(Alerts):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.decisions: list[Decision] = []

    def tell(self, decision: Decision) -> None:
        self.decisions.append(decision)
