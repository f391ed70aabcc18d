"""What a gate can say."""

from __future__ import annotations

from policies.migrating import Measure
from policies.verdicts import Answer, Verdict


def test_answers_are_three() -> None:
    """There is no fourth that could be taken for good."""
    assert {answer.value for answer in Answer} == {"green", "red", "not yet"}


def test_verdict_has_evidence_unless_it_says_otherwise() -> None:
    """Missing is what nobody may wave through, so that it is never left to a default of True."""
    assert Verdict("x", Measure.ERRORS, Answer.NOT_YET, "few").missing is False
