"""Commands to a migration from a laptop: carried out at once, refused with a reason, and recorded either way."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

import pytest

from policies.evidence import Evidence, Side
from policies.migration_state import Move, Phase, Seen
from proxy.cli import EXIT_CANNOT_START, EXIT_FINDINGS, EXIT_OK, EXIT_REFUSED
from warmers.migrations.ledger import Ledger
from warmers.migrations.report import Report, report

from .commanding import Commanding

CALM = Side(32, 0)


def test_start_pause_resume_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each says what it has done; the state that proxies read is changed when the command returns."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "apexguru", "--reason", "let's go") == EXIT_OK
    assert "10% of the traffic goes to the new target" in capsys.readouterr().out
    for verb, said in (("pause", "paused: lunch"), ("resume", "resumed: lunch")):
        assert pointsman("migrate", verb, "apexguru", "--reason", "lunch") == EXIT_OK
        assert said in capsys.readouterr().out
    assert pointsman("migrate", "rollback", "apexguru", "--reason", "odd answers", "--as", "ann") == EXIT_OK
    state = pointsman.kept(lambda ledger: ledger.states())["apexguru"].state
    assert state.phase in (Phase.ROLLED_BACK, Phase.ROLLING_BACK)
    history = pointsman.kept(lambda ledger: ledger.history("apexguru"))
    assert [one["event"] for one in history if one["command"]] == [
        "started",
        "paused",
        "resumed",
        "rollback",
    ]
    assert history[-1]["who"] in ("ann", "controller")
    assert "@" in history[0]["who"]


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (None, "errors of apexguru: no evidence of this step"),
        (Side(3, 3), "errors of apexguru: old 0.000% of 32, new 100.000% of 3"),
    ],
)
def test_promotion_into_what_nobody_has_seen_is_refused(
    new: Side | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without evidence, or with some that looks very bad: it says so, and is not carried out later either."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    pointsman.kept(lambda ledger: saw(ledger, new))
    assert pointsman("migrate", "promote", "apexguru", "--reason", "r") == EXIT_REFUSED
    assert told in capsys.readouterr().out
    state = pointsman.kept(lambda ledger: ledger.states())["apexguru"].state
    assert (state.step, state.waived) == (0, False)


def test_promotion_goes_on_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With some evidence that does not look bad, and room that the controller has lately seen: its hold is waived."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    pointsman.kept(lambda ledger: saw(ledger, Side(10, 0)))
    assert pointsman("migrate", "promote", "apexguru", "--reason", "r", "--as", "ann") == EXIT_OK
    assert "50% of the traffic goes to the new target" in capsys.readouterr().out


def test_promotion_at_a_red_gate_is_refused_and_takes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says both, and its exit code is that of a refusal."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    pointsman.kept(lambda ledger: saw(ledger, Side(1000, 900), Side(1000, 0)))
    assert pointsman("migrate", "promote", "apexguru", "--reason", "r") == EXIT_REFUSED
    told = capsys.readouterr().out
    assert "apexguru: refused: promote (r): it can't go on now: collecting evidence: errors of apexguru is red" in told
    assert "migration apexguru breached: errors of apexguru" in told
    assert told.endswith("apexguru: 0% of the traffic goes to the new target\n")


def test_command_that_nobody_may_follow_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is carried out all the same; where a controller spoke lately nothing is said."""
    pointsman = Commanding(tmp_path)
    pointsman.publish(pointsman.plan)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    for ago, said in ((0.0, False), (600.0, True)):
        pointsman.kept(partial(spoke, time.time() - ago))
        capsys.readouterr()
        assert pointsman("migrate", "pause" if said else "resume", "apexguru", "--reason", "r") in (
            EXIT_OK,
            EXIT_REFUSED,
        )
        assert ("no proxy has decided about apexguru for 10m" in capsys.readouterr().err) is said


