"""A model moves from a dedicated endpoint to an import while boto3 clients call, and things go wrong on the way."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from policies.migration_state import Phase
from tests.migration.journey import CREDENTIALS, LOOK, Clients, Fleet, policy_of, watched
from tests.proxy.workers.serving import served
from tests.standins import emulator_in_thread

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def flags(fleet: Fleet) -> tuple[str, ...]:
    return ("--state", fleet.address, "--state-poll", str(LOOK))


def test_all_the_way_with_a_killed_worker_and_a_reload(tmp_path: Path) -> None:
    """No failed call, none beyond its deadline, and every step in the audit record with the requests it rests on.

    Two workers; the one that decides is killed at 25 %, the policy is reloaded at 5 %, a person approves 50 %.
    """
    fleet = Fleet(tmp_path / "policy.yaml", f"sqlite:///{tmp_path / 'state.db'}")
    with emulator_in_thread() as standin, served(tmp_path, policy_of(standin), *flags(fleet)) as serving:
        with watched(Clients(serving.port)) as clients:
            assert fleet.order("migrate", "start", "apexguru", "--reason", "cheaper") == 0
            fleet.until(lambda kept: kept.state.share == 0.05)
            serving.policy.write_text(policy_of(standin, more="  another: {serve_from: gpu}\n"))
            serving.process.send_signal(signal.SIGHUP)
            fleet.until(lambda kept: kept.state.share == 0.25)
            os.kill(serving.pids()[0], signal.SIGKILL)
            fleet.until(lambda kept: kept.state.share == 0.5)
            fleet.until(lambda kept: fleet.order("migrate", "approve", "apexguru", "--reason", "fine") == 0)
            fleet.until(lambda kept: kept.state.phase is Phase.DONE)
            before = clients.answers["gpu"]
            fleet.until(lambda kept: clients.answers["import"] > before)
    history = fleet.history()
    shares = [one["after"] for one in history if one["event"] == "grew"]
    assert shares == [0.05, 0.25, 0.5, 1.0]
    assert [one["event"] for one in history if one["who"] != "controller" and one["event"] != "refused"] == [
        "started",
        "approved",
    ]
    for one in history:
        if one["event"] == "grew" and one["before"] > 0:
            assert one["requests"]["apexguru"]["new"][0] > 0
            assert {gate["answer"] for gate in one["gates"]} == {"green"}
