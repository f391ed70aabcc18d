"""The trace of one request, told of as it runs.

While a request is served its trace is notes: names, times, and ids as they are sent. They become spans later, those of
many requests in a row, in the thread that delivers them: one traced request of a hundred finds nothing of this in the
processor's caches, so the less of it runs the better. telemetry.py says which requests have a trace, and takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Final, Protocol, TypeVar

from opentelemetry import trace as api

from backends.base import Invocation, Trace
from backends.outcome import Note, Outcome, outcome_of
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

    def over(self) -> None:
        """The request ends now, and `finish` follows: else that is the end."""
        ...

    def finish(self, outcome: Outcome | Note) -> None:
        """What became of the request. Call it once, last."""
        ...


T_co = TypeVar("T_co", covariant=True)


class Make(Protocol[T_co]):
    """Makes a span. Times are nanoseconds since the epoch."""

    def __call__(
        self,
        name: str,
        kind: api.SpanKind,
        context: api.SpanContext,
        parent: api.SpanContext | None,
        attributes: spans.Attributes,
        status: api.Status,
        began: int,
        ended: int,
        /,
    ) -> T_co: ...


@value(frozen=True, slots=True)
class Above:
    """The span that a request's own is inside of."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    flags: int
    remote: bool
    """It is the caller's, and not one of a handler's request."""
    tracestate: str | None


class Tracer(Protocol):
    """What traces are made by: ids, a clock, and whoever takes them."""

    trace_id: Callable[[], int]
    """A new one, of 128 bits. From any thread, as is the next."""
    span_id: Callable[[], int]
    """A new one, of 64 bits."""
    now_ns: Callable[[], int]
    """Nanoseconds since the epoch."""

    def put(self, trace: Sampled) -> None:
        """Take the trace of a request that is over. Never waits and never raises."""
        ...


class Unsampled:
    """A request without spans: the caller's trace context passes through."""

    __slots__ = ("outgoing", "sampled", "trace_id")

    def __init__(self, trace_id: str | None, outgoing: Trace | None) -> None:
        self.sampled = False
        self.trace_id = trace_id
        self.outgoing = outgoing

    def step(self, name: str) -> AbstractContextManager[None]:
        return _NO_STEP

    def attempt(self, target: Target, number: int, replica: int = 0) -> AbstractContextManager[Trace | None]:
        return nullcontext(self.outgoing)

    def inner(self, invocation: Invocation) -> RequestTrace:
        return self

    def over(self) -> None:
        pass

    def finish(self, outcome: Outcome | Note) -> None:
        pass


UNTRACED: Final = Unsampled(None, None)
"""Of a request that belongs to no trace."""


