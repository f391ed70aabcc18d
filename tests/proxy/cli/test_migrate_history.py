"""The audit record of a migration, for people and for machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from policies.evidence import Evidence, Side
from proxy.cli import EXIT_OK
from warmers.migrations.ledger import Ledger

from .commanding import Commanding


def test_every_decision_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When, who, what it moved, why, and the requests it rested on."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "history", "apexguru") == EXIT_OK
    assert "nothing was decided yet" in capsys.readouterr().out
    pointsman("migrate", "start", "apexguru", "--reason", "let's go", "--as", "ann")

    async def see(ledger: Ledger) -> None:
        await ledger.saw("apexguru", "1.1", "w", {"apexguru": Evidence(Side(900, 3), Side(100, 1))})

    pointsman.kept(see)
    pointsman("migrate", "pause", "apexguru", "--reason", "lunch", "--as", "bob")
    capsys.readouterr()
    assert pointsman("migrate", "history", "apexguru") == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("Z ann: started: let's go")
    assert "controller: grew [0% -> 10%]: to step 1 of 3" in lines[1]
    assert lines[2].endswith("bob: paused: lunch")
    assert lines[3] == "    apexguru: old 900 requests, 3 errors; new 100 requests, 1 errors"
    assert pointsman("migrate", "history", "apexguru", "--json") == EXIT_OK
    found = json.loads(capsys.readouterr().out)
    assert [one["event"] for one in found["records"]] == ["started", "grew", "paused"]
