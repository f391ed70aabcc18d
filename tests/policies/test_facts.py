"""The facts that decisions are made from."""

from dataclasses import FrozenInstanceError

import pytest

from policies.facts import FailureFacts, Fault, TargetView


def test_facts_cannot_be_changed() -> None:
    """What was observed stays as observed, wherever it is passed."""
    facts = FailureFacts(Fault.PLATFORM, retry_safe=True, cold=True)
    with pytest.raises(FrozenInstanceError):
        facts.cold = False  # type: ignore[misc]  # the point of the test


def test_nothing_is_assumed_of_a_failure() -> None:
    """What nobody said of a failure is neither throttling, nor a timeout, nor a cold copy."""
    facts = FailureFacts(Fault.MODEL, retry_safe=None)
    assert (facts.throttled, facts.timed_out, facts.cold, facts.retry_after) == (False, False, False, None)


def test_unknown_target_is_taken_as_idle_and_warm() -> None:
    """A target that was never called is worth a try."""
    assert TargetView() == TargetView(in_flight=0, cold=False)


def test_every_fault_has_a_word_of_its_own() -> None:
    """The words go into logs and reasons, so two faults never share one."""
    assert len({fault.value for fault in Fault}) == len(Fault) == 5
