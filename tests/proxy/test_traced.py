"""The trace of one request: its spans, and what goes out to targets."""

from __future__ import annotations

import asyncio
import sys

import pytest
from hypothesis import given
from opentelemetry.trace import SpanKind, StatusCode

from backends.base import Invocation, Usage
from backends.errors import BackendError
from backends.outcome import Note, outcome_of
from policies.facts import FailureFacts, Fault
from policies.table import EndpointSpec, Target
from proxy.spans import Step
from tests.outcomes import notes, outcome

from .tracing import GPU, IMPORT, PARENT_ID, SAMPLED, TRACE_ID, Traced, invocation

OTHER = Target("third", "endpoint", EndpointSpec("third"), region="us-east-1")
LATE = Target("late", "endpoint", EndpointSpec("late"), region="us-east-1")


def failing(facts: FailureFacts) -> BackendError:
    return BackendError(facts, IMPORT, "connect: refused")


def test_a_request_makes_one_span_for_itself_each_step_and_each_attempt() -> None:
    """Kinds, parents and order: a server span, steps inside, attempts as client spans."""
    traced = Traced()
    trace = traced.start()
    with trace.step(Step.LOOKUP):
        pass
    with trace.attempt(GPU, 1):
        pass
    trace.finish(outcome(usage=Usage(3, 4)))
    found = traced.spans()
    assert set(found) == {"InvokeEndpoint apexguru", "lookup", "invoke apexguru-gpu"}
    root, step, sent = found["InvokeEndpoint apexguru"], found["lookup"], found["invoke apexguru-gpu"]
    assert (root.kind, step.kind, sent.kind) == (SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.CLIENT)
    for inner in (step, sent):
        assert inner.parent is not None
        assert root.context is not None
        assert inner.parent.span_id == root.context.span_id
        assert root.start_time < inner.start_time < inner.end_time < root.end_time  # type: ignore[operator]  # ended
    assert root.attributes is not None
    assert sent.attributes is not None
    assert root.attributes["pointsman.policy"] == "0123456789ab/3"
    assert sent.attributes["gen_ai.usage.output_tokens"] == 4
    assert root.resource.attributes["service.name"] == "pointsman"
    assert root.resource.attributes["service.version"] == "1.2.3"


def test_each_target_gets_the_context_of_its_own_attempt() -> None:
    """The upstream's spans hang below the attempt that caused them, in the caller's trace, its tracestate kept."""
    traced = Traced()
    trace = traced.start(SAMPLED)
    contexts = []
    for number, target in enumerate((IMPORT, GPU), 1):
        with trace.attempt(target, number) as context:
            contexts.append(context)
    trace.finish(outcome())
    assert trace.trace_id == TRACE_ID
    assert len(set(contexts)) == 2
    for context in contexts:
        assert context is not None
        assert context.traceparent.startswith(f"00-{TRACE_ID}-")
        assert context.traceparent.endswith("-01")
        assert PARENT_ID not in context.traceparent
        assert context.tracestate == "vendor=1"
    assert trace.outgoing is not None
    root = traced.spans()["InvokeEndpoint apexguru"]
    assert root.parent is not None
    assert f"{root.parent.span_id:016x}" == PARENT_ID
    assert root.context is not None
    assert trace.outgoing.traceparent == f"00-{TRACE_ID}-{root.context.span_id:016x}-01"


def test_a_failed_attempt_is_marked_and_the_one_that_answered_is_not() -> None:
    """A fallback's trace shows both, the failure with its cause in one word and without any text."""
    traced = Traced()
    trace = traced.start()
    with pytest.raises(BackendError), trace.attempt(IMPORT, 1):
        raise failing(FailureFacts(Fault.PLATFORM, True, cold=True))
    with trace.attempt(GPU, 2):
        pass
    trace.finish(outcome())
    found = traced.spans()
    failed, answered = found["invoke other"], found["invoke apexguru-gpu"]
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "cold"
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, None)
    assert not failed.events
    assert answered.status.status_code is StatusCode.UNSET
    assert found["InvokeEndpoint apexguru"].status.status_code is StatusCode.UNSET


