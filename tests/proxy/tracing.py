"""A telemetry whose spans stay in memory, and what is traced with it."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from backends.base import Invocation, Trace
from policies.table import EndpointSpec, Target
from proxy.telemetry import Telemetry
from proxy.traced import RequestTrace

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
