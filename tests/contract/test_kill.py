"""A backend that dies, resets or falls silent at any step: the client has one answer, typed, within the deadline.

Every step of a request and of a stream, with each of the ways in which a connection ends, for each kind of hosting. The
upstream is scripted to the byte, and the answer is read to the byte, so that a second answer or half a frame shows.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import pytest

from backends.emulator.aws import BEDROCK, SAGEMAKER
from backends.emulator.frames import data_frame

from .raw import Exchange, exchange
from .scripted import Script, Upstream, Wire, running_upstream
from .serving import Proxy, running_proxy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]

Kind = Literal["endpoint", "bedrock", "vllm"]
End = Literal["close", "reset", "hang"]
Operation = Literal["invocations", "invocations-response-stream"]
KINDS: tuple[Kind, ...] = ("endpoint", "bedrock", "vllm")
ENDS: tuple[End, ...] = ("close", "reset", "hang")
UNARY: Operation = "invocations"
STREAM: Operation = "invocations-response-stream"

PATIENT = 20.0
"""Deadline, in seconds, of the routes on which the failure itself must end the request, long before."""
BRIEF = 1.2
"""Deadline of the routes on which only the deadline can end it."""
MARGIN = 9.0
"""Seconds past its deadline that an answer may take on a machine that is busy with other things."""

CHUNKS = [
    {
        "id": "c",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": finish_reason}],
    }
    for word, finish_reason in (("one", None), ("two", None), ("three", "stop"))
]
OBJECTS = [json.dumps(chunk).encode() for chunk in CHUNKS]
EVENTS = [b"data: " + each + b"\n\n" for each in OBJECTS]
"""What a client must see for each chunk, whatever the hosting."""
WHOLE = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "one two three"}}]}).encode()
PADDING = "x" * 500_000
"""Makes a request too long for one segment, so that it can be cut in the middle."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """How a kind of hosting frames a streamed answer."""

    head: bytes
    parts: tuple[bytes, ...]


SPOKEN: Mapping[Kind, Spoken] = {
    "endpoint": Spoken(
        b"Content-Type: application/vnd.amazon.eventstream\r\nX-Amzn-SageMaker-Content-Type: text/event-stream\r\n",
        tuple(data_frame(SAGEMAKER, event) for event in EVENTS),
    ),
    "bedrock": Spoken(
        b"Content-Type: application/vnd.amazon.eventstream\r\n", tuple(data_frame(BEDROCK, each) for each in OBJECTS)
    ),
    "vllm": Spoken(b"Content-Type: text/event-stream; charset=utf-8\r\n", tuple(EVENTS)),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """The proxy, with a scripted upstream of each kind and a route with a long and a short deadline to each."""

    proxy: Proxy
    upstreams: Mapping[Kind, Upstream]

    def ask(self, kind: Kind, operation: Operation, end: End) -> Exchange:
        """Send one request to the route whose deadline suits the way the upstream ends."""
        endpoint = f"{kind}-{'brief' if end == 'hang' else 'patient'}"
        body = json.dumps({"messages": [], "stream": operation == STREAM, "pad": PADDING}).encode()
        return exchange(
            self.proxy.port, f"/endpoints/{endpoint}/{operation}", body, {"Content-Type": "application/json"}
        )


def policy(urls: Mapping[str, str]) -> str:
    """Routes `KIND-patient` and `KIND-brief` for every kind, and `KIND-gone`, where nobody listens."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghij01"
    more = {
        "endpoint": {"endpoint": "any", "region": "us-east-1"},
        "bedrock": {"model": arn},
        "vllm": {"model": "tiny"},
    }
    targets, endpoints = {}, {}
    for name, url in urls.items():
        kind = name.partition("-")[0]
        targets[name] = {"kind": kind, "url": url, "speaks": "openai-chat", **more[kind]}
        shared = {"clients_speak": "openai-chat", "serve_from": name}
        for pace, seconds in (("patient", PATIENT), ("brief", BRIEF)):
            deadline = f"{int(seconds * 1000)}ms"
            endpoints[f"{name}-{pace}"] = shared | {"timeout": deadline, "stream_timeout": deadline}
    document = {"apiVersion": "pointsman/v1", "account": "123456789012", "targets": targets, "endpoints": endpoints}
    return json.dumps(document)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One proxy and three upstreams for the whole file."""
    with contextlib.ExitStack() as stack:
        upstreams = {kind: stack.enter_context(running_upstream()) for kind in KINDS}
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections to it are refused, and nobody else gets it
        urls = {str(kind): upstream.url for kind, upstream in upstreams.items()}
        urls |= {f"{kind}-gone": f"http://127.0.0.1:{closed.getsockname()[1]}" for kind in KINDS}
        yield Stage(stack.enter_context(running_proxy(tmp_path_factory.mktemp("kill"), policy(urls))), upstreams)


def finish(wire: Wire, end: End) -> None:
    """End the connection in one of the three ways."""
    match end:
        case "close":
            wire.close()
        case "reset":
            wire.reset()
        case "hang":
            wire.hang()


def stopping(step: Script, end: End) -> Script:
    """A script that goes as far as `step` and then ends the connection."""

    def script(wire: Wire) -> None:
        step(wire)
        finish(wire, end)

    return script


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def assert_in_time(answer: Exchange, end: End) -> None:
    """A broken connection is noticed when it breaks, silence when the deadline passes."""
    assert answer.seconds < (BRIEF + MARGIN if end == "hang" else PATIENT / 2)
    if end == "hang":
        assert answer.seconds >= BRIEF


def assert_model_error(answer: Exchange, original_status: int) -> None:
    """One whole answer: a 424 that no SDK sends again, with all that its typed exception needs."""
    assert (answer.status, answer.error) == (424, "ModelError")
    assert answer.whole
    assert answer.rest == b""
    assert answer.document["OriginalStatusCode"] == original_status
    assert set(answer.document) == {"Message", "OriginalStatusCode", "OriginalMessage", "LogStreamArn", "ErrorCode"}
    assert answer.headers["x-amzn-requestid"]


def before_the_request(wire: Wire) -> None:
    """Nothing was read."""


def inside_the_request_head(wire: Wire) -> None:
    wire.body(10)


def after_the_request_head(wire: Wire) -> None:
    wire.head()


def inside_the_request_body(wire: Wire) -> None:
    wire.head()
    wire.body(len(PADDING) // 2)


def after_the_request(wire: Wire) -> None:
    wire.request()


def inside_the_status_line(wire: Wire) -> None:
    wire.request()
    wire.send(b"HTTP/1.1 20")


def inside_the_answer_head(wire: Wire) -> None:
    wire.request()
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/js")


def after_the_answer_head(wire: Wire) -> None:
    wire.request()
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(WHOLE))


def inside_the_answer_body(wire: Wire) -> None:
    after_the_answer_head(wire)
    wire.send(WHOLE[: len(WHOLE) // 2])


UNANSWERED: tuple[Script, ...] = (
    inside_the_request_head,
    after_the_request_head,
    inside_the_request_body,
    after_the_request,
    inside_the_status_line,
    inside_the_answer_head,
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", [UNARY, STREAM])
def test_refused_connection_is_service_unavailable(stage: Stage, kind: Kind, operation: Operation) -> None:
    """Nobody listens, so the model surely has not run: 503, which SDKs send again."""
    body = json.dumps({"messages": [], "stream": operation == STREAM}).encode()
    answer = exchange(stage.proxy.port, f"/endpoints/{kind}-gone-patient/{operation}", body)
    assert (answer.status, answer.error, answer.rest) == (503, "ServiceUnavailable", b"")
    assert answer.document["Message"]
    assert answer.seconds < PATIENT / 2


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", [UNARY, STREAM])
def test_connection_that_ends_before_the_request_gives_one_typed_answer(
    stage: Stage, kind: Kind, operation: Operation, end: End
) -> None:
    """It depends on the moment whether any of the request had left: 503 when surely not, else 424, and never both."""
    stage.upstreams[kind].play(stopping(before_the_request, end))
    answer = stage.ask(kind, operation, end)
    if answer.status == 503 and end != "hang":
        assert (answer.error, answer.whole, answer.rest) == ("ServiceUnavailable", True, b"")
    else:
        assert_model_error(answer, 0 if end == "hang" else 502)
    assert_in_time(answer, end)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("step", [*UNANSWERED, after_the_answer_head, inside_the_answer_body])
@pytest.mark.parametrize("kind", KINDS)
def test_blocking_call_ends_in_one_model_error(stage: Stage, kind: Kind, step: Script, end: End) -> None:
    """Wherever the backend stops, the client has one 424, and the request, which may have run, is not sent again."""
    upstream = stage.upstreams[kind]
    upstream.play(stopping(step, end))
    answer = stage.ask(kind, UNARY, end)
    assert_model_error(answer, 0 if end == "hang" else 502)
    assert_in_time(answer, end)
    assert upstream.connections == 1


def stream_head(kind: Kind) -> bytes:
    """The head of a streamed answer."""
    return b"HTTP/1.1 200 OK\r\n" + SPOKEN[kind].head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [inside_the_request_body, after_the_request, inside_the_answer_head])
def test_stream_without_an_answer_ends_in_one_model_error(stage: Stage, kind: Kind, step: Script, end: End) -> None:
    """Until the first byte of the answer a stream fails as a blocking call does: an HTTP error, not a frame."""
    upstream = stage.upstreams[kind]
    upstream.play(stopping(step, end))
    answer = stage.ask(kind, STREAM, end)
    assert_model_error(answer, 0 if end == "hang" else 502)
    assert_in_time(answer, end)
    assert upstream.connections == 1


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_stream_that_has_only_a_head_ends_in_one_model_error(stage: Stage, kind: Kind, end: End) -> None:
    """The head of a stream is no answer yet: without a single part there is nothing to break off."""

    def script(wire: Wire) -> None:
        wire.request()
        wire.send(stream_head(kind))
        finish(wire, end)

    stage.upstreams[kind].play(script)
    answer = stage.ask(kind, STREAM, end)
    assert_model_error(answer, 0 if end == "hang" else 502)
    assert_in_time(answer, end)


def play_stream(stage: Stage, kind: Kind, end: End | Literal["proper end"], parts: tuple[bytes, ...]) -> Exchange:
    """The answer to a streaming call whose upstream sends `parts`, each as a chunk of HTTP, and then ends."""

    def script(wire: Wire) -> None:
        wire.request()
        wire.send(stream_head(kind) + b"".join(chunk(part) for part in parts))
        if end == "proper end":
            wire.send(b"0\r\n\r\n")
        else:
            finish(wire, end)

    stage.upstreams[kind].play(script)
    return stage.ask(kind, STREAM, "close" if end == "proper end" else end)


def assert_broken_off(answer: Exchange, end: End, parts: list[bytes]) -> None:
    """The whole parts, then one exception frame, and the HTTP answer itself comes to its proper end."""
    assert (answer.status, answer.whole, answer.rest) == (200, True, b"")
    *events, last = answer.events()
    assert [(event.kind, event.payload) for event in events] == [("PayloadPart", part) for part in parts]
    assert (last.headers[":message-type"], last.kind) == ("exception", "ModelStreamError")
    code = "ModelInvocationTimeExceeded" if end == "hang" else "StreamBroken"
    assert json.loads(last.payload)["ErrorCode"] == code
    assert_in_time(answer, end)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_stream_that_breaks_between_parts_says_so(stage: Stage, kind: Kind, end: End) -> None:
    """After two whole parts the client has both, and one frame that says that there should have been more."""
    answer = play_stream(stage, kind, end, SPOKEN[kind].parts[:2])
    assert_broken_off(answer, end, EVENTS[:2])


@pytest.mark.parametrize(
    ("end", "cut"), [*((end, cut) for end in ("close", "reset") for cut in (0.03, 0.3, 0.8, 0.99)), ("hang", 0.3)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_stream_that_breaks_inside_a_part_sends_nothing_of_it(stage: Stage, kind: Kind, end: End, cut: float) -> None:
    """The cuts fall into a frame's prelude, headers, payload and checksum; half a part would mislead every client."""
    first, second, third = SPOKEN[kind].parts
    answer = play_stream(stage, kind, end, (first, second, third[: int(len(third) * cut)]))
    assert_broken_off(answer, end, EVENTS[:2])


