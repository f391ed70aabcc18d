"""Where migrations stand, in words and as JSON, and what makes the exit code 1."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from policies.evidence import Evidence, Side
from policies.migrating import Measure
from policies.migration_state import Decision, Event, Move, Phase, Seen, Wait, Waiting
from policies.verdicts import Answer, Verdict
from proxy.cli import EXIT_CANNOT_START, EXIT_FINDINGS, EXIT_OK
from warmers.migrations.audit import records
from warmers.migrations.ledger import Ledger
from warmers.migrations.report import report

from .commanding import Commanding


def test_nobody_has_started_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That is no finding: everything is as planned."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "status") == EXIT_OK
    assert "apexguru: planned: 0% of the traffic" in capsys.readouterr().out


def test_what_the_controller_saw_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Waits, gates with the requests and the time that an answer takes, and the room of the old target."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    pointsman.kept(looked)
    capsys.readouterr()
    assert pointsman("migrate", "status", "apexguru") == EXIT_OK
    said = capsys.readouterr().out
    assert "apexguru: holding at step 1 of 3: 10% of the traffic" in said
    assert "gpu -> import; this window: old 900 requests, 3 errors; new 100, 1" in said
    assert "waits: holding: for another 1h" in said
    assert "gate: errors of apexguru: not yet: old 0.33 %, new 1 %; about 4,000 more requests, " in said
    assert "room: gpu is shown to take 100% of apexguru's traffic" in said
    assert pointsman("migrate", "status", "--json") == EXIT_OK
    (found,) = json.loads(capsys.readouterr().out)["migrations"]
    assert found["standing"] == "holding"
    assert found["routes"]["apexguru"]["new"] == {"target": "import", "requests": 100, "errors": 1, "cold": 0}
    assert found["seen"]["gates"][0]["more"] == 4000


@pytest.mark.parametrize(
    ("unknown", "room", "told"),
    [
        (
            "wait",
            None,
            "room: what gpu could take of apexguru's traffic is not known: it is full or cold, or nobody can say",
        ),
        ("trust", None, "room: what gpu could take of apexguru's traffic is not known: it is full or cold\n"),
        ("trust", 1.0, "room: gpu counts as able to take 100% of apexguru's traffic"),
    ],
)
def test_room_that_is_not_known_is_said(
    unknown: str, room: float | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it is what the policy makes of it."""
    pointsman = Commanding(tmp_path)
    text = pointsman.policy.read_text().replace("can_take: 100%", f"unknown: {unknown}, can_take: 100%")
    pointsman.policy.write_text(text)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    pointsman.kept(partial(looked, room=room))
    assert pointsman("migrate", "status", "apexguru") == EXIT_OK
    assert told in capsys.readouterr().out


async def looked(
    ledger: Ledger, *, answer: Answer = Answer.NOT_YET, ago: float = 0.0, room: float | None = 1.0
) -> None:
    state = (await ledger.states())["apexguru"].state
    await ledger.saw("apexguru", state.window_id, "w", {"apexguru": Evidence(Side(900, 3), Side(100, 1))})
    verdict = Verdict("apexguru", Measure.ERRORS, answer, "old 0.33 %, new 1 %", more=4000)
    seen = Seen(state.window_id, (verdict,), {} if room is None else {"apexguru": room})
    move = Move(state, (), (Wait(Waiting.HOLD, "for another 1h"),))
    await ledger.tell("apexguru", report(move, seen, time.time() - ago), 1)


