"""A trace through the real proxy in virtual time: what must come out is known beforehand."""

from __future__ import annotations

from tests.proxy.rehearsal.played import COLD, MOVING, SHADOWED, played


def test_cold_misses_are_those_of_the_trace() -> None:
    """A request after the idle limit meets the import cold and spills; those within it, and after its restore, do not.

    The import starts warm and goes after 15 minutes: the requests at 30:00 and 70:00 meet it cold, the one at 30:10
    comes while it loads, and the rest are answered by it.
    """
    moments = [(60.0, 1), (600.0, 1), (600.0 + 1200, 1), (600.0 + 1210, 1), (2400.0, 1), (4200.0, 1)]
    tally, outcome, _ = played(COLD, {"chat": moments}, 4800.0)
    model = tally.models["chat"]
    assert (model.requests, model.statuses[200], outcome.unanswered) == (6, 6, 0)
    assert (model.cold, model.spilled) == (3, 3)
    assert dict(model.answered_by) == {"import": 3, "gpu": 3}


def test_the_same_seed_is_the_same_rehearsal() -> None:
    """Two runs agree to the last digit of every latency; another seed has others."""
    moments = {"chat": [(10.0 * turn, 2) for turn in range(60)]}
    first, again, other = (played(COLD, moments, 700.0, seed, streams=0.3)[0] for seed in (1, 1, 2))
    assert first.models["chat"].seconds == again.models["chat"].seconds
    assert first.states == again.states
    assert first.models["chat"].seconds != other.models["chat"].seconds
    assert len(first.models["chat"].first) > 0


def test_a_migration_goes_its_way_and_says_when() -> None:
    """It is started at the beginning, agreed to where somebody has to, and at 100 % after its holds."""
    moments = {"chat": [(20.0 * turn, 1) for turn in range(720)]}
    tally, outcome, _ = played(MOVING, moments, 14_400.0)
    history = outcome.histories["chat"]
    events = [each["event"] for each in history]
    assert events[0] == "started"
    assert "done" in events or any("100%" in each["summary"] for each in history)
    assert tally.models["chat"].failed == 0
    assert tally.models["chat"].shares[0]["new"] < tally.models["chat"].shares[0]["old"]
    assert set(tally.models["chat"].shares[-1]) == {"new"}


def test_it_may_begin_in_1970() -> None:
    """Where time since 1970 has finer digits than the loop's clock, waits end all the same."""
    moments = [(60.0 + 137.13 * turn, 1 + turn % 3) for turn in range(40)]
    tally, outcome, _ = played(COLD, {"chat": moments}, 6000.0, start=0.37)
    assert (tally.models["chat"].statuses[200], outcome.unanswered) == (tally.requests, 0)


def test_candidate_of_unknown_answers_is_taken_to_agree() -> None:
    """Stand-ins that were made up answer alike, in whatever dialect: no gate of agreement is red for that."""
    moments = [(10.0 * turn, 1) for turn in range(500)]
    _, outcome, _ = played(SHADOWED, {"chat": moments}, 5400.0)
    assert [each["event"] for each in outcome.histories["chat"]] == ["started", "grew", "grew", "done"]
    assert outcome.ends["chat"] == ("done",)


def test_a_migration_that_is_not_done_says_what_it_waits_for() -> None:
    """Where nothing was decided as well: a freeze is no decision, and a reader has to learn of it."""
    _, outcome, _ = played(SHADOWED, {"chat": [(10.0, 1)]}, 1800.0)
    standing, *waits = outcome.ends["chat"]
    assert standing == "shadow"
    assert waits[0].startswith("holding: for another 30m")
    assert any(one.startswith("collecting evidence: agreement of chat") for one in waits)
    frozen = SHADOWED.replace("05:00-06:00", "00:00-06:00")
    _, outcome, _ = played(frozen, {"chat": [(10.0, 1)]}, 600.0)
    assert outcome.ends["chat"] == ("frozen", "frozen: by the policy")