class Sampled:
    """A request with its spans."""

    __slots__ = (
        "_above",
        "_attributes",
        "_began",
        "_ended",
        "_invocation",
        "_notes",
        "_span_id",
        "_streaming",
        "_told",
        "_tracer",
        "sampled",
        "trace_id",
    )
    _attributes: spans.Attributes
    _streaming: bool
    _told: Outcome | Note

    def __init__(self, tracer: Tracer, invocation: Invocation, began: int, above: Above | None) -> None:
        self.sampled = True
        self.trace_id = f"{tracer.trace_id():032x}" if above is None else above.trace_id
        self._span_id = f"{tracer.span_id():016x}"
        self._tracer = tracer
        self._invocation: Invocation | None = invocation
        self._above = above
        self._began = began
        self._ended = 0
        self._notes: list[_Step | _Attempt] = []

    @property
    def outgoing(self) -> Trace | None:
        return self._sent_on(self._span_id)

    @property
    def size(self) -> int:
        """How many spans it has."""
        return len(self._notes) + 1

    def step(self, name: str) -> AbstractContextManager[None]:
        step = _Step(name, self._tracer.now_ns)
        self._notes.append(step)
        return step

    def attempt(self, target: Target, number: int, replica: int = 0) -> AbstractContextManager[Trace | None]:
        span_id = f"{self._tracer.span_id():016x}"
        attempt = _Attempt(target, number, replica, span_id, self._sent_on(span_id), self._tracer.now_ns)
        self._notes.append(attempt)
        return attempt

    def inner(self, invocation: Invocation) -> RequestTrace:
        state = None if self._above is None else self._above.tracestate
        above = Above(self.trace_id, self._span_id, api.TraceFlags.SAMPLED, False, state)
        return Sampled(self._tracer, invocation, self._tracer.now_ns(), above)

    def over(self) -> None:
        self._ended = self._tracer.now_ns()

    def finish(self, outcome: Outcome | Note) -> None:
        self._ended = self._ended or self._tracer.now_ns()
        self._told = outcome
        if self._invocation is not None:
            self._streaming = self._invocation.streaming
            self._attributes = spans.of_request(self._invocation)
            self._invocation = None  # the trace waits for seconds, and the request's body is not to
        self._tracer.put(self)

    def made(self, make: Make[T_co]) -> list[T_co]:
        """The spans of a trace that is finished. From any thread: nothing of it changes any more."""
        told = self._told
        outcome = outcome_of(told) if isinstance(told, tuple) else told
        own = _context(self.trace_id, self._span_id)
        answering = _answering(self._notes)
        done: list[T_co] = []
        for note in self._notes:
            cause, ended = note.cause, note.ended or self._ended
            if isinstance(note, _Step):
                name, kind = note.name, api.SpanKind.INTERNAL
                attributes: spans.Attributes = {}
                context = api.SpanContext(own.trace_id, self._tracer.span_id(), False, _SAMPLED)
            else:
                attributes = spans.of_attempt(note.target, note.number, self._streaming, note.replica)
                name = f"{attributes['gen_ai.operation.name']} {attributes['gen_ai.request.model']}"
                context, kind = _context(self.trace_id, note.span_id), api.SpanKind.CLIENT
            if note is answering:
                attributes.update(spans.of_answer(outcome))
                # A stream's attempt lasts as long as its body, and fails with it.
                ended = ended if outcome.first_chunk_seconds is None else self._ended
                cause = spans.broken(outcome)
            if cause is not None:
                attributes["error.type"] = cause
            status = _status(_failed(note, cause, outcome))
            done.append(make(name, kind, context, own, attributes, status, note.began, ended))
        done.append(self._made(own, outcome, make))
        return done

    def _made(self, own: api.SpanContext, outcome: Outcome, make: Make[T_co]) -> T_co:
        """The request's own span."""
        above, parent, kind = self._above, None, api.SpanKind.SERVER
        if above is not None:
            flags = api.TraceFlags(above.flags)
            parent = api.SpanContext(own.trace_id, int(above.span_id, 16), above.remote, flags)
            if not above.remote:
                kind = api.SpanKind.INTERNAL
        # A name that only this client knows makes no span name.
        endpoint = self._attributes["aws.sagemaker.endpoint.name"]
        name = f"{spans.operation(self._streaming)} {endpoint}" if outcome.endpoint else outcome.operation
        attributes = self._attributes | spans.of_outcome(outcome)
        status = _status(outcome.ended in spans.FAILED)
        return make(name, kind, own, parent, attributes, status, self._began, self._ended)

    def _sent_on(self, span_id: str) -> Trace:
        """What a target is told of the span that it is asked in."""
        above = self._above
        return Trace(f"00-{self.trace_id}-{span_id}-01", None if above is None else above.tracestate)


class _Step:
    """A step as a context manager; a class, because a generator costs twice as much."""

    __slots__ = ("_now_ns", "began", "cause", "ended", "name")

    def __init__(self, name: str, now_ns: Callable[[], int]) -> None:
        self.name = name
        self.cause: str | None = None
        self.ended = 0
        self._now_ns = now_ns
        self.began = now_ns()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.ended = self._now_ns()
        if error is not None:
            self.cause = spans.cause(error)


class _Attempt:
    """An attempt as a context manager."""

    __slots__ = ("_now_ns", "_outgoing", "began", "cause", "ended", "number", "replica", "span_id", "target")

    def __init__(
        self, target: Target, number: int, replica: int, span_id: str, outgoing: Trace, now_ns: Callable[[], int]
    ) -> None:
        self.target = target
        self.number = number
        self.replica = replica
        self.span_id = span_id
        self.cause: str | None = None
        self.ended = 0
        self._outgoing = outgoing
        self._now_ns = now_ns
        self.began = now_ns()

    def __enter__(self) -> Trace:
        return self._outgoing

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.ended = self._now_ns()
        if error is not None:
            self.cause = spans.cause(error)


def _answering(notes: list[_Step | _Attempt]) -> _Attempt | None:
    """The attempt whose answer the client got: of two at a time that have answered the later."""
    answered = [note for note in notes if isinstance(note, _Attempt) and note.cause is None]
    return max(answered, key=lambda attempt: attempt.ended, default=None)


def _failed(note: _Step | _Attempt, cause: str | None, outcome: Outcome) -> bool:
    """What was given up has not failed, nor has a step of a request that was refused, or whose client left."""
    return cause not in {None, spans.GIVEN_UP} and (isinstance(note, _Attempt) or outcome.ended in spans.FAILED)


def _context(trace_id: str, span_id: str) -> api.SpanContext:
    return api.SpanContext(int(trace_id, 16), int(span_id, 16), False, _SAMPLED)


def _status(failed: bool) -> api.Status:
    return _FAILED if failed else _FINE
