"""OpenTelemetry: one span a request, one a step, one an attempt; the only importer of the SDK.

Whether a request is sampled is decided once, at entry: by the caller's `traceparent` where there is one, else by
`draw() < sample`. An unsampled request makes no span object, and the caller's trace context goes on unchanged. A
sampled one continues the caller's trace, and each target gets the context of its own attempt's span.

What a request tells of itself is traced.py's, names and attributes are spans.py's. Traces wait as notes in the SDK's
queue, and leave in batches, from a thread of the SDK, which makes the spans of a batch first. An exporter that fails or
is not there costs spans, never a request; `spans_lost` counts them. No global tracer provider is set.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

from opentelemetry import trace as api
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.environment_variables import OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BSP_MAX_QUEUE_SIZE
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from backends.base import Invocation

from . import spans
from .collector import URL, Collector
from .traced import UNTRACED, Above, RequestTrace, Sampled, Unsampled

if TYPE_CHECKING:
    import requests

log = logging.getLogger("pointsman.proxy")

OFF, CONSOLE = "off", "console"

_ATTRIBUTES: Final = len(spans.ATTRIBUTES)
"""More than any span has."""

_AT_A_TIME: Final = 512
"""Spans in one delivery, and traces that are waited for before the delay is over: the SDK's own default."""
_ROOM: Final = 2048
"""Traces that wait: the SDK's default for what its queue holds."""

_PROVIDERS: Final = [f"OTEL_PYTHON_EXPORTER_OTLP_HTTP_{which}CREDENTIAL_PROVIDER" for which in ("", "TRACES_")]

_MANNERS: Final = ["NETRC"] + [
    f"OTEL_EXPORTER_OTLP_{which}{what}" for what in ("HEADERS", "COMPRESSION") for which in ("", "TRACES_")
]
_NETRC: Final = ("~/.netrc", "~/_netrc")
"""Where `requests` looks for users and passwords, unless the variable NETRC names a file."""

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
        self._sink: _Exporter | None = None
        self._provider: TracerProvider | None = None
        self._tracer: _Tracer | None = None
        if sink is None and exporter != OFF:
            sink = _exporter(exporter, version)
        if sink is not None:
            self._sink = _Exporter(sink, _Maker(version), _number(OTEL_BSP_MAX_EXPORT_BATCH_SIZE, _AT_A_TIME))
            processor = BatchSpanProcessor(self._sink)
            self._provider = TracerProvider(shutdown_on_exit=False)
            self._provider.add_span_processor(processor)
            if isinstance(self._provider.get_tracer("pointsman"), Tracer):  # it is another with OTEL_SDK_DISABLED
                self._tracer = _Tracer(processor, self._sink, _number(OTEL_BSP_MAX_QUEUE_SIZE, _ROOM), clock_ns)

    @property
    def spans_lost(self) -> int:
        """Spans that could not be delivered since the start."""
        refused = self._tracer.refused if self._tracer else 0
        return refused + (self._sink.lost if self._sink else 0)

    def start(self, invocation: Invocation, now_ns: int) -> RequestTrace:
        """Begin the trace of one request that arrived at `now_ns` (nanoseconds since the epoch)."""
        tracer, incoming = self._tracer, invocation.trace
        if incoming is not None:
            found = _TRACEPARENT.fullmatch(incoming.traceparent)
            if found is not None and not (found[5] and found[1] == "00"):
                flags = int(found[4], 16)
                if tracer is None or not flags & 1:
                    return Unsampled(found[2], incoming)
                above = Above(found[2], found[3], flags, remote=True, tracestate=incoming.tracestate)
                return Sampled(tracer, invocation, now_ns, above)
        if tracer is None or self._draw() >= self._sample:
            return UNTRACED
        return Sampled(tracer, invocation, now_ns, None)

    def shutdown(self) -> None:
        """Deliver the spans that wait, within a few seconds, and stop. Call it once, off the event loop's hot hours."""
        if self._sink is not None:
            self._sink.closing = True
        if self._provider is not None:
            self._provider.shutdown()


class _Tracer:
    """Puts traces into the SDK's queue, as far as it has room: what it drops by itself nobody counts."""

    def __init__(self, processor: SpanProcessor, sink: _Exporter, room: int, clock_ns: Callable[[], int]) -> None:
        ids = RandomIdGenerator()
        self.trace_id = ids.generate_trace_id
        self.span_id = ids.generate_span_id
        self.now_ns = clock_ns
        self._processor = processor
        self._sink = sink
        self._room = room
        self._given = 0
        self.refused = 0
        """Spans."""

    def put(self, trace: Sampled) -> None:
        if self._given - self._sink.taken >= self._room:
            self.refused += trace.size
            return
        self._given += 1
        self._processor.on_end(cast("ReadableSpan", _Waiting(trace)))


class _Waiting:
    """A trace in the SDK's queue. Of what comes the queue asks nothing but whether it is sampled."""

    __slots__ = ("trace",)
    context: Final = api.SpanContext(1, 1, False, api.TraceFlags(api.TraceFlags.SAMPLED))

    def __init__(self, trace: Sampled) -> None:
        self.trace = trace


