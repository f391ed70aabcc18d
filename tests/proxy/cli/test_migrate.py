"""`pointsman migrate ACTION`: every action can be had and says what it is for."""

from __future__ import annotations

import argparse

import pytest

from proxy.cli import migrate


@pytest.mark.parametrize("name", migrate.ACTIONS)
def test_each_action_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` behind it shows its flags."""
    parser = argparse.ArgumentParser()
    migrate.configure(parser)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([name, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "--json" in said
    assert ("--reason" in said) == (name in {"start", "pause", "resume", "approve", "promote", "rollback"})


def test_no_action_is_wrong_usage() -> None:
    """The usage is printed instead of a guess."""
    parser = argparse.ArgumentParser()
    migrate.configure(parser)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([])
    assert ended.value.code == 2
