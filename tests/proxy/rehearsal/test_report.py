"""What a rehearsal says."""

from __future__ import annotations

from proxy.rehearsal.costs import spent
from proxy.rehearsal.report import Story, as_json, report
from tests.proxy.rehearsal.played import COLD, MOVING, START, played
from warmers.prices import open_prices


def story(policy: str = COLD) -> Story:
    moments = {"chat": [(60.0, 3), (1800.0, 2)]}
    tally, outcome, rehearsal = played(policy, moments, 3600.0)
    costs = spent(rehearsal.pointed.table, rehearsal.stand_ins, outcome.ledgers, 3600.0, open_prices())
    return Story("policy.yaml", START, 3600.0, 0, tally, outcome, costs, ("made up",))


def test_the_table_has_a_line_a_model_and_what_it_cost() -> None:
    """Requests, cold ones and seconds of each model; each target's cost; the notes last."""
    text = report(story())
    line = next(line for line in text.splitlines() if line.startswith("chat"))
    assert line.split()[1:6] == ["5", "0", "2", "2", "0"]
    assert "1 x ml.g6e.xlarge, 1.0 hours" in text
    assert text.splitlines()[-1] == "Note: made up"


def test_a_migration_is_told_by_its_records() -> None:
    """When it was started, and what followed."""
    told = story(MOVING)
    assert "2026-07-06 00:00  migration chat started" in report(told)
    assert "\n  at the end: collecting evidence; collecting evidence: errors of chat" in report(told)
    assert as_json(told)["ends"]["chat"][0] == "collecting evidence"


def test_json_says_the_same() -> None:
    """Numbers as they are, keys in order, nothing that differs between two runs."""
    told = as_json(story())
    assert told == as_json(story())
    assert told["models"]["chat"]["spilled"] == 2
    assert told["cost"]["gpu"]["usd"] > 0
