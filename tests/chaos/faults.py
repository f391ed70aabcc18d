"""What a fault is: something that an upstream does, and what the client must get all the same.

A fault is data, so that the same list is tested one by one (`test_upstreams.py`), mixed for half an hour
(`benchmarks/soak.py`) and printed (docs/reliability.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from backends.emulator.aws import BEDROCK, SAGEMAKER
from backends.emulator.frames import data_frame
from tests.contract.raw import Exchange

from .upstream import Script

Kind = Literal["endpoint", "bedrock", "vllm"]
Place = Literal["serves", "refuses", "full"]

PATIENT = 25.0
"""Deadline, in seconds, of routes on which the fault itself must end the request, long before."""
BRIEF = 1.0
"""Deadline of routes on which only the deadline can end it."""
SLACK = 15.0
"""Seconds past what is promised that an answer may take on a machine that is busy with other things."""

OBJECTS = [
    json.dumps({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": word}}]}).encode()
    for word in ("one", "two", "three")
]
EVENTS = [b"data: " + each + b"\n\n" for each in OBJECTS]
DONE = b"data: [DONE]\n\n"
FRAMES = [data_frame(SAGEMAKER, event) for event in [*EVENTS, DONE]]
CHUNKS = [data_frame(BEDROCK, each) for each in OBJECTS]
"""A streamed answer as OpenAI's engines, SageMaker and Bedrock frame it."""
WHOLE = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "one two three"}}]}'


class Promise(Protocol):
    """What the client gets. `str` of it is what docs/reliability.md says."""

    def hold(self, answer: Exchange) -> None:
        """Raises AssertionError when `answer` is something else."""
        ...


@dataclass(frozen=True, slots=True)
class Refused:
    """One typed error."""

    status: int
    type: str
    original: int | None = None
    """OriginalStatusCode of a ModelError."""
    retry_after: str | None = None
    in_time: bool = False
    """It says when to come again, whatever that is."""

    def __str__(self) -> str:
        original = "" if self.original is None else f", OriginalStatusCode {self.original}"
        after = f", `Retry-After: {self.retry_after}`" if self.retry_after else ""
        after += ", with `Retry-After`" if self.in_time else ""
        return f"{self.status} {self.type}{original}{after}"

    def hold(self, answer: Exchange) -> None:
        assert (answer.status, answer.error, answer.whole, answer.rest) == (self.status, self.type, True, b""), answer
        document = answer.document
        assert document["Message"] or self.type == "ModelError"
        assert document.get("OriginalStatusCode") == self.original, answer
        assert answer.headers["x-amzn-requestid"]
        if self.in_time:
            assert int(answer.headers["x-amz-retry-after"]) >= 1000 * int(answer.headers["retry-after"]) - 1000 >= 0
        else:
            assert answer.headers.get("retry-after") == self.retry_after


@dataclass(frozen=True, slots=True)
class Served:
    """The model's answer, byte for byte."""

    body: bytes = WHOLE

    def __str__(self) -> str:
        return "the answer, byte for byte"

    def hold(self, answer: Exchange) -> None:
        assert (answer.status, answer.body, answer.whole, answer.rest) == (200, self.body, True, b""), answer


@dataclass(frozen=True, slots=True)
class Streamed:
    """A whole stream."""

    parts: tuple[bytes, ...] = (*EVENTS, DONE)

    def __str__(self) -> str:
        return "the whole stream, one part an event"

    def hold(self, answer: Exchange) -> None:
        assert (answer.status, answer.whole, answer.rest) == (200, True, b""), answer
        assert [(event.kind, event.payload) for event in answer.events()] == [("PayloadPart", p) for p in self.parts]


