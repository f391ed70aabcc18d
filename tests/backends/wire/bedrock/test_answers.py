"""What imported models answer, whole and streamed, in each declared dialect."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Usage
from backends.errors import Said
from backends.wire.bedrock import EventWriter, engines_own, garbled, read_answer, read_usage
from backends.wire.eventstream import Frame
from policies.facts import FailureFacts, Fault

CHAT = {
    "id": "c1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}],
}
TEXT = {"id": "t1", "object": "text_completion", "choices": [{"index": 0, "text": "a", "finish_reason": "stop"}]}
GENERATION = {"generation": "a", "prompt_token_count": None, "generation_token_count": 1, "stop_reason": "stop"}
METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 3, "outputTokenCount": 5, "invocationLatency": 9}}
BROKEN = (FailureFacts(Fault.NETWORK, None), 502)


def chunk(document: object, *, raw: bytes | None = None) -> Frame:
    coded = base64.b64encode(json.dumps(document).encode() if raw is None else raw).decode()
    payload = json.dumps({"bytes": coded, "p": "abcdef"}).encode()
    return Frame({":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}, payload)


def written(writer: EventWriter, *documents: object) -> bytes:
    """The whole body that a stream becomes; fails on a failure."""
    pieces = [writer.feed(chunk(document)) for document in documents] + [writer.finish()]
    assert all(isinstance(piece, bytes) for piece in pieces), pieces
    return b"".join(piece for piece in pieces if isinstance(piece, bytes))


def events(body: bytes) -> list[str]:
    assert body == b"" or body.endswith(b"\n\n")
    return [event.removeprefix("data: ") for event in body.decode().split("\n\n")[:-1]]


@pytest.mark.parametrize(
    ("speaks", "document", "usage"),
    [
        ("openai-chat", {"choices": [{"message": {"content": "a"}}]}, None),
        (
            "openai-chat",
            {"choices": [{"message": {}}], "usage": {"prompt_tokens": 3, "completion_tokens": 5}},
            Usage(3, 5),
        ),
        ("openai-completions", {"choices": [{"text": "a"}], "usage": {"prompt_tokens": 3}}, None),
        (
            "bedrock-completion",
            {"generation": "a", "prompt_token_count": 3, "generation_token_count": 5},
            Usage(3, 5),
        ),
        ("opaque", {"anything": 1}, None),
    ],
)
def test_a_declared_dialect_is_recognised(speaks: str, document: object, usage: Usage | None) -> None:
    """A body of the declared dialect is accepted and its tokens are counted, when it counts both sorts."""
    assert read_answer(speaks, json.dumps(document).encode()) == (True, usage)


@pytest.mark.parametrize(
    ("speaks", "body"),
    [
        ("openai-chat", b"{}"),
        ("openai-chat", b'{"choices":[]}'),
        ("openai-chat", b'{"choices":{}}'),
        ("openai-chat", b'{"choices":["a"]}'),
        ("openai-chat", b'{"choices":[{"text":"a"}]}'),
        ("openai-chat", b'{"choices":[{"message":{}},{"text":"a"}]}'),
        ("openai-chat", b'{"generation":"a"}'),
        ("openai-chat", b'{"error":{"code":400}}'),
        ("openai-completions", b'{"choices":[{"message":{}}]}'),
        ("bedrock-completion", b'{"outputs":[{"text":"a"}]}'),
        ("opaque", b'["a"]'),
        ("opaque", b""),
        ("openai-chat", b"not ready"),
    ],
)
def test_anything_else_is_not(speaks: str, body: bytes) -> None:
    """Another dialect, an empty answer or no JSON is never taken for an answer."""
    assert read_answer(speaks, body) == (False, None)


TEXTS = st.text(max_size=20) | st.sampled_from(
    ['"choices":[{"index":0,"message":{', "}", '","choices":[{"index":0,"text":"']
)


@given(
    st.dictionaries(st.sampled_from(["id", "object", "model", "error", "choices", "usage"]), TEXTS, max_size=3),
    st.lists(
        st.sampled_from([{"message": {}}, {"text": "a"}, {"index": 0, "message": {"content": "}"}}, "a"]), max_size=1
    ),
    st.sampled_from(["openai-chat", "openai-completions", "bedrock-completion", "opaque"]),
    st.sampled_from([(",", ":"), (", ", ": ")]),
)
def test_what_looks_like_an_engines_answer_is_one(
    members: dict[str, str], choices: list[object], speaks: str, separators: tuple[str, str]
) -> None:
    """No document that reading would refuse is taken by its look, whatever its texts say."""
    body = json.dumps({**members, "choices": choices}, separators=separators).encode()
    assert not engines_own(speaks, body) or read_answer(speaks, body)[0]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize(
    ("speaks", "choice"), [("openai-chat", {"message": {"content": "a"}}), ("openai-completions", {"text": "a"})]
)
def test_an_engines_answer_is_known_by_its_look(
    speaks: str, choice: dict[str, object], separators: tuple[str, str]
) -> None:
    """However closely it is written; a half of one, or one of another dialect, is not."""
    document = {"id": "x" * 40, "object": "o", "created": 1, "model": "m" * 60, "choices": [{"index": 0, **choice}]}
    body = json.dumps(document, separators=separators).encode()
    assert engines_own(speaks, body)
    assert not engines_own(speaks, body[:-1])
    others = {"openai-chat", "openai-completions", "bedrock-completion", "opaque"} - {speaks}
    assert not any(engines_own(other, body) for other in others)


@pytest.mark.parametrize(
    ("headers", "usage"),
    [
        ({"x-amzn-bedrock-input-token-count": "3", "x-amzn-bedrock-output-token-count": "5"}, Usage(3, 5)),
        ({"x-amzn-bedrock-input-token-count": "3"}, None),
        ({"x-amzn-bedrock-input-token-count": "x", "x-amzn-bedrock-output-token-count": "5"}, None),
        ({}, None),
    ],
)
def test_tokens_may_stand_in_headers(headers: dict[str, str], usage: Usage | None) -> None:
    """Both counts or none: AWS does not promise these headers."""
    assert read_usage(headers.get) == usage


def test_a_chat_stream_becomes_server_sent_events() -> None:
    """Each object is one event; Bedrock's metrics are taken out and kept as usage; the end is marked."""
    writer = EventWriter("openai-chat", include_usage=False)
    last = {**CHAT, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    found = events(written(writer, CHAT, {**last, **METRICS}))
    assert [json.loads(event) for event in found[:-1]] == [CHAT, last]
    assert found[-1] == "[DONE]"
    assert writer.usage == Usage(3, 5)


def test_a_completions_stream_is_marked_at_its_end_too() -> None:
    """OpenAI's other dialect ends the same way."""
    assert events(written(EventWriter("openai-completions", include_usage=False), TEXT)) == [json.dumps(TEXT), "[DONE]"]


@pytest.mark.parametrize(("speaks", "document"), [("bedrock-completion", GENERATION), ("opaque", {"a": 1})])
def test_other_dialects_have_no_mark_at_the_end(speaks: str, document: object) -> None:
    """[DONE] is OpenAI's; a reader of another dialect would take it for broken JSON."""
    assert events(written(EventWriter(speaks, include_usage=False), document)) == [json.dumps(document)]


def test_metrics_alone_are_no_event() -> None:
    """An object that holds nothing but Bedrock's metrics is not sent, nor one that holds nothing."""
    writer = EventWriter("openai-chat", include_usage=False)
    assert len(events(written(writer, CHAT, METRICS, {}))) == 2
    assert writer.usage == Usage(3, 5)


def test_odd_metrics_are_taken_out_and_not_counted() -> None:
    """Whatever the key holds, clients never see it."""
    writer = EventWriter("openai-chat", include_usage=True)
    found = written(writer, {**CHAT, "amazon-bedrock-invocationMetrics": 7})
    assert b"amazon" not in found
    assert writer.usage is None
    assert events(found)[-1] == "[DONE]"


def test_other_bytes_stay_as_they_are() -> None:
    """An object that needs no change keeps its spacing, its escapes and its numbers."""
    raw = b'{ "choices":[ {"delta":{"content":"\\u00e9"},"x":1.0e2} ] }'
    assert EventWriter("openai-chat", include_usage=False).feed(chunk(None, raw=raw)) == b"data: " + raw + b"\n\n"


@pytest.mark.parametrize("newline", [b"\n", b"\r", b"\r\n"])
def test_a_line_break_inside_an_object_does_not_end_its_event(newline: bytes) -> None:
    """An object written over several lines is one event all the same."""
    raw = b'{"choices":' + newline + b'[{"delta":{"content":"a"}}]}'
    piece = EventWriter("openai-chat", include_usage=False).feed(chunk(None, raw=raw))
    assert piece == b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'


def test_usage_that_was_asked_for_is_made_from_the_counts() -> None:
    """`stream_options.include_usage` left the body, so its event is written here, as engines write it."""
    found = events(written(EventWriter("openai-chat", include_usage=True), {**CHAT, **METRICS}))
    assert json.loads(found[-2]) == {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    }
    assert found[-1] == "[DONE]"


def test_usage_that_the_model_told_is_not_told_twice() -> None:
    """A usage event of the model's own is passed on and is enough; its choices are empty."""
    usage = {**CHAT, "choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 6}}
    writer = EventWriter("openai-chat", include_usage=True)
    assert len(events(written(writer, CHAT, usage, METRICS))) == 3
    assert writer.usage == Usage(3, 5)


@pytest.mark.parametrize(
    "frame",
    [
        chunk("a string"),
        chunk([1]),
        chunk(None, raw=b"\xff"),
        chunk({"generation": "a"}),
        chunk({"choices": [{"text": "a"}]}),
        Frame({":event-type": "chunk", ":message-type": "event"}, b"{}"),
        Frame({":event-type": "chunk", ":message-type": "event"}, b'{"bytes":7}'),
        Frame({":event-type": "chunk", ":message-type": "event"}, b'{"bytes":"***"}'),
        Frame({":event-type": "chunk", ":message-type": "event"}, b"no json"),
    ],
)
def test_a_piece_of_another_form_is_a_failure(frame: Frame) -> None:
    """Neither skipped nor passed on: the client must not take it for an answer."""
    found = EventWriter("openai-chat", include_usage=False).feed(frame)
    assert isinstance(found, tuple)
    assert (found[0], found[1].status) == BROKEN


@pytest.mark.parametrize(
    ("speaks", "document"),
    [
        ("openai-chat", {"choices": [{"delta": {"content": "a"}, "finish_reason": None}]}),
        ("openai-completions", {"choices": [{"text": "a"}]}),
        ("bedrock-completion", {"generation": "a", "stop_reason": None}),
    ],
)
def test_a_stream_that_stops_before_the_model_did_is_a_failure(speaks: str, document: object) -> None:
    """A clean end of the connection is no end of the answer: half of one must not be marked as whole."""
    writer = EventWriter(speaks, include_usage=False)
    assert isinstance(writer.feed(chunk(document)), bytes)
    found = writer.finish()
    assert isinstance(found, tuple)
    assert (found[0], found[1].status) == BROKEN


def test_an_empty_stream_is_a_failure() -> None:
    """A stream without a single object was no answer."""
    found = EventWriter("openai-chat", include_usage=False).finish()
    assert isinstance(found, tuple)
    assert (found[0], found[1].status) == BROKEN


@pytest.mark.parametrize("headers", [{":message-type": "event", ":event-type": "other"}, {":message-type": "new"}, {}])
def test_unknown_frames_are_skipped(headers: dict[str, str]) -> None:
    """As the SDKs skip them."""
    assert EventWriter("openai-chat", include_usage=False).feed(Frame(headers, b"x")) == b""


def test_exceptions_in_a_stream_are_failures() -> None:
    """Both kinds of error frame end the stream with what they say."""
    frame = Frame({":message-type": "exception", ":exception-type": "modelTimeoutException"}, b'{"message":"m"}')
    assert EventWriter("openai-chat", include_usage=False).feed(frame) == (
        FailureFacts(Fault.MODEL, None, timed_out=True),
        Said(0, "m", "ModelTimeoutException"),
    )
    error = Frame({":message-type": "error", ":error-code": "InternalFailure", ":error-message": "m"}, b"")
    assert EventWriter("openai-chat", include_usage=False).feed(error) == (
        FailureFacts(Fault.PLATFORM, None),
        Said(500, "m", "InternalFailure"),
    )


@pytest.mark.parametrize("coded", ["e30", "?", "e30=\u00fc", 5, None])
def test_a_piece_that_is_not_base64_is_garbled(coded: object) -> None:
    """Bytes that are no letters of it included: they are the model's mistake, and none of ours."""
    frame = Frame({":message-type": "event", ":event-type": "chunk"}, json.dumps({"bytes": coded}).encode())
    assert EventWriter("opaque", include_usage=False).feed(frame) == garbled("a piece of a stream")


def test_a_garbled_answer_quotes_nothing() -> None:
    """The words for the client name the part, and hold no bytes of it."""
    assert garbled("a body") == (
        FailureFacts(Fault.NETWORK, None),
        Said(502, "The model answered with a body that is not of the form its clients expect."),
    )


@settings(max_examples=100)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=8))
def test_every_token_comes_out_once_and_in_order(tokens: list[str]) -> None:
    """Whatever characters tokens hold, one event carries one of them, and the order is the model's."""
    documents = [{"choices": [{"delta": {"content": token}}]} for token in tokens]
    documents[-1]["choices"][0]["finish_reason"] = "stop"  # type: ignore[assignment]
    found = events(written(EventWriter("openai-chat", include_usage=False), *documents))
    assert [json.loads(event)["choices"][0]["delta"]["content"] for event in found[:-1]] == tokens
