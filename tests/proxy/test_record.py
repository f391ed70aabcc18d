"""The record of a request becomes its outcome and its response headers."""

from __future__ import annotations

from typing import Any

import pytest

from backends.base import Invocation, Usage
from backends.errors import BackendError, Said
from backends.outcome import outcome_of
from policies.choose import Attempt
from policies.facts import FailureFacts, Fault
from policies.load import load_policy
from policies.table import Route, Target, VllmSpec, Weighted
from proxy.policy_source import InForce
from proxy.record import CLIENT_GONE, COURSES, Record

TARGET = Target("gpu", "vllm", VllmSpec(("http://a",), "m"))
COLD = BackendError(FailureFacts(Fault.PLATFORM, True, throttled=True, cold=True), TARGET, "not ready")


def test_a_request_that_nothing_happened_to_is_one_whose_client_left() -> None:
    """Until an answer is sent, that is how it would end."""
    outcome = Record("r", arrived=10.0, started=1.0).outcome(12.0)
    assert (outcome.status, outcome.ended, outcome.seconds, outcome.endpoint) == (CLIENT_GONE, "client_gone", 2.0, "")


@pytest.mark.parametrize(("known", "told"), [({"chat"}, "chat"), (set(), "")])
def test_an_endpoint_is_told_where_the_policy_has_it(known: set[str], told: str) -> None:
    """Any other is a client's word, of which there are as many as clients like."""
    record = Record("r", arrived=10.0, started=0.0)
    record.asked_for("chat", known)
    assert record.outcome(10.5).endpoint == told


def test_attempts_are_told_in_order_with_their_facts() -> None:
    """Each attempt adds its time to the backend's share, and says how it ended."""
    record = Record("r", arrived=10.0, started=1.0)
    record.route = Route("e", "ic", (Weighted(TARGET, 1.0),), owner="us")
    record.failed(Attempt(TARGET), 0.5, COLD)
    record.answered(Attempt(TARGET, 1), 0.25, None)
    record.head_sent(200)
    record.over("done")
    outcome = record.outcome(11.0)
    assert [(each.failure, each.cold, each.throttled, each.replica) for each in outcome.attempts] == [
        ("not ready", True, True, 0),
        (None, False, False, 1),
    ]
    assert (outcome.backend_seconds, outcome.overhead_seconds, outcome.target) == (0.75, 0.25, "gpu")
    assert (outcome.endpoint, outcome.component, outcome.owner, outcome.ended) == ("e", "ic", "us", "done")


@pytest.mark.parametrize(
    ("facts", "said", "told"),
    [
        (FailureFacts(Fault.NETWORK, None, timed_out=True), None, (False, False, True, None)),
        (FailureFacts(Fault.PLATFORM, True, throttled=True), Said(429, "busy"), (False, True, False, 429)),
        (FailureFacts(Fault.PLATFORM, True, cold=True), Said(429, "cold"), (True, False, False, 429)),
        (FailureFacts(Fault.MODEL, False), Said(500, "broken"), (False, False, False, 500)),
        (FailureFacts(Fault.NETWORK, True), Said(0, "no status"), (False, False, False, None)),
    ],
)
def test_a_failed_attempt_says_what_kind_of_failure_it_was(
    facts: FailureFacts, said: Said | None, told: tuple[bool, bool, bool, int | None]
) -> None:
    """And no other: metrics, log and `why` go by it. The status is the target's own, where it gave one."""
    record = Record("r", arrived=10.0, started=1.0)
    record.failed(Attempt(TARGET), 0.5, BackendError(facts, TARGET, "x", said))
    (attempt,) = record.outcome(11.0).attempts
    assert (attempt.cold, attempt.throttled, attempt.timed_out, attempt.status) == told


def test_attempts_are_counted_without_being_made() -> None:
    """Who asks for their number only leaves a usual request's note as it is."""
    record, failed = usual(), Record("r", 0.0, 0.0)
    assert (record.tried, failed.tried) == (1, 0)
    assert record.note(11.0) is not None
    failed.failed(Attempt(TARGET), 0.5, COLD)
    failed.answered(Attempt(TARGET), 0.5, None)
    assert failed.tried == 2


def test_a_targets_own_id_is_kept_of_answers_and_of_failures() -> None:
    """It is what AWS's support and an engine's log ask for, and a failure needs it most."""
    record = Record("r", 0.0, 0.0)
    failed = BackendError(COLD.facts, TARGET, "answered 500", request_id="theirs-1")
    record.failed(Attempt(TARGET), 0.5, failed)
    record.answered(Attempt(TARGET), 0.5, "theirs-2")
    assert [each.upstream_request_id for each in record.attempts] == ["theirs-1", "theirs-2"]


