"""What commands to a fleet share: where its policy and its state are, and who gives them."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

import pytest

from backends.state import Store
from policies.table import RouteTable
from proxy.cli import EXIT_CANNOT_START, main
from proxy.cli.fleet import one_line, who, with_fleet

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
    told = capsys.readouterr().err
    assert "127.0.0.1:1" in told
    assert "the proxies keep their shares meanwhile; try again, or take everything home by a policy without" in told


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


@pytest.mark.parametrize(
    ("text", "line"),
    [(" because\tof it\n", "because of it"), ("a\x1b[2Jb\u2028c", "a [2Jb c"), ("x" * 1000, "x" * 1000)],
)
def test_a_reason_is_one_line(text: str, line: str) -> None:
    """It is in logs, records and on pagers, where a second line would pass for another's."""
    assert one_line(text) == line


@pytest.mark.parametrize("text", ["", " \n\t", "x" * 1001])
def test_a_reason_says_something_in_few_words(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing, or a whole story, is wrong usage."""
    with pytest.raises(SystemExit) as ended:
        Commanding(tmp_path)("migrate", "start", "apexguru", "--reason", text)
    assert ended.value.code == EXIT_CANNOT_START
    assert "say it in" in capsys.readouterr().err


def test_interrupted_command_says_what_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether it was carried out, and that giving it again is safe; a look at the state has nothing to say."""
    pointsman = Commanding(tmp_path)

    async def work(table: RouteTable, store: Store) -> int:
        raise KeyboardInterrupt

    for words, told in (({"reason": "r"}, "giving it again is safe"), ({}, "")):
        given = Namespace(policy=str(pointsman.policy), state=pointsman.address, json=False, **words)
        with pytest.raises(KeyboardInterrupt):
            with_fleet(given, work)
        assert capsys.readouterr().err.strip().endswith(told)