def test_clock_that_is_behind_the_controllers_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command goes by the controller's, so that what it begins is neither too old nor over at once."""
    pointsman = Commanding(tmp_path)
    pointsman.publish(pointsman.plan)
    ahead = time.time() + 7200.0
    pointsman.kept(partial(spoke, ahead))
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    told = capsys.readouterr().err
    assert "pointsman: this machine's clock is " in told
    assert "behind the controller's: going by that one" in told
    assert pointsman.kept(lambda ledger: ledger.states())["apexguru"].state.since >= ahead


async def spoke(at: float, ledger: Ledger) -> None:
    """A controller has looked then."""
    await ledger.tell("apexguru", Report(at, 1, "holding"), 1)


async def saw(ledger: Ledger, new: Side | None, old: Side = CALM) -> None:
    """Evidence of the step, and a controller that has seen room for everything."""
    state = (await ledger.states())["apexguru"].state
    if new is not None:
        await ledger.saw("apexguru", state.window_id, "w", {"apexguru": Evidence(old, new, at=time.time())})
    await ledger.tell("apexguru", report(Move(state), Seen(state.window_id, (), {"apexguru": 1.0}), time.time()), 1)


def test_refused_command_is_three(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is the answer; scripts see it from the exit code, and from the JSON."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "approve", "apexguru", "--reason", "r", "--json") == EXIT_REFUSED
    found = json.loads(capsys.readouterr().out)
    assert (found["done"], found["phase"], found["share"]) == (False, "planned", 0.0)
    assert pointsman("migrate", "rollback", "apexguru", "--reason", "r") == EXIT_REFUSED
    assert "refused: rollback (r): there is nothing to roll back" in capsys.readouterr().out


def test_command_needs_a_reason(tmp_path: Path) -> None:
    """Without one nothing happens."""
    pointsman = Commanding(tmp_path)
    with pytest.raises(SystemExit) as ended:
        pointsman("migrate", "start", "apexguru")
    assert ended.value.code == EXIT_CANNOT_START


def test_name_that_no_migration_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The answer lists those that there are."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "plain", "--reason", "r") == EXIT_CANNOT_START
    assert "has no migration 'plain'; it has: apexguru" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["both", "apexguru"])
def test_group_and_member_are_both_its_name(name: str, tmp_path: Path) -> None:
    """Whoever is woken knows the one or the other; what moves together is commanded together."""
    pointsman = Commanding(tmp_path)
    text = pointsman.policy.read_text().replace("      to: import\n", "      to: import\n      group: both\n")
    pointsman.policy.write_text(text)
    assert pointsman("migrate", "start", name, "--reason", "r") == EXIT_OK
    assert pointsman("bypass", name, "--for", "2h", "--reason", "r") == EXIT_OK
    assert pointsman.kept(lambda ledger: ledger.states())["both"].state.bypass is not None
    assert pointsman("migrate", "resume", name, "--reason", "r") == EXIT_OK
    assert pointsman("migrate", "status", name) == EXIT_OK
    assert pointsman("migrate", "history", name) == EXIT_OK


def test_another_policy_than_the_fleets_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A laptop with an old checkout can neither rewrite the steps nor what is moved; it is told what to do."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    before = pointsman.kept(lambda ledger: ledger.states())
    text = pointsman.policy.read_text()
    for changed in (text.replace("50%", "40%"), text.replace("endpoint: import", "endpoint: another")):
        pointsman.policy.write_text(changed)
        assert pointsman("migrate", "pause", "apexguru", "--reason", "r") == EXIT_CANNOT_START
        assert "give the policy file that the proxies have" in capsys.readouterr().err
    assert pointsman.kept(lambda ledger: ledger.states()) == before