class _Maker:
    """Makes the SDK's spans."""

    def __init__(self, version: str) -> None:
        self._resource = _resource(version)
        self._scope = InstrumentationScope("pointsman", version)
        limits = SpanLimits()  # OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT and its like
        self._most, self._longest = limits.max_span_attributes, limits.max_span_attribute_length
        self._limited = self._longest is not None or (self._most is not None and self._most < _ATTRIBUTES)

    def make(
        self,
        name: str,
        kind: api.SpanKind,
        context: api.SpanContext,
        parent: api.SpanContext | None,
        attributes: spans.Attributes,
        status: api.Status,
        began: int,
        ended: int,
    ) -> ReadableSpan:
        """See `traced.Make`."""
        if self._limited:
            bounded = BoundedAttributes(self._most, attributes, immutable=False, max_value_len=self._longest)
            attributes = dict(cast("Mapping[str, str | int | float | bool]", bounded))
        return ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            attributes,
            kind=kind,
            status=status,
            start_time=began,
            end_time=ended,
            instrumentation_scope=self._scope,
        )


class _Exporter(SpanExporter):
    """Makes the spans of the traces that have waited, for the exporter behind it, at most `most` at a time. It counts
    what that loses, and gives up at the first failure once the process is closing."""

    def __init__(self, inner: SpanExporter, maker: _Maker, most: int) -> None:
        self._inner = inner
        self._make = maker.make
        self._most = most
        self._failing = False
        self.closing = False
        self.taken = 0
        """Traces."""
        self.lost = 0
        """Spans."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        made: list[ReadableSpan] = []
        for waiting in cast("Sequence[_Waiting]", spans):
            try:
                made += waiting.trace.made(self._make)
            except Exception:  # a bug of ours, which must cost no other request its spans
                log.exception("the spans of a request could not be made")
                self.lost += waiting.trace.size
            while len(made) >= self._most:
                self._export(made[: self._most])
                del made[: self._most]
        if made:
            self._export(made)
        return SpanExportResult.FAILURE if self._failing else SpanExportResult.SUCCESS

    def _export(self, spans: Sequence[ReadableSpan]) -> None:
        result = SpanExportResult.FAILURE
        if not (self.closing and self._failing):
            try:
                result = self._inner.export(spans)
            except Exception:  # noqa: BLE001 - whatever an exporter does, it costs spans and nothing else
                result = SpanExportResult.FAILURE
        self._failing = result is not SpanExportResult.SUCCESS
        if self._failing:
            self.lost += len(spans)

    def shutdown(self) -> None:
        self._inner.shutdown()


def _number(name: str, default: int) -> int:
    """A setting of the SDK's queue as the queue itself takes it."""
    try:
        return int(os.environ.get(name, default))
    except ValueError:  # the SDK says so in the log
        return default


def _exporter(name: str, version: str) -> SpanExporter:
    if name == CONSOLE:
        return ConsoleSpanExporter(out=sys.stderr, formatter=lambda span: f"{span.to_json(indent=None)}\n")
    if not name.startswith(("http://", "https://")):
        message = f"exporter is {name!r}: give off, console, or the http:// or https:// URL of an OTLP collector"
        raise ValueError(message)
    url = name.rstrip("/")
    url = url if url.endswith("/v1/traces") else f"{url}/v1/traces"
    # Here and not above, like all that is imported below: protobuf takes 2 MB, and requests 4, that `off` need not pay.
    if _plain(url):
        return _Plain(url, version)

    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(url, timeout=EXPORT_TIMEOUT, session=_session())


def _plain(url: str) -> bool:
    """Whether a delivery is a body and nothing else: no TLS, no proxy on the way, and no word of the environment about
    credentials or compression. Then it needs no more than a socket."""
    if URL.fullmatch(url) is None or any(os.environ.get(name) for name in (*_PROVIDERS, *_MANNERS)):
        return False
    proxies, host = urllib.request.getproxies_environment(), urlsplit(url).hostname or ""
    if ("http" in proxies or "all" in proxies) and not urllib.request.proxy_bypass(host):
        return False
    return not any(Path(name).expanduser().exists() for name in _NETRC)


class _Plain(SpanExporter):
    """OTLP in the clear, with OpenTelemetry's own encoding and without `requests`."""

    def __init__(self, url: str, version: str) -> None:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        from .rejections import Rejections

        self._encode = encode_spans
        headers = {"Content-Type": "application/x-protobuf", "User-Agent": f"pointsman/{version}"}
        self._collector = Collector(url, headers, EXPORT_TIMEOUT, Rejections(time.monotonic_ns).heard, time.monotonic)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        taken = self._collector.take(self._encode(spans).SerializePartialToString())
        return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self._collector.close()


def _session() -> requests.Session | None:
    """How the exporter is to speak HTTP: as it does by itself, but what collectors answer is looked at. None where its
    environment names a provider of sessions, which makes one with credentials."""
    if any(os.environ.get(name) for name in _PROVIDERS):
        return None
    import requests  # what the exporter sends with, and takes a session of

    from .rejections import Rejections

    session = requests.Session()
    session.hooks["response"].append(Rejections(time.monotonic_ns))
    return session


class _Own(Resource):
    """The resource of all spans. The exporter sorts each span by its resource, of which the SDK's own makes JSON each
    time: a seventh of all that a traced request costs. This one is what it is by being the same object."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


def _resource(version: str) -> Resource:
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, which the detector reads, win over our own words.
    own = Resource.create({"service.name": "pointsman", "service.version": version})
    merged = own.merge(OTELResourceDetector().detect())
    return _Own(merged.attributes, merged.schema_url)
