"""OpenTelemetry: one span a request, one a step, one an attempt; the only importer of the SDK.

Whether a request is sampled is decided once, at entry: by the caller's `traceparent` where there is one, else by
`draw() < sample`. An unsampled request makes no span object, and the caller's trace context goes on unchanged. A
sampled one continues the caller's trace, and each target gets the context of its own attempt's span.

Spans leave in batches, from a thread of the SDK. An exporter that fails or is not there costs spans, never a request;
`spans_lost` counts them. No global tracer provider is set. Names and attributes: spans.py.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Final, Generic, Protocol, TypeVar

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from backends.base import Invocation, Trace
from backends.outcome import Outcome
from policies.table import Target

from . import spans

T = TypeVar("T", covariant=True)

OFF, CONSOLE = "off", "console"

EXPORT_TIMEOUT: Final = 3.0
"""Seconds for one delivery of a batch, retries included: a collector is close by, and stopping must not take long."""

# W3C Trace Context: version, trace id, parent id, flags; a later version may add fields after a dash.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_NO_STEP: Final[AbstractContextManager[None]] = nullcontext()


class RequestTrace(Protocol):
    """What the pipeline tells of one request while it runs."""

    sampled: bool
    """There are spans: steps and attempts are told of. Where it is False nobody needs to."""

    @property
    def trace_id(self) -> str | None:
        """32 hex digits when the request belongs to a trace, sampled or not."""
        ...

    @property
    def outgoing(self) -> Trace | None:
        """The trace context for calls outside any attempt."""
        ...

    def step(self, name: str) -> AbstractContextManager[None]:
        """Time one step of the pipeline, by its name in `spans.Step`."""
        ...

    def attempt(self, target: Target, number: int, replica: int = 0) -> AbstractContextManager[Trace | None]:
        """Time one attempt; yields the trace context to send to `target`."""
        ...

    def inner(self, invocation: Invocation) -> RequestTrace:
        """The trace of a request that this one's handler makes; `finish` it before this one."""
        ...

    def finish(self, outcome: Outcome) -> None:
        """The request is over. Call it once, last."""
        ...


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
        self._clock_ns = clock_ns
        self._sink: _CountedExporter | None = None
        self._provider: TracerProvider | None = None
        self._tracer: api.Tracer | None = None
        if sink is None and exporter != OFF:
            sink = _exporter(exporter)
        if sink is not None:
            self._sink = _CountedExporter(sink)
            self._provider = TracerProvider(sampler=ALWAYS_ON, resource=_resource(version), shutdown_on_exit=False)
            self._provider.add_span_processor(BatchSpanProcessor(self._sink))
            self._tracer = self._provider.get_tracer("pointsman", version)

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
            return _UNTRACED if parent is None else Unsampled(parent[2], incoming)
        root = tracer.start_span(
            f"{spans.operation(invocation)} {invocation.endpoint}",
            context=None if parent is None else _remote(parent),
            kind=api.SpanKind.SERVER,
            attributes=spans.of_request(invocation),
            start_time=now_ns,
        )
        if not root.is_recording():  # OTEL_SDK_DISABLED
            return _UNTRACED if parent is None else Unsampled(parent[2], incoming)
        return Sampled(tracer, self._clock_ns, root, invocation, incoming.tracestate if incoming else None)

    def shutdown(self) -> None:
        """Deliver the spans that wait, within a few seconds, and stop. Call it once, off the event loop's hot hours."""
        if self._sink is not None:
            self._sink.closing = True
        if self._provider is not None:
            self._provider.shutdown()


class Unsampled:
    """A request without spans: the caller's trace context passes through."""

    __slots__ = ("_attempt", "outgoing", "sampled", "trace_id")

    def __init__(self, trace_id: str | None, outgoing: Trace | None) -> None:
        self.sampled = False
        self.trace_id = trace_id
        self.outgoing = outgoing
        self._attempt: AbstractContextManager[Trace | None] = nullcontext(outgoing)

    def step(self, name: str) -> AbstractContextManager[None]:
        return _NO_STEP

    def attempt(self, target: Target, number: int, replica: int = 0) -> AbstractContextManager[Trace | None]:
        return self._attempt

    def inner(self, invocation: Invocation) -> RequestTrace:
        return self

    def finish(self, outcome: Outcome) -> None:
        pass


