"""Faults with fixed names: what can be made to go wrong, and which of it happens to a given call.

A fault is data: a name from `table(service)`, when it happens (always, the first N calls, every Nth, by a seeded
draw; for unary calls, streams or both) and its few parameters. `effects` turns the faults of a model and the number
of the call into one value that the faces act on; it is a function of its arguments, so the same seed breaks the same
calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .aws import BEDROCK, SAGEMAKER, errors_of, stream_errors_of
from .frames import BadCrc

ENGINE = "engine"
"""The third face, beside the two services: an OpenAI-compatible engine, which has no modelled errors."""

Stage = Literal["answer", "delay", "connection", "body", "stream", "stream-error", "reshape"]


@dataclass(frozen=True, slots=True)
class FaultKind:
    """What a fault's name stands for; the documentation's table is held against these."""

    stage: Stage
    means: str
    status: int | None = None


_ANYWHERE: Mapping[str, FaultKind] = {
    "html-502": FaultKind("answer", "a gateway's HTML page, status 502, no error type", 502),
    "html-503": FaultKind("answer", "a gateway's HTML page, status 503, no error type", 503),
    "html-504": FaultKind("answer", "a gateway's HTML page, status 504, no error type", 504),
    "empty-503": FaultKind("answer", "status 503 with an empty body and no error type", 503),
    "slow-first-byte": FaultKind("delay", "`seconds` (default 5) more before the first byte of the answer"),
    "slow-parts": FaultKind("delay", "`seconds` (default 1) more before each part of a stream after the first"),
    "hang": FaultKind("connection", "no answer at all until the client goes, or after `seconds` the connection closes"),
    "refuse": FaultKind("connection", "the connection closes without an answer"),
    "reset": FaultKind("connection", "the connection is reset (RST) without an answer"),
    "wrong-content-length": FaultKind("body", "a unary answer declares ten bytes more than it has, then closes"),
    "garbage-200": FaultKind("body", "status 200 whose body is no answer: `content` json, html, empty or cut-json"),
    "cut-stream": FaultKind(
        "stream", "after `after.part` parts the stream ends: `end` clean, half-frame, close or reset"
    ),
    "acknowledged": FaultKind("reshape", "part n+1 of a stream is sent only after part n was acknowledged"),
}
_RAW_BYTES: Mapping[str, FaultKind] = {
    "split-utf8": FaultKind("reshape", "one character of the text is split over two parts"),
    "two-events-in-one-part": FaultKind("reshape", "parts hold two events (lines) each"),
    "one-event-over-two-parts": FaultKind("reshape", "each event (line) is split over two parts"),
}
_FRAMES: Mapping[str, FaultKind] = {
    "bad-crc": FaultKind("stream", "the frame after `after.part` parts has a wrong CRC: `where` message or prelude"),
    "unmodelled-stream-error": FaultKind("stream-error", "a `:message-type error` frame: `error_code`, `message`"),
}
_ENDPOINT: Mapping[str, FaultKind] = {
    "no-capacity": FaultKind("answer", "ValidationError with the text of an inference component at zero copies", 400),
    "unknown-endpoint": FaultKind("answer", "ValidationError `Endpoint ... not found.`", 400),
    "model-timeout": FaultKind("answer", "ModelError with OriginalStatusCode 0 and the time-out text, at once", 424),
    "413": FaultKind("answer", "RequestEntityTooLargeException", 413),
}
_ENGINE: Mapping[str, FaultKind] = {
    "engine-error": FaultKind("answer", "an error in the engine's own shape; `status` (default 500)", 500),
    "sse-error": FaultKind("stream-error", 'after `after.part` parts an event `data: {"error": ...}`, then [DONE]'),
}


@cache
def table(service: str) -> Mapping[str, FaultKind]:
    """Every fault that a model behind `service` can have, by name."""
    if service == ENGINE:
        return {**_ENGINE, **_ANYWHERE, **_RAW_BYTES}
    answers = {
        name: FaultKind("answer", "the error of that name", shape.status) for name, shape in errors_of(service).items()
    }
    streams = {
        name: FaultKind("stream-error", "the modelled in-stream exception") for name in stream_errors_of(service)
    }
    own = {**_ENDPOINT, **_RAW_BYTES} if service == SAGEMAKER else {"413": _ENDPOINT["413"]}
    return {**answers, **streams, **own, **_FRAMES, **_ANYWHERE}


class After(BaseModel):
    """When within a stream."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: int = Field(ge=0)
    """Number of parts that go out unharmed before."""


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Fault(BaseModel):
    """One entry of a model's `faults`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, BeforeValidator(_text)]
    on: Literal["any", "unary", "stream"] = "any"
    first: int | None = Field(default=None, ge=1)
    """Only the first N calls that it applies to."""
    every: int | None = Field(default=None, ge=1)
    """Only every Nth call that it applies to."""
    probability: float | None = Field(default=None, ge=0, le=1)
    """Each call with this chance, drawn from the seed, the model and the number of the call."""
    message: str | None = None
    status: int | None = Field(default=None, ge=400, le=599)
    """Another HTTP status for an error, e.g. 400 for ThrottlingException."""
    original_status_code: int | None = Field(default=None, ge=0, le=599)
    original_message: str | None = None
    error_code: str | None = None
    retry_after_ms: int | None = Field(default=None, ge=0)
    """Adds `x-amz-retry-after`."""
    seconds: float | None = Field(default=None, ge=0)
    after: After | None = None
    end: Literal["clean", "half-frame", "close", "reset"] = "reset"
    where: Literal["message", "prelude"] = "message"
    content: Literal["json", "html", "empty", "cut-json"] = "json"

    def complaint(self, service: str) -> str | None:
        """Why a model behind `service` cannot have this fault, with what it can have instead; None when it can."""
        known = table(service)
        if self.name in known:
            return None
        elsewhere = [other for other in (SAGEMAKER, BEDROCK, ENGINE) if self.name in table(other)]
        if elsewhere:
            return f"fault '{self.name}' is one of {' and '.join(elsewhere)}, not of {service}"
        return f"unknown fault '{self.name}'; {service} has: {', '.join(sorted(known))}"


@dataclass(frozen=True, slots=True)
class Effects:
    """What the faults do to one call; the default is nothing."""

    answer: Fault | None = None
    connection: Fault | None = None
    body: Fault | None = None
    stream_end: Fault | None = None
    """A cut or an in-stream error, after `part` parts."""
    crc: Fault | None = None
    first_byte: float = 0.0
    per_part: float = 0.0
    acknowledged: bool = False
    reshape: tuple[str, ...] = ()
    fired: tuple[str, ...] = ()

    def bad_crc(self, part: int) -> BadCrc:
        """Which checksum of the part with this index (from 0) is spoilt."""
        if self.crc is None or part != (self.crc.after.part if self.crc.after else 0):
            return "none"
        return self.crc.where


def effects(faults: Sequence[Fault], counts: Sequence[int], service: str, seed: int, model: str) -> Effects:
    """What happens to one call. `counts[i]`: calls that `faults[i]` applied to, this one included; 0: not to this."""
    found = Effects()
    for index, (fault, count) in enumerate(zip(faults, counts, strict=True)):
        if count > 0 and _fires(fault, count, f"{seed}/{model}/{index}/{count}"):
            found = _with(found, fault, table(service)[fault.name].stage)
    return found


def applies(fault: Fault, stream: bool) -> bool:
    """Whether a call of this form counts for the fault."""
    return fault.on == "any" or (fault.on == "stream") == stream


def _fires(fault: Fault, count: int, key: str) -> bool:
    if fault.first is not None and count > fault.first:
        return False
    if fault.every is not None and count % fault.every:
        return False
    return fault.probability is None or draw(key) < fault.probability


def draw(key: str) -> float:
    """A number in [0, 1) that depends on `key` alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big") / 2**56


def _with(found: Effects, fault: Fault, stage: Stage) -> Effects:
    found = replace(found, fired=(*found.fired, fault.name))
    match stage:
        case "answer":
            return replace(found, answer=found.answer or fault)
        case "connection":
            return replace(found, connection=found.connection or fault)
        case "body":
            return replace(found, body=found.body or fault)
        case "stream" if fault.name == "bad-crc":
            return replace(found, crc=found.crc or fault)
        case "stream" | "stream-error":
            return replace(found, stream_end=found.stream_end or fault)
        case "delay" if fault.name == "slow-first-byte":
            return replace(found, first_byte=found.first_byte + (5.0 if fault.seconds is None else fault.seconds))
        case "delay":
            return replace(found, per_part=found.per_part + (1.0 if fault.seconds is None else fault.seconds))
        case "reshape" if fault.name == "acknowledged":
            return replace(found, acknowledged=True)
        case _:
            return replace(found, reshape=(*found.reshape, fault.name))
