"""Traces: who decides to sample, what goes out to targets, which spans arrive where."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_tracer_provider

from backends.base import Invocation, Trace, Usage
from backends.errors import BackendError
from policies.facts import FailureFacts, Fault
from policies.table import EndpointSpec, Target
from proxy.spans import Step
from proxy.telemetry import RequestTrace, Telemetry
from tests.listening import listening
from tests.outcomes import outcome

ROOT = Path(__file__).parents[2]
TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = Trace(f"00-{TRACE_ID}-{PARENT_ID}-01", "vendor=1")
UNSAMPLED = Trace(f"00-{TRACE_ID}-{PARENT_ID}-00", "vendor=1")
GPU = Target("gpu", "endpoint", EndpointSpec("apexguru-gpu"), region="us-east-1")
IMPORT = Target("import", "endpoint", EndpointSpec("other"), region="us-east-1")
MICROSECOND = 1000


def invocation(trace: Trace | None = None, *, streaming: bool = False) -> Invocation:
    return Invocation("apexguru", None, streaming, b"{}", "r-1", trace=trace)


class Traced:
    """A telemetry with spans in memory and a clock that gains a microsecond at each look."""

    def __init__(self, sample: float = 1.0, drawn: float = 0.5) -> None:
        self.now = 0
        self.draws = 0
        self.drawn = drawn
        self.memory = InMemorySpanExporter()
        self.telemetry = Telemetry("off", sample, self.draw, "1.2.3", clock_ns=self.clock, sink=self.memory)

    def draw(self) -> float:
        self.draws += 1
        return self.drawn

    def clock(self) -> int:
        self.now += MICROSECOND
        return self.now

    def start(self, trace: Trace | None = None, *, streaming: bool = False) -> RequestTrace:
        return self.telemetry.start(invocation(trace, streaming=streaming), self.clock())

    def spans(self) -> dict[str, ReadableSpan]:
        """All spans by name, delivered."""
        self.telemetry.shutdown()
        return {span.name: span for span in self.memory.get_finished_spans()}


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


@pytest.mark.parametrize(
    ("incoming", "sample", "sampled", "draws"),
    [
        (None, 1.0, True, 1),
        (None, 0.5, False, 1),
        (None, 0.51, True, 1),
        (None, 0.0, False, 1),
        (SAMPLED, 0.0, True, 0),
        (UNSAMPLED, 1.0, False, 0),
        (Trace(f"00-{TRACE_ID}-{PARENT_ID}-03"), 0.0, True, 0),
        (Trace(f"cc-{TRACE_ID}-{PARENT_ID}-01-later"), 0.0, True, 0),
    ],
)
def test_sampling_is_decided_once_by_the_caller_or_by_a_draw(
    incoming: Trace | None, sample: float, sampled: bool, draws: int
) -> None:
    """A caller's flag is followed either way; without one the draw is below the share or not."""
    traced = Traced(sample)
    trace = traced.start(incoming)
    with trace.step(Step.CHOOSE), trace.attempt(GPU, 1):
        pass
    trace.finish(outcome())
    assert bool(traced.spans()) == sampled
    assert traced.draws == draws


@pytest.mark.parametrize("exporter", ["off", "memory"])
def test_an_unsampled_request_passes_the_callers_context_on_unchanged(exporter: str) -> None:
    """Byte for byte, to every target, whether spans are off or this request is not sampled."""
    telemetry = Telemetry("off", 1.0, lambda: 0.5, "1") if exporter == "off" else Traced().telemetry
    incoming = SAMPLED if exporter == "off" else UNSAMPLED
    trace = telemetry.start(invocation(incoming), 0)
    assert trace.outgoing is incoming
    assert trace.trace_id == TRACE_ID
    with trace.step(Step.LOOKUP), trace.attempt(GPU, 1) as context:
        assert context is incoming
    trace.finish(outcome())
    telemetry.shutdown()


def test_requests_without_trace_and_sample_share_one_object() -> None:
    """Nothing is made for them: no span, no context, no object."""
    traced = Traced(sample=0.0)
    first, second = traced.start(), traced.start()
    assert first is second
    assert (first.trace_id, first.outgoing) == (None, None)
    traced.telemetry.shutdown()


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "garbage",
        f"ff-{TRACE_ID}-{PARENT_ID}-01",
        f"00-{'0' * 32}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID.upper()}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{PARENT_ID}-01-more",
        f"00-{TRACE_ID}-{PARENT_ID}-01\n",
    ],
)
def test_an_invalid_traceparent_is_as_good_as_none(traceparent: str) -> None:
    """W3C: it is ignored, a trace of our own begins, and its tracestate goes with it."""
    traced = Traced()
    trace = traced.start(Trace(traceparent, "vendor=1"))
    assert trace.trace_id != TRACE_ID
    assert trace.outgoing is not None
    assert trace.outgoing.tracestate is None
    trace.finish(outcome())
    assert traced.spans()["InvokeEndpoint apexguru"].parent is None
    assert Telemetry("off", 1.0, lambda: 0.5, "1").start(invocation(Trace(traceparent)), 0).outgoing is None


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
    assert sent.attributes["error.type"] == "CancelledError"
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


