"""What commands to a fleet share: where its policy and its state are, and who gives them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy.cli import EXIT_CANNOT_START, main
from proxy.cli.fleet import who

from .commanding import Commanding


def test_places_may_be_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the proxies have them; a flag wins."""
    pointsman = Commanding(tmp_path)
    monkeypatch.setenv("POINTSMAN_POLICY", str(pointsman.policy))
    monkeypatch.setenv("POINTSMAN_STATE", pointsman.address)
    assert main(["migrate", "status"]) == 0
    assert main(["migrate", "status", "--state", "nonsense"]) == EXIT_CANNOT_START


@pytest.mark.parametrize("missing", ["policy", "state"])
def test_what_is_not_named_is_asked_for(missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the flag and the variable that name it."""
    pointsman = Commanding(tmp_path)
    given = {"policy": str(pointsman.policy), "state": pointsman.address}
    other = next(name for name in given if name != missing)
    assert main(["migrate", "status", f"--{other}", given[other]]) == EXIT_CANNOT_START
    assert f"give --{missing}, or set POINTSMAN_{missing.upper()}" in capsys.readouterr().err


def test_state_that_can_not_be_reached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named; nothing else is done."""
    pointsman = Commanding(tmp_path)
    pointsman.address = "valkey://127.0.0.1:1"
    assert pointsman("migrate", "status") == EXIT_CANNOT_START
    assert "127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("migrate", "status"),
        ("migrate", "history", "apexguru"),
        ("migrate", "rollback", "apexguru", "--reason", "r"),
        ("bypass", "--all", "--for", "2h", "--reason", "r"),
    ],
)
def test_state_that_no_proxy_has_looked_at(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip in the path is no fleet at rest: it is said, and no file is made."""
    pointsman = Commanding(tmp_path, looked=False)
    assert pointsman(*words) == EXIT_CANNOT_START
    told = capsys.readouterr()
    assert "no proxy has ever looked at this state; is it the fleet's --state?" in told.err
    assert told.out == ""
    assert not pointsman.database.exists()


def test_state_that_is_there_and_that_no_proxy_has_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no fleet at rest either, wherever it is kept: a wrong prefix in Valkey, an empty file."""
    pointsman = Commanding(tmp_path, looked=False)
    pointsman.database.touch()
    assert pointsman("migrate", "status") == EXIT_CANNOT_START
    assert "no proxy has ever looked at this state" in capsys.readouterr().err


def test_who_is_the_user_unless_it_is_said() -> None:
    """Also where the user has no name."""
    assert who("ann") == "ann"
    assert who(None).endswith(f"@{os.uname().nodename}")
