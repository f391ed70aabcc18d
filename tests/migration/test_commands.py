"""A command from elsewhere reaches every proxy in the time that is promised, also those without an admin port."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.migration.journey import BODY, CREDENTIALS, Fleet, pager, policy_of
from tests.standins import emulator_in_thread

PATIENCE = 120.0
"""Seconds to wait on the busiest of machines; one that is free needs the promised ten, which are two looks."""


@contextmanager
def container(fleet: Fleet, log: Path, *flags: str) -> Iterator[str]:
    """A proxy as SageMaker starts it: one port, which serves one endpoint's contract, and nothing for operators."""
    words = (
        "--policy",
        str(fleet.policy),
        "--state",
        fleet.address,
        "--state-copy",
        str(log.parent),
        "--log",
        str(log),
    )
    face = ("--face", "container", "--endpoint", "apexguru", "--host", "127.0.0.1", "--port", "0")
    errors = log.with_name(f"{uuid.uuid4().hex}.err")
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "proxy", "serve", *words, *face, *flags], stdout=subprocess.PIPE, stderr=stderr
        )
    assert process.stdout is not None
    with process.stdout:
        try:
            line = process.stdout.readline()
            assert line, errors.read_text()
            ready = json.loads(line)
            assert ready["admin_port"] is None
            yield f"http://127.0.0.1:{ready['port']}"
        finally:
            process.terminate()
            process.wait(60)


def until_served_by(urls: list[str], targets: set[str]) -> None:
    """Until, of each proxy, thirty requests in a row are answered by these targets and no others."""
    end = time.monotonic() + PATIENCE
    while any((found := answering(url)) != targets for url in urls):
        assert time.monotonic() < end, found
        time.sleep(0.1)


def answering(url: str) -> set[str]:
    found = set()
    for number in range(30):
        headers = {"Content-Type": "application/json", "X-Amzn-SageMaker-Inference-Id": f"caller-{number}"}
        with urllib.request.urlopen(urllib.request.Request(f"{url}/invocations", BODY, headers)) as answer:
            found.add(answer.headers["x-pointsman-target"])
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_command_is_in_force_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start, and everything home again, with nothing but the policy file and the shared state; the pager rings."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    fleet = Fleet(tmp_path / "policy.yaml", f"sqlite:///{tmp_path / 'state.db'}")
    with emulator_in_thread() as standin, pager() as hook:
        fleet.policy.write_text(policy_of(standin, "[{share: 50%, hold: 1h}, {share: 100%}]"))
        flags = tmp_path / "log", "--alert-url", hook.url
        with container(fleet, *flags) as one, container(fleet, *flags) as other:
            until_served_by([one, other], {"gpu"})
            assert fleet.order("migrate", "start", "apexguru", "--reason", "cheaper") == 0
            until_served_by([one, other], {"gpu", "import"})
            assert fleet.order("bypass", "--all", "--for", "1h", "--reason", "odd answers") == 0
            until_served_by([one, other], {"gpu"})
            assert hook.came.wait(PATIENCE)
    # A set: who has the duty next tells again what may not have arrived.
    assert {(one["event"], one["share_before"], one["alert"]) for one in hook.told} == {("bypassed", 0.5, True)}
