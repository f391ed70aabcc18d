"""What every face does with a call once it knows the model: faults first, then a place, then the container's answer.

A face gives the desk its own wording (`Wording`): how its service says that a model is cold, that it is full, that
the model failed. The desk keeps the order, so that the same faults mean the same on every face.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from .answers import Answer, Flow, Headers, Outlet, Part, Received
from .container import Question, Reply
from .faults import Effects, Fault
from .hosting import Hosted, connection_fault
from .roster import Turned
from .streams import Ending, Pace

_GARBAGE = {
    "json": ("application/json", b'{"status":"loading"}'),
    "html": ("text/html", b"<html><body>It works!</body></html>"),
    "empty": ("application/json", b""),
    "cut-json": ("application/json", b'{"id":"chatcmpl-0","choices":[{"index":0,"mess'),
}
_PAGES = {502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Time-out"}


@dataclass(frozen=True, slots=True)
class Call:
    """One call on its way through the desk."""

    received: Received
    hosted: Hosted
    stream: bool
    """Whether the face was asked for a stream (by URL, or by the body where there is one URL)."""
    question: Question
    slowness: float = 1.0
    """By what the model's times are multiplied."""


class Wording(Protocol):
    """How one service says things."""

    unary_limit: float | None
    """Seconds in which an unary answer must be there, or None: no limit."""
    stream_limit: float | None

    def turned(self, call: Call, why: Turned) -> Answer:
        """There is no place for the call."""
        ...

    def fault(self, call: Call, fault: Fault) -> Answer:
        """The error that a fault of stage `answer` asks for."""
        ...

    def late(self, call: Call) -> Answer:
        """The model did not answer in time."""
        ...

    def ask(self, call: Call) -> Reply:
        """The container's answer."""
        ...

    def unary(self, call: Call, reply: Reply) -> Answer:
        """The whole answer, also of a container that failed."""
        ...

    def stream(
        self, call: Call, reply: Reply, effects: Effects, pace: Pace
    ) -> tuple[Headers, tuple[Part, ...], Ending] | Answer:
        """The streamed answer, or an answer instead when the container failed."""
        ...


async def serve(
    call: Call, wording: Wording, outlet: Outlet, live: Callable[[Call], Awaitable[None]] | None = None
) -> tuple[str, ...]:
    """Answer one call; returns the names of the faults that struck it. ConnectionError when the client has gone.

    `live` answers in place of the generated model, once the call has its place.
    """
    hosted = call.hosted
    effects = hosted.effects(call.stream)
    if effects.connection is not None:
        await connection_fault(effects.connection, outlet, hosted.clock)
        return effects.fired
    if effects.answer is not None:
        await hosted.clock.rest(effects.first_byte)
        await outlet.answer(_answer(call, wording, effects.answer))
        return effects.fired
    place = await hosted.roster.enter()
    if isinstance(place, Turned):
        await outlet.answer(wording.turned(call, place))
        return effects.fired
    if live is not None:
        await hosted.clock.rest(effects.first_byte)
        with hosted.seated(place, Reply(200, "", ())):
            await live(call)
        return effects.fired
    asked = replace(call.question, accent="split-utf8" in effects.reshape)
    call = replace(call, question=asked, slowness=hosted.slowness(place))
    reply = wording.ask(call)
    with hosted.seated(place, reply):
        if call.stream:
            await _stream(call, wording, outlet, reply, effects)
        else:
            await _unary(call, wording, outlet, reply, effects)
    return effects.fired


async def _unary(call: Call, wording: Wording, outlet: Outlet, reply: Reply, effects: Effects) -> None:
    latency, clock = call.hosted.config.latency, call.hosted.clock
    needed = effects.first_byte + call.slowness * (latency.first_byte + latency.per_token * reply.completion_tokens)
    if wording.unary_limit is not None and needed > wording.unary_limit:
        await clock.rest(wording.unary_limit)
        await outlet.answer(wording.late(call))
        return
    await clock.rest(needed)
    answer = wording.unary(call, reply)
    if effects.body is not None and effects.body.name == "garbage-200":
        answer = _garbage(effects.body)
    elif effects.body is not None:
        answer = replace(answer, missing=10)
    await outlet.answer(answer)


async def _stream(call: Call, wording: Wording, outlet: Outlet, reply: Reply, effects: Effects) -> None:
    latency, slowness = call.hosted.config.latency, call.slowness
    whole = 0.0 if reply.streamed else latency.per_token * reply.completion_tokens
    pace = Pace(
        first_byte=effects.first_byte + slowness * (latency.first_byte + whole),
        per_part=effects.per_part + slowness * latency.per_token,
        limit=wording.stream_limit,
    )
    planned: tuple[Headers, tuple[Part, ...], Ending] | Answer
    if effects.body is not None and effects.body.name == "garbage-200":
        planned = _garbage(effects.body)
    else:
        planned = wording.stream(call, reply, effects, pace)
    if isinstance(planned, Answer):
        await call.hosted.clock.rest(pace.first_byte)
        await outlet.answer(planned)
        return
    headers, parts, ending = planned
    with call.hosted.gate(effects.acknowledged) as gate:
        await outlet.flow(Flow(headers, parts, ending, gate))


def _garbage(fault: Fault) -> Answer:
    kind, body = _GARBAGE[fault.content]
    return Answer(200, (("Content-Type", kind),), body)


def _answer(call: Call, wording: Wording, fault: Fault) -> Answer:
    if fault.name.startswith("html-"):
        status = int(fault.name[5:])
        title = f"{status} {_PAGES[status]}"
        page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
        return Answer(status, (("Content-Type", "text/html"),), page.encode())
    if fault.name == "empty-503":
        return Answer(503, (), b"")
    answer = wording.fault(call, fault)
    if fault.retry_after_ms is not None:
        answer = replace(answer, headers=(*answer.headers, ("x-amz-retry-after", str(fault.retry_after_ms))))
    return answer
