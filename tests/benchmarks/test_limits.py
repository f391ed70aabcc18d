"""The simulation of limits: it plays the same again, it counts what it says, and its command prints a table."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.limits import SCENES, Phase, Simulation, result


def test_a_seed_plays_the_same_again() -> None:
    """Nothing in it is measured."""
    phases = [Phase(20.0, 100.0, 8, 0.2)]
    assert result(phases, 2) == result(phases, 2)
    assert result(phases, 2, seed=2) != result(phases, 2)


def test_every_request_is_finished_refused_or_still_there() -> None:
    """At a target that does no more than it has places for."""
    simulation = Simulation([Phase(60.0, 200.0, 10, 0.1, 0.4)], 3)
    told = simulation.play()
    answered, inside = sum(len(each.answers) for each in told), sum(each.active for each in simulation.processes)
    finished, refused = sum(each.finished for each in told), sum(each.refused for each in told)
    assert len(told) == 60
    assert finished + refused + inside == pytest.approx(60 * 200, rel=0.05)
    assert 0 <= answered - finished <= 10
    assert finished == pytest.approx(60 * 10 / 0.5, rel=0.1)


def test_the_last_phase_counts() -> None:
    """What could be finished is what comes, or what the target does."""
    assert Phase(1.0, 5.0, 10, 1.0).could == 5.0
    assert Phase(1.0, 50.0, 10, 1.0, 1.0).could == 5.0
    came = result([Phase(10.0, 5.0, 1, 0.1), Phase(30.0, 20.0, 100, 0.1)])
    assert came.goodput == pytest.approx(1.0, abs=0.15)
    assert came.refused == 0.0
    assert result([Phase(10.0, 20.0, 100, 0.1), Phase(30.0, 400.0, 1, 0.1)]).refused > 0.9


def test_the_command_prints_a_row_for_each() -> None:
    """Of the scenes that are asked for, by part of their names."""
    said = subprocess.run(
        (sys.executable, "-m", "benchmarks.limits", "--scene", "30 %", "--processes", "1", "2", "--spread", "0.5"),
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert len(said) == 4
    assert [line.split(" | ")[1] for line in said[2:]] == ["1", "2"]
    assert all(line.startswith(f"| {next(iter(SCENES))} | ") for line in said[2:])
