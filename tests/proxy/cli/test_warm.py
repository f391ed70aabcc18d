"""`pointsman warm`."""

from __future__ import annotations

import pytest

from proxy.cli import main


def test_actions_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Help names the actions; one that is not there is wrong usage."""
    with pytest.raises(SystemExit) as ended:
        main(["warm", "--help"])
    assert ended.value.code == 0
    assert "run" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["warm", "sun"])
    assert ended.value.code == 2


def test_action_has_its_own_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    """What an action takes is in its own help, and a policy that is not there ends it."""
    with pytest.raises(SystemExit):
        main(["warm", "run", "--help"])
    assert "--once" in capsys.readouterr().out
    assert main(["warm", "run", "no/such/policy.yaml", "--once"]) == 2
    assert "no/such/policy.yaml" in capsys.readouterr().err