@pytest.mark.parametrize("cut", [0.03, 0.3, 0.8, 0.99])
@pytest.mark.parametrize("kind", KINDS)
def test_proper_end_inside_a_part_is_a_break(stage: Stage, kind: Kind, cut: float) -> None:
    """The HTTP body ends as it should and the part does not: botocore would take that for the end, without a word."""
    first, second, third = SPOKEN[kind].parts
    answer = play_stream(stage, kind, "proper end", (first, second, third[: int(len(third) * cut)]))
    assert_broken_off(answer, "close", EVENTS[:2])


@pytest.mark.parametrize("kind", ["endpoint", "vllm"])
def test_events_without_their_end_mark_are_a_break(stage: Stage, kind: Kind) -> None:
    """OpenAI's streams end with `data: [DONE]`; a body that ends before it was cut, whatever HTTP or frames say."""
    answer = play_stream(stage, kind, "proper end", SPOKEN[kind].parts)
    assert_broken_off(answer, "close", EVENTS)


def test_bedrocks_stream_ends_where_the_model_says_so(stage: Stage) -> None:
    """The other side of the coin: Bedrock has no end mark, so the model's last word is the end, and gets the mark."""
    answer = play_stream(stage, "bedrock", "proper end", SPOKEN["bedrock"].parts)
    whole = [("PayloadPart", event) for event in [*EVENTS, b"data: [DONE]\n\n"]]
    assert [(event.kind, event.payload) for event in answer.events()] == whole


@pytest.mark.parametrize("kind", ["endpoint", "bedrock"])
@pytest.mark.parametrize("where", ["prelude", "message"])
def test_wrong_checksum_ends_in_one_exception_frame(
    stage: Stage, kind: Kind, where: Literal["prelude", "message"]
) -> None:
    """A frame that fails its CRC is never passed on, however it may read."""
    service, content = (SAGEMAKER, EVENTS[1]) if kind == "endpoint" else (BEDROCK, OBJECTS[1])
    spoilt = data_frame(service, content, where)

    answer = play_stream(stage, kind, "proper end", (SPOKEN[kind].parts[0], spoilt))
    assert_broken_off(answer, "close", EVENTS[:1])
