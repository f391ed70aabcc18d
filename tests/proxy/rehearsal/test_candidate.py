"""A target and its candidate under load, in virtual time: what two published rows predict, and what failures do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backends.emulator.config import EmulatorConfig, load_config
from proxy.rehearsal.candidate import measured, only
from proxy.rehearsal.candidate_table import PUBLISHED, Row
from proxy.rehearsal.pressing import PAUSE, Load
from proxy.rehearsal.standins import Pointed, pointed, stand_in

CALIBRATED = Path(__file__).parents[3] / "examples" / "bench-candidate"
PACKED = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  old: {kind: endpoint, endpoint: old, region: us-east-1, speaks: openai-chat}
  new: {kind: endpoint, endpoint: new, region: us-east-1, speaks: openai-chat}
endpoints:
  pack:
    clients_speak: openai-chat
    components:
      chat: {serve_from: old, fallback: [new]}
      other: {serve_from: new}
  alone: {clients_speak: openai-chat, serve_from: new}
"""


def ready(policy: str, stand_ins: str | None) -> tuple[Pointed, EmulatorConfig]:
    def read(name: str) -> str:
        raise FileNotFoundError(name)

    return pointed(
        policy, "policy.yaml", {}, read, None if stand_ins is None else load_config(stand_ins, "emulator.yaml")
    )


def salesforce(target: str, load: Load, change: tuple[str, str] = ("", "")) -> tuple[Row, ...]:
    """Rows of one side of the example; `change` is a part of its stand-ins' text, and what it becomes."""
    text = (CALIBRATED / "emulator.yaml").read_text()
    policy, config = ready((CALIBRATED / "policy.yaml").read_text(), text.replace(*change) if change[0] else text)
    route = next(iter(policy.table.routes.values()))
    alone = only(policy, route, target)
    return tuple(measured(alone, config, route.key, stand_in(policy.table.targets[target], config), load))


@pytest.mark.parametrize(("concurrency", "seconds", "copies"), [(1, 600, 1), (4, 600, 1), (16, 300, 1), (32, 600, 2)])
def test_two_published_rows_predict_the_other_two(concurrency: int, seconds: float, copies: int) -> None:
    """Calibrated on 1 and 16 at a time, 4 and 32 come out within a tenth of what was published, over ten minutes.

    At 32 a second copy comes after half of them.
    """
    (row,) = salesforce("apexguru-import", Load((concurrency,), seconds, 0))
    p95, rate = PUBLISHED[concurrency]
    assert row.p95 == pytest.approx(p95, rel=0.1)
    assert row.per_minute == pytest.approx(rate, rel=0.05)
    assert (row.copies, row.failures) == (copies, {})


def test_the_same_seed_gives_the_same_rows() -> None:
    """To the last digit; another seed gives others."""
    first, again = (salesforce("apexguru-gpu", Load((2,), 60, 10, seed=1)) for _ in range(2))
    assert first == again
    assert salesforce("apexguru-gpu", Load((2,), 60, 10, seed=2)) != first


def test_calls_that_fail_at_once_are_counted_and_pause() -> None:
    """The clock goes on although nothing takes time: each client fails about once a second, and there is no latency."""
    faulty = ("    units: 1\n", "    units: 1\n    faults: [ValidationException]\n")
    (row,) = salesforce("apexguru-import", Load((2,), 60, 5), faulty)
    assert (row.p95, row.per_minute, list(row.failures)) == (None, 0, ["424"])
    assert row.failures["424"] == pytest.approx(2 * 60 / PAUSE, rel=0.1)


def test_a_side_is_measured_alone() -> None:
    """Neither fallback nor other routes are left, and the component's own target is the one that was named."""
    policy, _ = ready(PACKED, None)
    route = next(route for route in policy.table.routes.values() if route.key == "pack/chat")
    alone = only(policy, route, "new")
    there = next(route for route in alone.table.routes.values() if route.key == "pack/chat")
    assert [one.target.name for one in there.serve] == ["new"]
    assert there.fallback == ()
    assert list(json.loads(alone.text)["endpoints"]) == ["pack"]
