"""OpenTelemetry: one span a request, one a step, one an attempt; the only importer of the SDK.

Whether a request is sampled is decided once, at entry: by the caller's `traceparent` where there is one, else by
`draw() < sample`. An unsampled request makes no span object, and the caller's trace context goes on unchanged. A
sampled one continues the caller's trace, and each target gets the context of its own attempt's span.

What a request tells of itself is traced.py's, names and attributes are spans.py's. Spans leave in batches, from a
thread of the SDK. An exporter that fails or is not there costs spans, never a request; `spans_lost` counts them. No
global tracer provider is set.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

from opentelemetry import trace as api
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from backends.base import Invocation

from . import spans
from .traced import UNTRACED, RequestTrace, Sampled, Span, Unsampled

OFF, CONSOLE = "off", "console"

_ATTRIBUTES: Final = len(spans.ATTRIBUTES)
"""More than any span has."""

EXPORT_TIMEOUT: Final = 3.0
"""Seconds for one delivery of a batch, retries included: a collector is close by, and stopping must not take long."""

# W3C Trace Context: version, trace id, parent id, flags; a later version may add fields after a dash.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)


class Telemetry:
    """Starts the traces of requests. One per process; `shutdown` delivers what waits."""

    def __init__(
        self,
        exporter: str,
        sample: float,
        draw: Callable[[], float],
        version: str,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        sink: SpanExporter | None = None,
    ) -> None:
        """`exporter` is `off`, `console` (standard error) or the URL of an OTLP/HTTP collector.

        `sample` is the share of traced requests among those that come without a trace context. `sink` replaces the
        exporter that `exporter` names.

        Raises:
            ValueError: `exporter` is none of these, or `sample` is no share.
        """
        if not 0.0 <= sample <= 1.0:
            message = f"sample is {sample}: give a share from 0 to 1"
            raise ValueError(message)
        self._sample = sample
        self._draw = draw
        self._sink: _CountedExporter | None = None
        self._provider: TracerProvider | None = None
        self._tracer: _Tracer | None = None
        if sink is None and exporter != OFF:
            sink = _exporter(exporter)
        if sink is not None:
            self._sink = _CountedExporter(sink)
            resource, processor = _resource(version), BatchSpanProcessor(self._sink)
            self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            self._provider.add_span_processor(processor)
            if isinstance(self._provider.get_tracer("pointsman"), Tracer):  # it is another with OTEL_SDK_DISABLED
                self._tracer = _Tracer(processor, resource, version, clock_ns)

    @property
    def spans_lost(self) -> int:
        """Spans that could not be delivered since the start."""
        return self._sink.lost if self._sink else 0

    def start(self, invocation: Invocation, now_ns: int) -> RequestTrace:
        """Begin the trace of one request that arrived at `now_ns` (nanoseconds since the epoch)."""
        incoming = invocation.trace
        parent = None if incoming is None else _TRACEPARENT.fullmatch(incoming.traceparent)
        if parent is not None and parent[1] == "00" and parent[5]:
            parent = None
        if parent is None:
            incoming = None
        tracer = self._tracer
        if tracer is None or not (self._draw() < self._sample if parent is None else int(parent[4], 16) & 1):
            return UNTRACED if parent is None else Unsampled(parent[2], incoming)
        above = None if parent is None else _remote(parent)
        return Sampled(
            tracer, invocation, now_ns, above, api.SpanKind.SERVER, incoming.tracestate if incoming else None
        )

    def shutdown(self) -> None:
        """Deliver the spans that wait, within a few seconds, and stop. Call it once, off the event loop's hot hours."""
        if self._sink is not None:
            self._sink.closing = True
        if self._provider is not None:
            self._provider.shutdown()


class _Tracer:
    """Makes spans of what a request has told, and puts them into the SDK's queue."""

    def __init__(self, processor: SpanProcessor, resource: Resource, version: str, clock_ns: Callable[[], int]) -> None:
        ids = RandomIdGenerator()
        self.trace_id = ids.generate_trace_id
        self.span_id = ids.generate_span_id
        self.now_ns = clock_ns
        self._processor = processor
        self._resource = resource
        self._scope = InstrumentationScope("pointsman", version)
        limits = SpanLimits()  # OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT and its like
        self._most, self._longest = limits.max_span_attributes, limits.max_span_attribute_length
        self._limited = self._longest is not None or (self._most is not None and self._most < _ATTRIBUTES)

    def put(self, span: Span) -> None:
        attributes = span.attributes
        if self._limited:
            bounded = BoundedAttributes(self._most, attributes, immutable=False, max_value_len=self._longest)
            attributes = dict(cast("Mapping[str, str | int | float | bool]", bounded))
        self._processor.on_end(
            ReadableSpan(
                span.name,
                span.context,
                span.parent,
                self._resource,
                attributes,
                kind=span.kind,
                status=span.status,
                start_time=span.began,
                end_time=span.ended,
                instrumentation_scope=self._scope,
            )
        )


class _CountedExporter(SpanExporter):
    """Counts what the exporter behind it loses, and gives up at the first failure once the process is closing."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._failing = False
        self.closing = False
        self.lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        if not (self.closing and self._failing):
            try:
                result = self._inner.export(spans)
            except Exception:  # noqa: BLE001 - whatever an exporter does, it costs spans and nothing else
                result = SpanExportResult.FAILURE
        self._failing = result is not SpanExportResult.SUCCESS
        if self._failing:
            self.lost += len(spans)
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


def _exporter(name: str) -> SpanExporter:
    if name == CONSOLE:
        return ConsoleSpanExporter(out=sys.stderr, formatter=lambda span: f"{span.to_json(indent=None)}\n")
    if not name.startswith(("http://", "https://")):
        message = f"exporter is {name!r}: give off, console, or the http:// or https:// URL of an OTLP collector"
        raise ValueError(message)
    # Here and not above: it brings requests and protobuf, 30 ms and 10 MB that `off` need not pay.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    url = name.rstrip("/")
    return OTLPSpanExporter(url if url.endswith("/v1/traces") else f"{url}/v1/traces", timeout=EXPORT_TIMEOUT)


def _resource(version: str) -> Resource:
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, which the detector reads, win over our own words.
    own = Resource.create({"service.name": "pointsman", "service.version": version})
    detected = OTELResourceDetector().detect()
    return own.merge(detected)


def _remote(parent: re.Match[str]) -> api.SpanContext:
    return api.SpanContext(int(parent[2], 16), int(parent[3], 16), True, api.TraceFlags(int(parent[4], 16)))
