"""What a measurement starts: what it sees of this machine's settings, and that it ends."""

from __future__ import annotations

import sys

import pytest

from benchmarks.machine import progress
from benchmarks.processes import CREDENTIALS, environment, printed, process


def test_settings_of_the_machine_stay_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile, a flag or a receiver of spans that somebody has set would be measured as well."""
    for name in ("AWS_PROFILE", "POINTSMAN_OTEL", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("KEPT", "y")
    seen = environment()
    assert {name for name, value in seen.items() if value == "x"} == set()
    assert seen["KEPT"] == "y"
    assert seen.items() >= CREDENTIALS.items()


@pytest.mark.slow
def test_child_ends_with_its_block_also_when_it_will_not() -> None:
    """Its first line says that it is ready; one that ignores SIGTERM is killed."""
    stubborn = "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
    with process([sys.executable, "-c", stubborn], patience=0.1) as child:
        assert printed(child) == "ready\n"
    assert child.returncode == -9


@pytest.mark.slow
def test_child_that_does_not_start_ends_the_measurement() -> None:
    """With its command, since what it said stands above."""
    with process([sys.executable, "-c", ""]) as child, pytest.raises(SystemExit, match="did not start"):
        printed(child)


@pytest.mark.parametrize(
    ("kept", "told"),
    [(0, "CPU: round 0 of 11, about 11 min more\n"), (10, "CPU: round 10 of 11, about 5 s more\n")],
)
def test_each_round_says_how_long_the_rest_takes(kept: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """From the one that only warms up, so that nobody waits without knowing for what."""
    progress("CPU", kept, 11, began=0.0, now=60.0)
    assert capsys.readouterr().err == told
