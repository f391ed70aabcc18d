"""The record of a request becomes its outcome and its response headers."""

from __future__ import annotations

from backends.errors import BackendError
from policies.choose import Attempt
from policies.facts import FailureFacts, Fault
from policies.table import Route, Target, VllmSpec, Weighted
from proxy.record import CLIENT_GONE, Record

TARGET = Target("gpu", "vllm", VllmSpec(("http://a",), "m"))
COLD = BackendError(FailureFacts(Fault.PLATFORM, True, throttled=True, cold=True), TARGET, "not ready")


def test_a_request_that_nothing_happened_to_is_one_whose_client_left() -> None:
    """Until an answer is sent, that is how it would end."""
    outcome = Record("r", arrived=10.0, started=1.0).outcome(12.0)
    assert (outcome.status, outcome.ended, outcome.seconds, outcome.endpoint) == (CLIENT_GONE, "client_gone", 2.0, "")


def test_attempts_are_told_in_order_with_their_facts() -> None:
    """Each attempt adds its time to the backend's share, and says how it ended."""
    record = Record("r", arrived=10.0, started=1.0, route=Route("e", "ic", (Weighted(TARGET, 1.0),), owner="us"))
    record.attempted(Attempt(TARGET), 0.5, COLD, answered=False)
    record.attempted(Attempt(TARGET, 1), 0.25, None, answered=True)
    record.head_sent(200)
    record.over("done")
    outcome = record.outcome(11.0)
    assert [(each.failure, each.cold, each.throttled, each.replica) for each in outcome.attempts] == [
        ("not ready", True, True, 0),
        (None, False, False, 1),
    ]
    assert (outcome.backend_seconds, outcome.overhead_seconds, outcome.target) == (0.75, 0.25, "gpu")
    assert (outcome.endpoint, outcome.component, outcome.owner, outcome.ended) == ("e", "ic", "us", "done")


def test_a_targets_own_id_is_kept_of_answers_and_of_failures() -> None:
    """It is what AWS's support and an engine's log ask for, and a failure needs it most."""
    record = Record("r", 0.0, 0.0)
    failed = BackendError(COLD.facts, TARGET, "answered 500", request_id="theirs-1")
    record.attempted(Attempt(TARGET), 0.5, failed, answered=False)
    record.attempted(Attempt(TARGET), 0.5, None, answered=True, named="theirs-2")
    assert [each.upstream_request_id for each in record.attempts] == ["theirs-1", "theirs-2"]


def test_an_attempt_cut_short_is_no_answer() -> None:
    """An attempt that neither answered nor failed was given up with its client."""
    record = Record("r", 0.0, 0.0)
    record.attempted(Attempt(TARGET), 0.5, None, answered=False)
    assert record.attempts[0].failure == "given up: the client went away"


def test_headers_say_what_is_known() -> None:
    """Before any attempt only the overhead is; it is never negative."""
    record = Record("r", arrived=10.0, started=0.0)
    assert record.lines(10.0015) == "x-pointsman-overhead-us: 1500\r\n"
    record.attempted(Attempt(TARGET), 5.0, None, answered=True)
    assert dict(line.split(": ") for line in record.lines(10.0).splitlines()) == {
        "x-pointsman-overhead-us": "0",
        "x-pointsman-target": "gpu",
        "x-pointsman-attempts": "1",
    }


def test_a_failure_in_the_stream_keeps_the_status_that_was_sent() -> None:
    """The head is history; the type says what came after."""
    record = Record("r", 0.0, 0.0)
    record.head_sent(200)
    record.over("upstream_broken", "ModelStreamError")
    outcome = record.outcome(1.0)
    assert (outcome.status, outcome.error_type, outcome.ended) == (200, "ModelStreamError", "upstream_broken")