def test_a_failed_step_is_marked() -> None:
    """The exception goes on its way; the span keeps its class."""
    traced = Traced()
    trace = traced.start()
    with pytest.raises(LookupError), trace.step(Step.LOOKUP):
        raise LookupError("secret")
    trace.finish(outcome(ended="failed", status=500))
    step = traced.spans()["lookup"]
    assert step.attributes == {"error.type": "LookupError"}
    assert not step.events


def test_an_unknown_endpoint_makes_no_span_name() -> None:
    """Names that clients invent stay in an attribute, where they cost a backend no index."""
    traced = Traced()
    traced.start().finish(outcome(endpoint="", attempts=(), status=400, ended="refused"))
    assert set(traced.spans()) == {"InvokeEndpoint"}


def test_an_exporter_that_fails_costs_spans_only() -> None:
    """Neither its exception nor its failure reaches a request; the loss is counted."""

    class Broken(SpanExporter):
        calls = 0

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            self.calls += 1
            raise RuntimeError("no")

    broken = Broken()
    telemetry = Telemetry("off", 1.0, lambda: 0.0, "1", sink=broken)
    for _ in range(1000):
        telemetry.start(invocation(), 0).finish(outcome())
    telemetry.shutdown()
    assert telemetry.spans_lost == 1000
    assert broken.calls >= 1


def test_what_is_no_exporter_is_refused() -> None:
    """The message says what to give instead."""
    with pytest.raises(ValueError, match="give off, console, or the http"):
        Telemetry("otel:4317", 1.0, lambda: 0.0, "1")
    with pytest.raises(ValueError, match="give a share from 0 to 1"):
        Telemetry("off", 1.5, lambda: 0.0, "1")


def test_no_global_tracer_provider_is_set() -> None:
    """A customer's own OpenTelemetry set-up in the same process is not disturbed."""
    before = get_tracer_provider()
    Traced().telemetry.shutdown()
    assert get_tracer_provider() is before
    assert Telemetry("off", 1.0, lambda: 0.0, "1").spans_lost == 0


def test_the_sdks_own_switches_are_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SDK_DISABLED leaves requests untraced and their context unchanged; OTEL_SERVICE_NAME wins over ours."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "router-eu")
    traced = Traced()
    traced.start().finish(outcome())
    assert traced.spans()["InvokeEndpoint apexguru"].resource.attributes["service.name"] == "router-eu"
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    disabled = Traced()
    assert disabled.start(SAMPLED).outgoing is SAMPLED
    assert disabled.start().outgoing is None
    assert not disabled.spans()


def test_the_console_gets_one_json_object_a_line_on_standard_error() -> None:
    """Standard output stays the request log's."""
    program = (
        "from proxy.telemetry import Telemetry; from tests.proxy.test_telemetry import invocation, outcome\n"
        "telemetry = Telemetry('console', 1.0, lambda: 0.0, '1')\n"
        "telemetry.start(invocation(), 0).finish(outcome())\n"
        "telemetry.shutdown()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    assert json.loads(done.stderr)["name"] == "InvokeEndpoint apexguru"
    assert done.stdout == b""


class Collector(HTTPServer):
    """An OTLP/HTTP receiver that keeps what it gets and answers with `status`."""

    def __init__(self, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.status = status
        self.received: list[tuple[str, ExportTraceServiceRequest]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with listening(Collector()) as server:
        yield server


@pytest.mark.parametrize("path", ["", "/", "/v1/traces"])
def test_spans_reach_a_real_collector(collector: Collector, path: str) -> None:
    """OTLP over HTTP, on a socket: a base URL or the full one, decoded with OpenTelemetry's own messages."""
    telemetry = Telemetry(collector.url + path, 1.0, lambda: 0.0, "1.2.3")
    trace = telemetry.start(invocation(SAMPLED), 1_000)
    with trace.attempt(GPU, 1):
        pass
    trace.finish(outcome())
    telemetry.shutdown()
    [(where, request)] = collector.received
    assert where == "/v1/traces"
    [resource] = request.resource_spans
    assert ("service.name", "pointsman") in [(one.key, one.value.string_value) for one in resource.resource.attributes]
    spans = {span.name: span for scope in resource.scope_spans for span in scope.spans}
    assert spans["InvokeEndpoint apexguru"].trace_id.hex() == TRACE_ID
    assert spans["InvokeEndpoint apexguru"].start_time_unix_nano == 1_000
    assert spans["invoke apexguru-gpu"].parent_span_id == spans["InvokeEndpoint apexguru"].span_id
    assert telemetry.spans_lost == 0


def test_a_collector_that_refuses_costs_spans_only(collector: Collector) -> None:
    """Its 400 is counted as a loss and never seen by a request."""
    collector.status = 400
    telemetry = Telemetry(collector.url, 1.0, lambda: 0.0, "1")
    telemetry.start(invocation(), 0).finish(outcome())
    telemetry.shutdown()
    assert telemetry.spans_lost == 1


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


def test_an_unsampled_request_of_a_handler_passes_the_same_context_on() -> None:
    """No span, one trace."""
    trace = Traced(sample=0.0).start()
    assert trace.inner(invocation()) is trace