def test_a_cancelled_attempt_ends_its_span() -> None:
    """When the client leaves, the attempt under way is closed and says so."""
    traced = Traced()
    trace = traced.start()
    with pytest.raises(asyncio.CancelledError), trace.attempt(GPU, 1):
        raise asyncio.CancelledError
    trace.finish(outcome(ended="client_gone", status=499))
    found = traced.spans()
    sent = found["invoke apexguru-gpu"]
    assert sent.attributes is not None
    assert sent.attributes["error.type"] == "given_up"
    assert sent.status.status_code is StatusCode.UNSET
    assert found["InvokeEndpoint apexguru"].status.status_code is StatusCode.UNSET


def test_a_streams_attempt_lasts_as_long_as_its_body() -> None:
    """It answers at the first piece; the span ends with the stream. An answer in one piece ends when it is there."""
    for first_chunk in (0.1, None):
        traced = Traced()
        trace = traced.start(streaming=True)
        with trace.attempt(GPU, 1):
            pass
        answered = traced.now
        traced.now += 1_000_000
        trace.finish(outcome(operation="InvokeEndpointWithResponseStream", first_chunk_seconds=first_chunk))
        found = traced.spans()
        sent, root = found["invoke apexguru-gpu"], found["InvokeEndpointWithResponseStream apexguru"]
        assert sent.end_time == (answered if first_chunk is None else root.end_time)


@pytest.mark.parametrize(
    ("ended", "status", "root", "sent"),
    [
        ("upstream_broken", 200, StatusCode.ERROR, StatusCode.ERROR),
        ("deadline", 424, StatusCode.ERROR, StatusCode.UNSET),
        ("failed", 500, StatusCode.ERROR, StatusCode.UNSET),
        ("refused", 400, StatusCode.UNSET, StatusCode.UNSET),
        ("client_gone", 200, StatusCode.UNSET, StatusCode.UNSET),
    ],
)
def test_a_span_is_an_error_only_where_this_side_failed(
    ended: str, status: int, root: StatusCode, sent: StatusCode
) -> None:
    """A stream that broke marks its attempt as well; a refusal and a client that left mark nothing."""
    traced = Traced()
    trace = traced.start()
    with trace.attempt(GPU, 1):
        pass
    trace.finish(outcome(ended=ended, status=status))
    found = traced.spans()
    assert found["InvokeEndpoint apexguru"].status.status_code is root
    assert found["invoke apexguru-gpu"].status.status_code is sent


def test_what_the_customers_code_broke_is_no_attempts_failure() -> None:
    """The target went on; the request has failed all the same."""
    traced = Traced()
    trace = traced.start(streaming=True)
    with trace.attempt(GPU, 1):
        pass
    trace.finish(outcome(ended="upstream_broken", first_chunk_seconds=0.1, handler_status=500))
    found = traced.spans()
    assert found["invoke apexguru-gpu"].status.status_code is StatusCode.UNSET
    assert found["InvokeEndpointWithResponseStream apexguru"].status.status_code is StatusCode.ERROR


@pytest.mark.parametrize(("ended", "status"), [("refused", 400), ("client_gone", 499), ("done", 200)])
def test_a_step_is_no_error_where_the_request_is_none(ended: str, status: int) -> None:
    """Whoever asks for what is not there makes no errors in our traces; the step says what it met."""
    traced = Traced()
    trace = traced.start()
    with pytest.raises(LookupError), trace.step(Step.LOOKUP):
        raise LookupError
    trace.finish(outcome(ended=ended, status=status))
    step = traced.spans()["lookup"]
    assert step.attributes == {"error.type": "LookupError"}
    assert step.status.status_code is StatusCode.UNSET


def test_a_failed_step_is_marked() -> None:
    """The exception goes on its way; the span keeps its class."""
    traced = Traced()
    trace = traced.start()
    with pytest.raises(LookupError), trace.step(Step.LOOKUP):
        raise LookupError("secret")
    trace.finish(outcome(ended="failed", status=500))
    step = traced.spans()["lookup"]
    assert step.attributes == {"error.type": "LookupError"}
    assert step.status.status_code is StatusCode.ERROR
    assert not step.events


