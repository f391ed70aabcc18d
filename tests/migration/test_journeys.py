"""A model moves from a dedicated endpoint to an import while boto3 clients call, and things go wrong on the way."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from policies.migration_state import Phase
from tests.migration.journey import CREDENTIALS, LOOK, Clients, Fleet, pager, policy_of, watched
from tests.proxy.workers.serving import Serving, served
from tests.standins import emulator_in_thread
from tests.stores import Places, places

UP_TO_A_QUARTER = "[{share: 5%, hold: 1s}, {share: 25%, hold: 1h}, {share: 100%}]"
BAD = {"name": "InternalServerException", "every": 2}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def flags(fleet: Fleet) -> tuple[str, ...]:
    return ("--state", fleet.address, "--state-poll", str(LOOK), "--state-copy", str(fleet.policy.parent))


def test_all_the_way_with_a_killed_worker_and_a_reload(tmp_path: Path) -> None:
    """No failed call, none beyond its deadline, and every step in the audit record with the requests it rests on.

    Two workers; the one that decides is killed at 25 %, the policy is reloaded at 5 %, a person approves 50 %.
    """
    fleet = Fleet(tmp_path / "policy.yaml", f"sqlite:///{tmp_path / 'state.db'}")
    with (
        emulator_in_thread() as standin,
        served(tmp_path, policy_of(standin), *flags(fleet)) as serving,
        watched(Clients(serving.port)) as clients,
    ):
        assert fleet.order("migrate", "start", "apexguru", "--reason", "cheaper") == 0
        fleet.until(lambda kept: kept.state.share >= 0.05)
        serving.policy.write_text(policy_of(standin, more="  another: {serve_from: gpu}\n"))
        serving.process.send_signal(signal.SIGHUP)
        fleet.until(lambda kept: kept.state.share >= 0.25)
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


@pytest.mark.parametrize("breach", ["start", "last-good"])
def test_candidate_that_turns_bad_is_taken_back(breach: str, tmp_path: Path) -> None:
    """At 25 % every second call of it fails: it goes back by itself, callers see the fallback, and the pager rings."""
    fleet = Fleet(tmp_path / "policy.yaml", f"sqlite:///{tmp_path / 'state.db'}")
    with (
        pager() as hook,
        emulator_in_thread() as standin,
        served(
            tmp_path, policy_of(standin, UP_TO_A_QUARTER, breach=breach), *flags(fleet), "--alert-url", hook.url
        ) as serving,
        watched(Clients(serving.port)) as clients,
    ):
        assert fleet.order("migrate", "start", "apexguru", "--reason", "cheaper") == 0
        fleet.until(lambda kept: kept.state.share == 0.25)
        standin.control("POST", "faults", {"model": "imported", "faults": [BAD]})
        wanted = {"start": 0.0, "last-good": 0.05}[breach]
        kept = fleet.until(lambda kept: kept.state.share == wanted and kept.state.phase is not Phase.ROLLING_BACK)
        standing = clients.answers["import"]
        assert standing > 0
        assert (kept.state.phase is Phase.ROLLED_BACK) == (breach == "start")
        if breach == "last-good":
            assert kept.state.paused is not None
        assert hook.came.wait(60)
    (breached,) = (one for one in fleet.history() if one["event"] == "breached")
    assert breached["alert"] is True
    assert (breached["before"], breached["after"]) == (0.25, wanted)
    assert breached["requests"]["apexguru"]["new"][1] > 0
    assert "breached" in serving.errors.read_text()
    # A set: who has the duty next tells again what may not have arrived.
    assert {(one["event"], one["share_before"], one["alert"]) for one in hook.told} == {("breached", 0.25, True)}
    assert "errors of apexguru" in hook.told[0]["text"]


@pytest.mark.parametrize("kind", ["valkey", "s3"])
def test_controllers_killed_and_the_store_cut_at_random(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets there all the same: no failed call, and no step twice or left out."""
    draw = random.Random(kind)
    with places(tmp_path) as everywhere:
        for name, value in (everywhere.variables() | CREDENTIALS).items():
            monkeypatch.setenv(name, value)
        fleet = Fleet(tmp_path / "policy.yaml", everywhere.address(kind))
        text = "[{share: 5%, hold: 1s}, {share: 25%, hold: 1s}, {share: 50%, hold: 1s}, {share: 100%}]"
        with (
            emulator_in_thread() as standin,
            served(tmp_path, policy_of(standin, text), *flags(fleet)) as serving,
            watched(Clients(serving.port)),
        ):
            assert fleet.order("migrate", "start", "apexguru", "--reason", "cheaper") == 0
            for _ in range(4):
                trouble(draw, everywhere, kind, serving)
            fleet.until(lambda kept: kept.state.phase is Phase.DONE)
        events = [(one["event"], one["after"]) for one in fleet.history()]
    assert events == [
        ("started", 0.0), ("grew", 0.05), ("grew", 0.25), ("grew", 0.5), ("grew", 1.0), ("done", 1.0),
    ]  # fmt: skip


def trouble(draw: random.Random, everywhere: Places, kind: str, serving: Serving) -> None:
    """A worker is killed, or the store can't be reached for a second or so; then a while of calm."""
    if draw.random() < 0.4:
        os.kill(draw.choice(serving.pids()), signal.SIGKILL)
    else:
        with everywhere.cut(kind):
            time.sleep(draw.uniform(0.3, 1.5))
    time.sleep(draw.uniform(0.2, 1.0))
