"""Everything home at once: one endpoint or all, for a while, whatever the migration was doing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from policies.migration_state import Phase
from proxy.cli import EXIT_CANNOT_START, EXIT_OK

from .commanding import Commanding


@pytest.mark.parametrize("which", ["apexguru", "--all"])
def test_nothing_goes_to_the_new_target_then(which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At once and for as long as it was given; the step that it was at is kept."""
    pointsman = Commanding(tmp_path)
    pointsman("migrate", "start", "apexguru", "--reason", "r")
    assert pointsman("bypass", which, "--for", "2h", "--reason", "night") == EXIT_OK
    assert "apexguru: is home for 2h" in capsys.readouterr().out
    state = pointsman.kept(lambda ledger: ledger.states())["apexguru"].state
    assert state.in_force == (0.0, 0.0)
    assert (state.phase, state.share) == (Phase.RUNNING, 0.1)
    (record,) = (one for one in pointsman.kept(lambda ledger: ledger.history("apexguru")) if one["event"] == "bypassed")
    assert (record["why"], record["after"], record["alert"]) == ("night", 0.0, True)


def test_what_is_home_already_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no failure, and leaves no record."""
    pointsman = Commanding(tmp_path)
    assert pointsman("bypass", "--all", "--for", "30m", "--reason", "night", "--json") == EXIT_OK
    found = json.loads(capsys.readouterr().out)
    assert found["done"] is True
    assert "served from the old target already" in found["migrations"][0]["why"]
    assert pointsman.kept(lambda ledger: ledger.history("apexguru")) == []


@pytest.mark.parametrize(
    "words",
    [
        ("--for", "2h"),
        ("apexguru", "--all", "--for", "2h"),
        ("apexguru", "--for", "soon"),
        ("apexguru", "--for", "0s"),
        ("plain", "--for", "2h"),
        ("apex", "--for", "2h"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], tmp_path: Path) -> None:
    """Neither one endpoint nor all, no time, or an endpoint that no migration moves."""
    assert Commanding(tmp_path)("bypass", *words, "--reason", "r") == EXIT_CANNOT_START