def test_findings_make_it_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody looks at it, it is paused, a gate is red, everything is bypassed: each is said in a line of its own.

    Gates and room are told before the next look as well: a red gate leads back whoever has paused it.
    """
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    pointsman.kept(aged)
    assert pointsman("migrate", "status") == EXIT_FINDINGS
    assert "! no controller has looked at it ever" in capsys.readouterr().out
    pointsman.kept(lambda ledger: looked(ledger, answer=Answer.RED))
    assert pointsman("migrate", "status") == EXIT_FINDINGS
    assert "! red: errors of apexguru" in capsys.readouterr().out
    pointsman.kept(lambda ledger: looked(ledger, ago=600.0))
    assert pointsman("migrate", "status") == EXIT_FINDINGS
    assert "! no controller has looked at it for 10m" in capsys.readouterr().out
    pointsman.kept(looked)
    assert pointsman("migrate", "pause", "apexguru", "--reason", "lunch") == EXIT_OK
    capsys.readouterr()
    assert pointsman("migrate", "status") == EXIT_FINDINGS
    said = capsys.readouterr().out
    assert "gate: errors of apexguru: not yet: " in said
    assert "room: gpu is shown to take 100% of apexguru's traffic" in said
    assert pointsman("bypass", "--all", "--for", "2h", "--reason", "night") == EXIT_OK
    assert pointsman("migrate", "status") == EXIT_FINDINGS
    said = capsys.readouterr().out
    assert "! paused: lunch" in said
    assert "! bypassed: for another" in said


async def aged(ledger: Ledger) -> None:
    """It was started ten minutes ago."""
    kept = (await ledger.states())["apexguru"]
    older = replace(kept.state, since=kept.state.since - 600, version=kept.state.version + 1)
    assert await ledger.write(kept, older, ())


def test_a_start_waits_for_the_controller(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody has looked at yet, a moment after it began, is no finding; it is said who has to look."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    assert pointsman("migrate", "status", "apexguru") == EXIT_OK
    said = capsys.readouterr().out
    assert "  waits: a first look of the controller: any proxy with this state and policy" in said
    pointsman.kept(looked)
    assert pointsman("migrate", "status", "apexguru") == EXIT_OK
    assert "a first look" not in capsys.readouterr().out


@pytest.mark.parametrize(("event", "code"), [(Event.BREACHED, EXIT_FINDINGS), (Event.ROLLBACK, EXIT_OK)])
def test_way_back_that_nobody_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], event: Event, code: int
) -> None:
    """A breach that led to the start is a finding until somebody starts anew; a person's rollback is none."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK

    async def back(ledger: Ledger) -> None:
        kept = (await ledger.states())["apexguru"]
        state = replace(
            kept.state, phase=Phase.ROLLED_BACK, share=0.0, version=kept.state.version + 1, why="3 of 3 fail"
        )
        decision = Decision("apexguru", event, time.time(), "w", "3 of 3 fail", 0.1, 0.0, -1, state.version)
        assert await ledger.write(kept, state, records([decision]))
        await ledger.tell("apexguru", report(Move(state), Seen(), time.time()), 1)

    pointsman.kept(back)
    capsys.readouterr()
    assert pointsman("migrate", "status") == code
    found = "! taken back by a breach: 3 of 3 fail; `pointsman migrate start` begins anew"
    assert (found in capsys.readouterr().out) is (code == EXIT_FINDINGS)
    assert pointsman("migrate", "start", "apexguru", "--reason", "again") == EXIT_OK
    pointsman.kept(looked)
    assert pointsman("migrate", "status") == EXIT_OK


def test_policy_that_moves_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is shown is the fleet's state, and that this policy is not the fleet's."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    pointsman.policy.write_text(pointsman.policy.read_text().replace("endpoint: import", "endpoint: another"))
    assert pointsman("migrate", "status") == EXIT_FINDINGS
    assert "! the fleet runs another migration under this name" in capsys.readouterr().out


def test_name_that_no_migration_has(tmp_path: Path) -> None:
    """It is wrong usage."""
    assert Commanding(tmp_path)("migrate", "status", "plain") == EXIT_CANNOT_START


@pytest.mark.parametrize(("ago", "code"), [(86_400.0, EXIT_OK), (15 * 86_400.0, EXIT_FINDINGS)])
def test_what_is_kept_after_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str], ago: float, code: int) -> None:
    """Until when the old target is kept, and once that is over, what is left to do."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK

    async def finished(ledger: Ledger) -> None:
        kept = (await ledger.states())["apexguru"]
        done = replace(kept.state, phase=Phase.DONE, step=2, share=1.0, done_at=time.time() - ago)
        assert await ledger.write(kept, replace(done, version=kept.state.version + 1), ())
        await ledger.tell("apexguru", report(Move(done), Seen(), time.time()), 1)

    pointsman.kept(finished)
    capsys.readouterr()
    assert pointsman("migrate", "status") == code
    said = capsys.readouterr().out
    assert "  keep: gpu until 20" in said
    assert ("! gpu need not be kept any longer" in said) is (code == EXIT_FINDINGS)
