"""Traces: who decides to sample, and which spans arrive where."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import get_tracer_provider

from backends.base import Trace
from policies.table import Target, VllmSpec
from proxy.spans import Step
from proxy.telemetry import Telemetry
from tests.listening import listening
from tests.outcomes import outcome

from .tracing import GPU, PARENT_ID, SAMPLED, TRACE_ID, UNSAMPLED, Traced, invocation

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize(
    ("name", "limit", "kept"),
    [("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3", "apexguru"[:3]), ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "2", None)],
)
def test_the_sdks_limits_of_attributes_hold(
    monkeypatch: pytest.MonkeyPatch, name: str, limit: str, kept: str | None
) -> None:
    """An operator's receiver may take no more; by default all there is goes out."""
    monkeypatch.setenv(name, limit)
    traced = Traced()
    traced.start().finish(outcome())
    attributes = traced.spans()["InvokeEndpoint apexguru"].attributes
    assert attributes is not None
    assert attributes.get("aws.sagemaker.endpoint.name") == kept
    assert kept is not None or len(attributes) == 2


@pytest.mark.parametrize(("most", "batches"), [("2", [2, 2, 1]), ("5", [5]), ("many", [5])])
def test_no_delivery_has_more_spans_than_the_sdk_is_told(
    monkeypatch: pytest.MonkeyPatch, most: str, batches: list[int]
) -> None:
    """OTEL_BSP_MAX_EXPORT_BATCH_SIZE counts spans, though whole traces wait; what is no number is the SDK's default."""
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", most)
    delivered: list[int] = []

    class Counting(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            delivered.append(len(spans))
            return SpanExportResult.SUCCESS

    telemetry = Telemetry("off", 1.0, lambda: 0.0, "1", sink=Counting())
    trace = telemetry.start(invocation(), 0)
    for _ in range(4):
        with trace.step(Step.CHOOSE):
            pass
    trace.finish(outcome())
    telemetry.shutdown()
    assert delivered == batches
    assert telemetry.spans_lost == 0


def test_what_finds_no_room_is_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_BSP_MAX_QUEUE_SIZE traces wait while a delivery takes its time; of more the spans are counted as lost."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "2")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    delivering, go_on = threading.Event(), threading.Event()
    delivered: list[str] = []

    class Slow(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            delivering.set()
            go_on.wait(30)
            delivered.extend(span.name for span in spans)
            return SpanExportResult.SUCCESS

    telemetry = Telemetry("off", 1.0, lambda: 0.0, "1", sink=Slow())
    for number in range(5):
        if number == 2:
            assert delivering.wait(30)
        trace = telemetry.start(invocation(), 0)
        if number == 4:
            with trace.step(Step.CHOOSE):
                pass
        trace.finish(outcome())
    assert telemetry.spans_lost == 2
    go_on.set()
    telemetry.shutdown()
    assert len(delivered) == 4
    assert telemetry.spans_lost == 2


def test_a_trace_that_no_spans_can_be_made_of_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted and told; they leave together with many others."""
    traced = Traced()
    for replica in (0, 1, 0):
        trace = traced.start()
        with trace.attempt(Target("v", "vllm", VllmSpec(("http://127.0.0.1:1",), "m")), 1, replica):
            pass
        trace.finish(outcome())
    traced.telemetry.shutdown()
    assert len(traced.memory.get_finished_spans()) == 4
    assert traced.telemetry.spans_lost == 2
    assert "the spans of a request could not be made" in caplog.text


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
        self.says = b""
        self.received: list[tuple[str, ExportTraceServiceRequest]] = []
        self.agents: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.agents.append(self.headers["User-Agent"])
        self.server.received.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.end_headers()
        self.wfile.write(self.server.says)

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


def test_what_a_collector_takes_and_rejects_is_told(
    collector: Collector, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OTLP's partial success: with 200, and the exporter takes it for one, ours as well as OpenTelemetry's own."""
    told = ExportTracePartialSuccess(rejected_spans=1, error_message="no tenant")
    collector.says = ExportTraceServiceResponse(partial_success=told).SerializeToString()
    for headers in ("", "tenant=7"):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
        telemetry = Telemetry(collector.url, 1.0, lambda: 0.0, "1")
        telemetry.start(invocation(), 0).finish(outcome())
        telemetry.shutdown()
    assert caplog.text.count("took and then rejected: 1; it says 'no tenant'") == 2


def test_a_provider_of_sessions_is_left_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter asks it for one with credentials; here there is none of that name, and it says so."""
    monkeypatch.setenv("OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER", "nobody")
    with pytest.raises(RuntimeError, match="nobody"):
        Telemetry("http://127.0.0.1:9", 1.0, lambda: 0.0, "1")


@pytest.mark.parametrize(
    ("variables", "agent"),
    [
        ({}, "pointsman/1"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://elsewhere:4318"}, "pointsman/1"),
        ({"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}, "pointsman/1"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "tenant=7"}, "OTel-OTLP-Exporter-Python"),
        ({"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "none"}, "OTel-OTLP-Exporter-Python"),
        ({"NETRC": "/dev/null"}, "OTel-OTLP-Exporter-Python"),
    ],
)
def test_opentelemetrys_own_exporter_sends_where_the_environment_says_how(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], agent: str
) -> None:
    """Headers, compression, passwords, proxies: it knows them. Else a socket does, and `requests` is not loaded."""
    for name, value in ({"HOME": "/nowhere"} | variables).items():
        monkeypatch.setenv(name, value)
    telemetry = Telemetry(collector.url, 1.0, lambda: 0.0, "1")
    telemetry.start(invocation(), 0).finish(outcome())
    telemetry.shutdown()
    assert [who.split("/1.")[0] for who in collector.agents] == [agent]


def test_a_proxy_on_the_way_is_used(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector is its own here: it is asked for by its whole address."""
    monkeypatch.setenv("HTTP_PROXY", collector.url)
    telemetry = Telemetry("http://collector.invalid", 1.0, lambda: 0.0, "1")
    telemetry.start(invocation(), 0).finish(outcome())
    telemetry.shutdown()
    assert [where for where, _ in collector.received] == ["http://collector.invalid/v1/traces"]


def test_an_exporter_in_the_clear_loads_no_requests() -> None:
    """Which takes 4 MB of each worker: a promise of docs/reliability.md."""
    program = (
        "import sys; from proxy.telemetry import Telemetry\n"
        "Telemetry('http://127.0.0.1:9', 1.0, lambda: 0.0, '1').shutdown()\n"
        "print('requests' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={"HOME": "/nowhere"}, capture_output=True, check=True
    )
    assert done.stdout == b"False\n"