@dataclass(frozen=True, slots=True)
class BrokenOff:
    """The parts that were whole, and one frame that says that there should have been more."""

    parts: tuple[bytes, ...]
    code: str | None = "StreamBroken"
    type: str = "ModelStreamError"

    def __str__(self) -> str:
        return f"what was whole, then one {self.type} frame" + (f", {self.code}" if self.code else "")

    def hold(self, answer: Exchange) -> None:
        assert (answer.status, answer.whole, answer.rest) == (200, True, b""), answer
        *events, last = answer.events()
        assert [event.payload for event in events] == list(self.parts)
        assert (last.headers[":message-type"], last.kind) == ("exception", self.type)
        assert json.loads(last.payload).get("ErrorCode") == self.code


@dataclass(frozen=True, slots=True)
class CutUp:
    """A line without end: pieces of bounded size, and at the deadline the frame that says so."""

    def __str__(self) -> str:
        return "pieces of 1 MiB, then one ModelStreamError frame, ModelInvocationTimeExceeded"

    def hold(self, answer: Exchange) -> None:
        assert (answer.status, answer.whole, answer.rest) == (200, True, b"")
        *events, last = answer.events()
        assert {len(event.payload) for event in events} <= {1024 * 1024}
        assert json.loads(last.payload)["ErrorCode"] == "ModelInvocationTimeExceeded"


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """One way in which an upstream misbehaves."""

    name: str
    promise: Promise
    script: Script
    kind: Kind = "endpoint"
    stream: bool = False
    brief: bool = False
    """Only the deadline can end it."""
    asked: int | None = 1
    """Requests that the upstream sees: 1 where one that may have run is not sent again. None: it depends."""
    plays: int = 1
    """How often the request is made, one after the other, each with the same promise."""
    kept: int = 0
    """Connections that may be kept: 1 where the answer came to its end, though not to a good one."""
    place: Place = "serves"
    certificate: str | None = None
    scheme: Literal["http", "https"] | None = None
    """How it is called, where that is not what it speaks."""
    host: str = "127.0.0.1"
    """Under which name it is called."""
    body: bytes = b'{"messages": []}'
    target: Mapping[str, Any] = field(default_factory=dict)
    """More keys of the target."""
    route: Mapping[str, Any] = field(default_factory=dict)
    """More keys of the endpoint."""

    @property
    def slug(self) -> str:
        """Its name as an endpoint's."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.name.lower())

    @property
    def within(self) -> float:
        """Seconds in which the answer has to be there."""
        return 1.0 + SLACK

    def target_of(self, port: int) -> dict[str, Any]:
        """Its target in a policy."""
        own: dict[Kind, dict[str, Any]] = {
            "endpoint": {"endpoint": "any", "region": "us-east-1"},
            "bedrock": {"model": "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghij01"},
            "vllm": {"model": "tiny"},
        }
        scheme = self.scheme or ("https" if self.certificate else "http")
        url = f"{scheme}://{self.host}:{port}"
        return {"kind": self.kind, "url": url, "speaks": "openai-chat", **own[self.kind], **self.target}

    def route_of(self) -> dict[str, Any]:
        """Its endpoint in a policy."""
        deadline = f"{int((BRIEF if self.brief else PATIENT) * 1000)}ms"
        shared = {"clients_speak": "openai-chat", "timeout": deadline, "stream_timeout": deadline}
        return {"serve_from": self.slug, **shared, **self.route}


def translated(fault: Fault) -> str:
    """The endpoint by which clients of another dialect meet the same fault."""
    return f"{fault.slug}-for-tgi"


def policy(faults: Mapping[Fault, int]) -> dict[str, Any]:
    """A policy with a target for each fault, whose upstream listens at that port, and an endpoint for either client."""
    tgi = {"clients_speak": "tgi", "translate": {"prompt_as": "user-message"}}
    return {
        "apiVersion": "pointsman/v1",
        "account": "123456789012",
        "targets": {fault.slug: fault.target_of(port) for fault, port in faults.items()},
        "endpoints": {fault.slug: fault.route_of() for fault in faults}
        | {translated(fault): {**fault.route_of(), **tgi} for fault in faults},
    }
