"""The trace of one request, told of as it runs.

While a request is served its trace is notes: names, times, contexts. A span is made when what it stands for is over,
whole and at once: filled piece by piece by the SDK it took four times as long. telemetry.py says which requests have
one, and takes the spans.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Final, Protocol

from opentelemetry import trace as api

from backends.base import Invocation, Trace
from backends.outcome import Outcome
from policies.table import Target
from policies.values import value

from . import spans

_NO_STEP: Final[AbstractContextManager[None]] = nullcontext()
_SAMPLED: Final = api.TraceFlags(api.TraceFlags.SAMPLED)
_FINE: Final = api.Status()
_FAILED: Final = api.Status(api.StatusCode.ERROR)


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


@value(frozen=True, slots=True)
class Span:
    """One that is over. Times are nanoseconds since the epoch."""

    name: str
    kind: api.SpanKind
    context: api.SpanContext
    parent: api.SpanContext | None
    attributes: spans.Attributes
    status: api.Status
    began: int
    ended: int


class Tracer(Protocol):
    """What spans are made by: ids, a clock, and whoever takes them."""

    trace_id: Callable[[], int]
    """A new one, of 128 bits."""
    span_id: Callable[[], int]
    """A new one, of 64 bits."""
    now_ns: Callable[[], int]
    """Nanoseconds since the epoch."""

    def put(self, span: Span) -> None:
        """Take a span. Never waits and never raises."""
        ...


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


UNTRACED: Final = Unsampled(None, None)
"""Of a request that belongs to no trace."""


class Sampled:
    """A request with its spans."""

    def __init__(
        self,
        tracer: Tracer,
        invocation: Invocation,
        began: int,
        parent: api.SpanContext | None,
        kind: api.SpanKind,
        tracestate: str | None,
    ) -> None:
        self.sampled = True
        self._tracer = tracer
        self._invocation = invocation
        self._began = began
        self._parent = parent
        self._kind = kind
        self._tracestate = tracestate
        self._answered: tuple[_Attempt, int] | None = None
        trace_id = tracer.trace_id() if parent is None else parent.trace_id
        self._context = context = _context(trace_id, tracer.span_id())
        self.trace_id = f"{context.trace_id:032x}"
        self.outgoing: Trace | None = self.sent_on(context)

    def step(self, name: str) -> AbstractContextManager[None]:
        return _Step(self, self._below(), self._tracer.now_ns(), name)

    def attempt(self, target: Target, number: int, replica: int = 0) -> AbstractContextManager[Trace | None]:
        return _Attempt(self, self._below(), self._tracer.now_ns(), target, number, replica)

    def inner(self, invocation: Invocation) -> RequestTrace:
        began = self._tracer.now_ns()
        return Sampled(self._tracer, invocation, began, self._context, api.SpanKind.INTERNAL, self._tracestate)

    def finish(self, outcome: Outcome) -> None:
        now = self._tracer.now_ns()
        failed = outcome.ended in spans.FAILED
        if self._answered is not None:
            attempt, answered_at = self._answered
            ended = answered_at if outcome.first_chunk_seconds is None else now
            cause = outcome.ended if failed and outcome.status == 200 else None
            self._attempted(attempt, ended, cause, spans.of_answer(outcome))
        invocation = self._invocation
        attributes = spans.of_request(invocation)
        attributes.update(spans.of_outcome(outcome))
        # A name that only this client knows makes no span name.
        name = f"{spans.operation(invocation)} {invocation.endpoint}" if outcome.endpoint else outcome.operation
        status = _FAILED if failed else _FINE
        self._tracer.put(Span(name, self._kind, self._context, self._parent, attributes, status, self._began, now))

    def stepped(self, step: _Step, error: BaseException | None) -> None:
        """A step is over."""
        attributes: spans.Attributes = {} if error is None else {"error.type": spans.cause(error)}
        status = _FINE if error is None else _FAILED
        now, kind = self._tracer.now_ns(), api.SpanKind.INTERNAL
        self._tracer.put(Span(step.name, kind, step.context, self._context, attributes, status, step.began, now))

    def attempted(self, attempt: _Attempt, error: BaseException | None) -> None:
        """An attempt is over. One that answered stays open: a stream's body and its usage follow."""
        now = self._tracer.now_ns()
        if error is not None:
            self._attempted(attempt, now, spans.cause(error), {})
            return
        if self._answered is not None:  # of two at a time both have answered
            self._attempted(*self._answered, None, {})
        self._answered = attempt, now

    def _attempted(self, attempt: _Attempt, ended: int, cause: str | None, more: spans.Attributes) -> None:
        attributes = spans.of_attempt(attempt.target, attempt.number, self._invocation.streaming, attempt.replica)
        attributes.update(more)
        if cause is not None:
            attributes["error.type"] = cause
        name = f"{attributes['gen_ai.operation.name']} {attributes['gen_ai.request.model']}"
        status, kind = _FINE if cause is None else _FAILED, api.SpanKind.CLIENT
        self._tracer.put(Span(name, kind, attempt.context, self._context, attributes, status, attempt.began, ended))

    def _below(self) -> api.SpanContext:
        return _context(self._context.trace_id, self._tracer.span_id())

    def sent_on(self, context: api.SpanContext) -> Trace:
        """What a target is told of the span that it is asked in."""
        return Trace(f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}", self._tracestate)


class _Step:
    """A step as a context manager; a class, because a generator costs twice as much."""

    __slots__ = ("_of", "began", "context", "name")

    def __init__(self, of: Sampled, context: api.SpanContext, began: int, name: str) -> None:
        self._of = of
        self.context = context
        self.began = began
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._of.stepped(self, error)


class _Attempt:
    """An attempt as a context manager."""

    __slots__ = ("_of", "began", "context", "number", "replica", "target")

    def __init__(
        self, of: Sampled, context: api.SpanContext, began: int, target: Target, number: int, replica: int
    ) -> None:
        self._of = of
        self.context = context
        self.began = began
        self.target = target
        self.number = number
        self.replica = replica

    def __enter__(self) -> Trace:
        return self._of.sent_on(self.context)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._of.attempted(self, error)


def _context(trace_id: int, span_id: int) -> api.SpanContext:
    return api.SpanContext(trace_id, span_id, False, _SAMPLED)