def test_an_unknown_endpoint_makes_no_span_name() -> None:
    """Names that clients invent stay in an attribute, where they cost a backend no index."""
    traced = Traced()
    traced.start().finish(outcome(endpoint="", attempts=(), status=400, ended="refused"))
    assert set(traced.spans()) == {"InvokeEndpoint"}


def test_a_request_of_a_handler_is_a_span_inside_the_first() -> None:
    """What a hook asks of another endpoint has its own attempts, in the same trace, and both are delivered."""
    traced = Traced()
    trace = traced.start()
    inner = trace.inner(Invocation("texteval", None, False, b"{}", "r-1"))
    with inner.attempt(IMPORT, 1):
        pass
    inner.finish(outcome(endpoint="texteval"))
    with trace.attempt(GPU, 1):
        pass
    trace.finish(outcome())
    assert inner.trace_id == trace.trace_id
    found = traced.spans()
    assert len(found) == 4
    asked, root = found["InvokeEndpoint texteval"], found["InvokeEndpoint apexguru"]
    assert asked.parent is not None
    assert root.context is not None
    assert (asked.kind, asked.parent.span_id) == (SpanKind.INTERNAL, root.context.span_id)


def test_a_request_that_is_over_may_be_told_of_later() -> None:
    """Its span ends where it was over, whatever passes until there is time to say what became of it."""
    traced = Traced()
    trace = traced.start()
    trace.over()
    ended = traced.now
    traced.now += 1_000_000
    trace.finish(outcome())
    assert traced.spans()["InvokeEndpoint apexguru"].end_time == ended


@given(notes())
def test_a_note_makes_the_spans_of_the_outcome_that_it_stands_for(note: Note) -> None:
    """Most requests are told of by a note; nobody sees that in their spans."""
    shown = []
    for told in (note, outcome_of(note)):
        traced = Traced()
        trace = traced.start()
        with trace.attempt(GPU, 1):
            pass
        trace.finish(told)
        shown.append([(one.name, one.attributes, one.status.status_code) for one in traced.spans().values()])
    assert repr(shown[0]) == repr(shown[1])  # nan is not equal to itself


def test_of_two_that_answered_the_later_is_the_answer() -> None:
    """What the end of the request tells stands at one attempt; one that is still open ends with the request."""
    traced = Traced()
    trace = traced.start()
    first, second, third = trace.attempt(GPU, 1), trace.attempt(IMPORT, 2), trace.attempt(OTHER, 3)
    with first, second, third:
        pass  # they are left the other way round
    with pytest.raises(LookupError), trace.attempt(LATE, 4):
        raise LookupError
    trace.step(Step.AFTER)
    trace.finish(outcome(usage=Usage(3, 4)))
    found = traced.spans()
    told = {
        name: one.attributes.get("gen_ai.usage.input_tokens")
        for name, one in found.items()
        if one.attributes is not None
    }
    assert told == {
        "invoke apexguru-gpu": 3,
        "invoke other": None,
        "invoke third": None,
        "invoke late": None,
        "after": None,
        "InvokeEndpoint apexguru": None,
    }
    assert found["after"].end_time == found["InvokeEndpoint apexguru"].end_time


def test_a_trace_that_waits_keeps_no_body() -> None:
    """It may wait for seconds, and bodies have megabytes."""
    traced = Traced()
    body = bytes(1000)
    before = sys.getrefcount(body)
    trace = traced.telemetry.start(Invocation("apexguru", None, False, body, "r-1"), 0)
    assert sys.getrefcount(body) > before
    trace.finish(outcome())
    assert sys.getrefcount(body) == before
    attributes = traced.spans()["InvokeEndpoint apexguru"].attributes
    assert attributes is not None
    assert attributes["http.request.body.size"] == 1000


def test_an_unsampled_request_of_a_handler_passes_the_same_context_on() -> None:
    """No span, one trace."""
    trace = Traced(sample=0.0).start()
    assert trace.inner(invocation()) is trace