def test_policy_that_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its problems are told as `pointsman check` tells them."""
    pointsman = Commanding(tmp_path)
    pointsman.policy.write_text("apiVersion: pointsman/v1\n")
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_CANNOT_START
    told = capsys.readouterr().err
    assert "account" in told
    assert "nothing was done: give --policy a copy of the policy in force" in told


BROKEN = {
    "half edited": lambda text: text.replace("50%", "5%"),
    "a variable": lambda text: text.replace("endpoint: gpu", "endpoint: ${POINTSMAN_TEST_NOT_SET}"),
    "other steps": lambda text: text.replace("50%", "40%"),
    "no migration": lambda text: text[: text.index("    migrate:")],
}


@pytest.mark.parametrize("change", BROKEN)
@pytest.mark.parametrize(
    ("words", "share"),
    [
        (("migrate", "pause", "apexguru"), 0.1),
        (("migrate", "rollback", "apexguru"), 0.0),
        (("bypass", "--all", "--for", "2h"), 0.0),
        (("bypass", "apexguru", "--for", "2h"), 0.0),
    ],
)
def test_what_takes_back_needs_no_policy(change: str, words: tuple[str, ...], share: float, tmp_path: Path) -> None:
    """Whatever has become of the file: it goes by the plan that the controller has left."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    pointsman.publish(pointsman.plan)
    pointsman.policy.write_text(BROKEN[change](pointsman.policy.read_text()))
    assert pointsman(*words, "--reason", "night") == EXIT_OK
    state = pointsman.kept(lambda ledger: ledger.states())["apexguru"].state
    assert state.in_force[0] in (share, 0.1 if state.phase is Phase.ROLLING_BACK else share)
    assert state.phase is not Phase.RUNNING or (state.paused or state.bypass)
    for verb in ("resume", "promote", "approve"):
        assert pointsman("migrate", verb, "apexguru", "--reason", "r") == EXIT_CANNOT_START


@pytest.mark.parametrize(
    "words",
    [("migrate", "pause", "apexguru"), ("migrate", "rollback", "apexguru"), ("bypass", "--all", "--for", "2h")],
)
def test_a_policy_that_differs_is_told_of(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What takes back goes by the fleet's and says so; what lets grow is refused and names the keys that differ."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    pointsman.publish(pointsman.plan)
    assert pointsman("migrate", "status", "apexguru") == EXIT_OK
    assert "differs" not in capsys.readouterr().out
    pointsman.policy.write_text(pointsman.policy.read_text().replace("+1 points", "+50 points"))
    assert pointsman("migrate", "status", "apexguru") == EXIT_FINDINGS
    assert "! this policy differs from the fleet's: gates" in capsys.readouterr().out
    assert pointsman("migrate", "promote", "apexguru", "--reason", "r") == EXIT_CANNOT_START
    assert "says something else (gates) than the migration apexguru that the fleet runs" in capsys.readouterr().err
    assert pointsman(*words, "--reason", "night") == EXIT_OK
    told = "this policy differs from the fleet's at migration apexguru (gates): going by the fleet's"
    assert told in capsys.readouterr().err


def test_start_before_a_proxy_has_the_migration_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no error, and nothing moves until then; where the proxies have it nothing is said."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    assert "no proxy has said yet that its policy has a migration apexguru" in capsys.readouterr().err
    assert pointsman("migrate", "rollback", "apexguru", "--reason", "r") == EXIT_OK
    pointsman.publish(pointsman.plan)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    assert capsys.readouterr().err == ""


def test_looking_needs_no_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what is wrong with the file, and where the fleet stands all the same."""
    pointsman = Commanding(tmp_path)
    assert pointsman("migrate", "start", "apexguru", "--reason", "r") == EXIT_OK
    pointsman.publish(pointsman.plan)
    pointsman.policy.unlink()
    capsys.readouterr()
    assert pointsman("migrate", "status", "apexguru") == EXIT_OK
    told = capsys.readouterr()
    assert "cannot read" in told.err
    assert "going by the plans in force" in told.err
    assert "at step 1 of 3: 10% of the traffic" in told.out
    assert pointsman("migrate", "history", "apexguru") == EXIT_OK