_UNTRACED: Final = Unsampled(None, None)


class Sampled:
    """A request with its spans."""

    def __init__(
        self,
        tracer: api.Tracer,
        clock_ns: Callable[[], int],
        root: api.Span,
        invocation: Invocation,
        tracestate: str | None,
    ) -> None:
        self.sampled = True
        self._tracer = tracer
        self._clock_ns = clock_ns
        self._root = root
        self._inside = api.set_span_in_context(root, Context())
        self._invocation = invocation
        self._tracestate = tracestate
        self._answered: tuple[api.Span, int] | None = None
        self.trace_id = f"{root.get_span_context().trace_id:032x}"
        self.outgoing: Trace | None = _outgoing(root, tracestate)

    def step(self, name: str) -> AbstractContextManager[None]:
        span = self._tracer.start_span(name, context=self._inside, start_time=self._clock_ns())
        return _Timed(self, span, None, answers=False)

    def attempt(self, target: Target, number: int, replica: int = 0) -> AbstractContextManager[Trace | None]:
        attributes = spans.of_attempt(target, number, self._invocation.streaming, replica)
        span = self._tracer.start_span(
            f"{attributes['gen_ai.operation.name']} {attributes['gen_ai.request.model']}",
            context=self._inside,
            kind=api.SpanKind.CLIENT,
            attributes=attributes,
            start_time=self._clock_ns(),
        )
        return _Timed(self, span, _outgoing(span, self._tracestate), answers=True)

    def inner(self, invocation: Invocation) -> RequestTrace:
        span = self._tracer.start_span(
            f"{spans.operation(invocation)} {invocation.endpoint}",
            context=self._inside,
            attributes=spans.of_request(invocation),
            start_time=self._clock_ns(),
        )
        return Sampled(self._tracer, self._clock_ns, span, invocation, self._tracestate)

    def finish(self, outcome: Outcome) -> None:
        now = self._clock_ns()
        failed = outcome.ended in spans.FAILED
        if self._answered is not None:
            span, answered_at = self._answered
            span.set_attributes(spans.of_answer(outcome))
            if failed and outcome.status == 200:
                _fail(span, outcome.ended)
            span.end(answered_at if outcome.first_chunk_seconds is None else now)
        self._root.set_attributes(spans.of_outcome(outcome))
        if failed:
            self._root.set_status(api.StatusCode.ERROR)
        if not outcome.endpoint:  # a name that only this client knows makes no span name
            self._root.update_name(outcome.operation)
        self._root.end(now)

    def over(self, span: api.Span, error: BaseException | None, answers: bool) -> None:
        """A step or an attempt is over. An attempt that answered stays open: a stream's body and its usage follow."""
        now = self._clock_ns()
        if error is not None:
            _fail(span, spans.cause(error))
        elif answers:
            if self._answered is not None:  # of two at a time both have answered
                self._answered[0].end(self._answered[1])
            self._answered = (span, now)
            return
        span.end(now)


class _Timed(Generic[T]):
    """A span as a context manager; a class, because a generator costs twice as much."""

    __slots__ = ("_answers", "_of", "_span", "_yields")

    def __init__(self, of: Sampled, span: api.Span, yields: T, *, answers: bool) -> None:
        self._of = of
        self._span = span
        self._yields = yields
        self._answers = answers

    def __enter__(self) -> T:
        return self._yields

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._of.over(self._span, error, self._answers)


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


def _remote(parent: re.Match[str]) -> Context:
    context = api.SpanContext(int(parent[2], 16), int(parent[3], 16), True, api.TraceFlags(int(parent[4], 16)))
    return api.set_span_in_context(api.NonRecordingSpan(context), Context())


def _outgoing(span: api.Span, tracestate: str | None) -> Trace:
    context = span.get_span_context()
    return Trace(f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}", tracestate)


def _fail(span: api.Span, cause: str) -> None:
    span.set_attribute("error.type", cause)
    span.set_status(api.StatusCode.ERROR)
