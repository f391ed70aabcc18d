"""Which interpreter the engine's environment is made with."""

from __future__ import annotations

import sys

import pytest

from deploy.engine import EnvironmentFailedError, engine_python


def test_our_own_interpreter_is_taken_when_it_fits() -> None:
    """On Python 3.11 nothing else is looked for."""
    assert engine_python((3, 11), ("Linux", "x86_64")) == sys.executable


def test_other_machine_is_refused_with_a_way_out() -> None:
    """The line names the machine and what works there."""
    with pytest.raises(EnvironmentFailedError, match="Darwin on arm64; use `make run`"):
        engine_python((3, 11), ("Darwin", "arm64"))


def test_other_python_is_refused_when_there_is_no_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names both releases."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EnvironmentFailedError, match=r"locked for Python 3\.11; this is 3\.13"):
        engine_python((3, 13), ("Linux", "x86_64"))
