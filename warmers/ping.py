"""One warm-up, from its first attempt to its answer: `Backend.invoke`, as a client's request takes it, and no handler.

A target that turns out cold is asked again until it answers or the longest declared restore is over, and once more a
pace later, since one that takes just as long is back just then: only a successful inference counts, and each attempt
keeps the service restoring. What it took is written down as of any request: in the
book (so that it suppresses the next one, and tells `choose` what is cold), a log line and a span of their own kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

from backends.base import Backend, Call, Invocation, Reply, Trace
from backends.book import Book
from backends.errors import BackendError
from backends.meters import Meters
from backends.outcome import WARM, AttemptOutcome, Outcome
from backends.temperatures import Temperatures
from backends.wire.usage import counted
from policies.table import Route, RouteTable, Target
from policies.temperature import pace

from .asking import question

RESTORE = 300.0
"""Seconds a cold target is waited for when the policy declares no restore: Bedrock serves within five minutes or says
that the model is not ready (user guide, "Invoke your imported model")."""
SLOW = 10.0
"""Seconds after which a one-token answer met a cold target, when the policy declares no restore: AWS's blogs tell of
tens of seconds for the smallest models."""


class PingTrace(Protocol):
    """The trace of one warm-up."""

    @property
    def trace_id(self) -> str | None:
        """32 hex digits; None when it belongs to no trace."""

    def attempt(self, target: Target, number: int, replica: int = 0) -> AbstractContextManager[Trace | None]:
        """A span around one attempt; gives the context that goes out with it."""
        ...

    def finish(self, outcome: Outcome) -> None:
        """The warm-up is over."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What the warmer works with: the traffic's own backends and book, clocks, and where to tell what it did."""

    table: Callable[[], tuple[RouteTable, str]]
    """The policy in force and its label."""
    backends: Mapping[str, Backend]
    book: Book
    meters: Meters
    now: Callable[[], float]
    """Seconds, steadily: the clock that the book is kept by."""
    wall: Callable[[], float]
    """Seconds since 1970."""
    draw: Callable[[], float]
    new_id: Callable[[], str]
    pause: Callable[[float], Awaitable[None]]
    """Waits that many seconds of `now`."""
    trace: Callable[[Invocation, int], PingTrace]
    """Begins a trace at that many nanoseconds since 1970."""
    tell: Callable[[Outcome], None]
    temperatures: Temperatures = field(default_factory=Temperatures)
    """Where it is written down how warm targets are: the traffic's own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one warm-up request."""

    cold: bool
    """It met the target cold."""
    seconds: float
    """Until it was answered, or given up."""
    failure: str | None = None
    """Why it was not answered, in words for operators."""


def patience(target: Target) -> float:
    """Seconds after which a cold target is asked for the last time: a pace after its longest restore."""
    return (target.restore[1] if target.restore else RESTORE) + pace(target.restore)


async def ask(parts: Parts, route: Route, target: Target, replica: int, why: str) -> Answer:
    """One warm-up of one replica, answered or given up; it raises only what is a bug, or cancellation."""
    call = question(route, target, parts.new_id())
    asked = _Asked(parts, route, target, replica, call)
    started = parts.wall()
    trace = parts.trace(call.invocation, int(started * 1e9))
    failure: BackendError | None = None
    parts.temperatures.asking(target, parts.now(), 1)
    try:
        await asked.until_answered(trace)
    except BackendError as error:
        failure = error
    finally:
        parts.temperatures.asking(target, parts.now(), -1)
    answer = Answer(asked.cold, parts.now() - asked.began, failure.cause if failure else None)
    outcome = asked.outcome(started, why, failure, trace.trace_id)
    trace.finish(outcome)
    parts.tell(outcome)
    return answer


class _Asked:
    """One warm-up as it goes on."""

    def __init__(self, parts: Parts, route: Route, target: Target, replica: int, call: Call) -> None:
        self.began = parts.now()
        self.cold = False
        self._parts = parts
        self._route = route
        self._target = target
        self._replica = replica
        self._call = call
        self._attempts: list[AttemptOutcome] = []
        self._reply: Reply | None = None

    async def until_answered(self, trace: PingTrace) -> None:
        """Attempts until one is answered. Raises BackendError when that can't be expected any more."""
        limit = patience(self._target)
        while True:
            try:
                await self._attempt(trace, limit)
                return
            except BackendError as error:
                self.cold = self.cold or error.facts.cold
                wait = error.facts.retry_after or pace(self._target.restore)
                left = self.began + limit - self._parts.now()
                if not error.facts.cold or left <= 0.0:
                    raise
            await self._parts.pause(min(wait, left))

    async def _attempt(self, trace: PingTrace, limit: float) -> None:
        parts, target, replica = self._parts, self._target, self._replica
        begin = parts.now()
        left = max(1.0, self.began + limit - begin)
        failure: BackendError | None = None
        parts.book.begin(target, replica)
        parts.temperatures.sent(target, begin)
        try:
            with trace.attempt(target, len(self._attempts) + 1, replica) as context:
                deadline = asyncio.get_running_loop().time() + left
                backend = parts.backends[target.kind]
                self._reply = await backend.invoke(target, replace(self._call, trace=context), deadline, replica)
            parts.book.answered(target, replica, parts.now())
            took = parts.temperatures.answered(target, begin, parts.now())
            if took is not None:
                parts.meters.cold.restored(target.name, took)
        except BackendError as error:
            failure = error
            if error.facts.cold:
                parts.temperatures.met_cold(target, parts.now(), replica)
            raise
        finally:
            seconds = parts.now() - begin
            if self._reply is None and not (failure and failure.facts.cold):
                parts.temperatures.failed(target, begin, parts.now())
            parts.book.end(target, replica, failure.facts if failure else None, parts.now())
            self._attempts.append(_told(target, replica, seconds, failure))
            self.cold = self.cold or seconds >= (target.restore[0] if target.restore else SLOW)

    def outcome(self, started: float, why: str, failure: BackendError | None, trace_id: str | None) -> Outcome:
        seconds = self._parts.now() - self.began
        said = failure.said.status if failure is not None and failure.said is not None else 0
        return Outcome(
            request_id=self._call.invocation.request_id,
            endpoint=self._route.endpoint,
            component=self._route.component,
            operation=WARM,
            status=200 if failure is None else said or 503,
            error_type=failure.said.type if failure is not None and failure.said is not None else None,
            ended="done" if failure is None else "failed",
            started=started,
            seconds=seconds,
            backend_seconds=seconds,
            first_chunk_seconds=None,
            first_chunk_backend_seconds=None,
            attempts=tuple(self._attempts),
            bytes_in=len(self._call.body),
            bytes_out=len(self._reply.body) if self._reply else 0,
            parts_out=0,
            policy=self._parts.table()[1],
            why=why,
            owner=self._route.owner,
            usage=counted(self._reply) if self._reply else None,
            trace_id=trace_id,
        )


def _told(target: Target, replica: int, seconds: float, failure: BackendError | None) -> AttemptOutcome:
    if failure is None:
        return AttemptOutcome(target.name, target.kind, replica, seconds)
    facts = failure.facts
    return AttemptOutcome(
        target=target.name,
        kind=target.kind,
        replica=replica,
        seconds=seconds,
        failure=failure.cause,
        cold=facts.cold,
        throttled=facts.throttled,
        timed_out=facts.timed_out,
        status=(failure.said.status or None) if failure.said else None,
    )
