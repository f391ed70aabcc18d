"""Everything home at once: one endpoint or all, for a while, whatever the migration was doing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from policies.migration_state import Phase
from policies.quantities import show_moment
from proxy.cli import EXIT_CANNOT_START, EXIT_OK

from .commanding import Commanding


@pytest.mark.parametrize("which", ["apexguru", "--all"])
def test_nothing_goes_to_the_new_target_then(which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At once and for as long as it was given; the step that it was at is kept."""
    pointsman = Commanding(tmp_path)
    pointsman("migrate", "start", "apexguru", "--reason", "r")
    assert pointsman("bypass", which, "--for", "2h", "--reason", "night") == EXIT_OK
    state = pointsman.kept(lambda ledger: ledger.states())["apexguru"].state
    until = show_moment(state.bypass or 0.0)
    assert f"apexguru: everything goes to gpu until {until}\n" in capsys.readouterr().out
    assert state.in_force == (0.0, 0.0)
    assert (state.phase, state.share) == (Phase.RUNNING, 0.1)
    (record,) = (one for one in pointsman.kept(lambda ledger: ledger.history("apexguru")) if one["event"] == "bypassed")
    assert (record["why"], record["after"], record["alert"]) == (f"night (until {until})", 0.0, True)


def test_another_bypass_takes_the_place_of_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also when it is shorter; both answers and the audit record say until when it was, so that nobody is surprised."""
    pointsman = Commanding(tmp_path)
    pointsman("migrate", "start", "apexguru", "--reason", "r")
    assert pointsman("bypass", "apexguru", "--for", "2h", "--reason", "night") == EXIT_OK
    first = pointsman.kept(lambda ledger: ledger.states())["apexguru"].state.bypass or 0.0
    assert pointsman("bypass", "apexguru", "--for", "1m", "--reason", "short") == EXIT_OK
    second = pointsman.kept(lambda ledger: ledger.states())["apexguru"].state.bypass or 0.0
    assert second < first
    both = f"until {show_moment(second)}; it was until {show_moment(first)}"
    assert f"apexguru: everything goes to gpu {both}\n" in capsys.readouterr().out
    *_, record = pointsman.kept(lambda ledger: ledger.history("apexguru"))
    assert record["why"] == f"short ({both})"


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
        ("apexguru", "--for", "400d"),
        ("plain", "--for", "2h"),
        ("apex", "--for", "2h"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], tmp_path: Path) -> None:
    """Neither one endpoint nor all, no time, or an endpoint that no migration moves."""
    assert Commanding(tmp_path)("bypass", *words, "--reason", "r") == EXIT_CANNOT_START