def test_an_attempt_cut_short_is_no_answer() -> None:
    """An attempt that neither answered nor failed was given up with its client."""
    record = Record("r", 0.0, 0.0)
    record.failed(Attempt(TARGET), 0.5, None)
    assert record.attempts[0].failure == "given up: the client went away"


def test_headers_say_what_is_known() -> None:
    """Before any attempt only the overhead is; it is never negative."""
    record = Record("r", arrived=10.0, started=0.0)
    assert record.lines(10.0015) == "x-pointsman-overhead-us: 1500\r\n"
    record.answered(Attempt(TARGET), 5.0, None)
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


POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  gpu: {kind: vllm, url: "http://127.0.0.1:1", model: m}
endpoints:
  chat: {serve_from: gpu, owner: us}
"""


def usual() -> Record:
    """One that was answered at the first attempt, of a route with nothing to choose."""
    policy = InForce(load_policy(POLICY, {}), 3)
    (route,) = policy.table.routes.values()
    plan = policy.usual[route.key]
    record = Record("r", arrived=10.0, started=1.0)
    record.operation, record.policy, record.route = "InvokeEndpoint", policy, route
    record.invocation = Invocation("chat", None, False, b"{}", "r", sdk_invocation_id="sdk-1")
    record.why, record.trace_id, record.principal = plan.why, "t" * 32, "me"
    record.answered(plan.attempts[0], 0.25, "theirs")
    record.usage, record.bytes_in, record.bytes_out = Usage(3, 4), 2, 5
    record.head_sent(200)
    record.over("done")
    return record


def test_a_usual_stream_is_a_note_of_its_outcome() -> None:
    """It has more numbers to tell; one that broke off has a story."""
    record = usual()
    record.first_chunk, record.parts_out = (0.5, 0.25), 7
    note = record.note(11.0)
    assert note is not None
    assert outcome_of(note) == record.outcome(11.0)
    record.over("upstream_broken", "ModelStreamError")
    assert record.note(11.0) is None


def test_a_usual_request_is_a_note_of_its_outcome() -> None:
    """The two say the same, and there is one course for all that go the same way."""
    record = usual()
    note = record.note(11.0)
    assert note is not None
    assert outcome_of(note) == record.outcome(11.0)
    other = usual()
    other.policy = record.policy
    again = other.note(12.0)
    assert again is not None
    assert again[0] is note[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 424},
        {"ended": "failed"},
        {"error_type": "ModelError"},
        {"handler_status": 500},
        {"cold": "hold"},
        {"side": "gpu"},
        {"invocation": None},
        {"invocation": Invocation("chat", None, False, b"{}", "r", sdk_attempt=2)},
        {"policy": None},
        {"route": None},
    ],
    ids=str,
)
def test_of_what_went_otherwise_there_is_no_note(changes: dict[str, Any]) -> None:
    """It has more to tell than numbers and ids."""
    record = usual()
    for name, value in changes.items():
        setattr(record, name, value)
    assert record.note(11.0) is None


def test_a_request_of_two_attempts_has_no_note() -> None:
    """Whatever became of the second."""
    twice, failed = usual(), usual()
    twice.answered(Attempt(TARGET), 0.5, None)
    failed.failed(Attempt(TARGET), 0.5, None)
    assert [each.note(11.0) for each in (twice, failed)] == [None, None]
    assert [each.failure for each in failed.attempts] == [None, "given up: the client went away"]
    assert len(twice.attempts) == 2


def test_requests_that_were_sent_for_another_reason_go_another_course() -> None:
    """Where there is a choice a target is asked for more than one, and each has notes."""
    record, drawn = usual(), usual()
    drawn.policy, drawn.why = record.policy, "endpoints.chat.split: gpu, drawn by weight"
    for each in (record, drawn):
        note = each.note(11.0)
        assert note is not None
        assert outcome_of(note) == each.outcome(11.0)


def test_the_number_of_courses_is_bounded() -> None:
    """Beyond it there are no notes but of courses that are known."""
    record, known, other = usual(), usual(), usual()
    note = record.note(11.0)
    assert note is not None
    assert record.policy is not None
    courses = record.policy.courses
    courses.update({("", "", "", number, ""): note[0] for number in range(COURSES - 1)})
    known.policy = other.policy = record.policy
    other.why = "elsewhere"
    assert known.note(11.0) is not None
    assert other.note(11.0) is None
    assert len(courses) == COURSES


def test_a_record_beside_another_begins_where_that_one_is() -> None:
    """And goes its own way from there."""
    record = usual()
    other = record.beside()
    other.failed(Attempt(TARGET), 0.5, COLD)
    assert (len(other.attempts), len(record.attempts)) == (2, 1)
    assert (other.request_id, other.arrived, other.started) == ("r", 10.0, 1.0)
