"""What answers say, in every dialect, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.comparison import Choice, Heard, Meaning, ToolCall, read_meaning
from backends.wire.comparison.meaning import SLICE, reading
from backends.wire.eventstream import payload_part
from tests.backends.wire.dialects.vectors import ALL, recorded

JSON = "application/json"
SSE = "text/event-stream"
LINES = "application/jsonlines"


def whole(document: Any) -> Heard:
    return Heard(content_type=JSON, body=json.dumps(document).encode())


def events(*documents: Any, kind: str = SSE) -> Heard:
    if kind == LINES:
        return Heard(content_type=kind, body=b"".join(json.dumps(one).encode() + b"\n" for one in documents))
    body = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in documents)
    return Heard(content_type=kind, body=body + b"data: [DONE]\n\n")


def chat(**message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def delta(**said: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": None}]}


@pytest.mark.parametrize("dialect", ["openai-chat", "openai-completions"])
def test_recorded_answers_of_vllm_are_read(dialect: str) -> None:
    """Every success recorded from vLLM is readable, and says why each of its choices ended."""
    answers = [one for one in recorded(dialect).values() if one.status == 200 and one.content_type]
    assert answers
    for one in answers:
        meaning = read_meaning(dialect, Heard(content_type=one.content_type, body=one.body))
        assert meaning.readable
        assert all(choice.finish for choice in meaning.choices)


@pytest.mark.parametrize(
    ("dialect", "document", "expected"),
    [
        (
            "openai-chat",
            {**chat(content="Hi"), "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
            Meaning((Choice("Hi", finish="stop"),), 3, 1),
        ),
        (
            "openai-completions",
            {"choices": [{"text": "Hi", "finish_reason": "length"}]},
            (Choice("Hi", "", (), "length"),),
        ),
        (
            "bedrock-completion",
            {"generation": "Hi", "stop_reason": "stop", "prompt_token_count": 4, "generation_token_count": 2},
            Meaning((Choice("Hi", finish="stop"),), 4, 2),
        ),
        (
            "tgi",
            [
                {
                    "generated_text": "Hi",
                    "details": {"finish_reason": "eos_token", "generated_tokens": 2, "prefill": [{}]},
                }
            ],
            Meaning((Choice("Hi", finish="eos_token"),), 1, 2),
        ),
        (
            "lmi",
            {"generated_text": "Hi", "details": {"finish_reason": "length", "generated_tokens": 2}},
            Meaning((Choice("Hi", finish="length"),), None, 2),
        ),
    ],
)
def test_whole_answers(dialect: str, document: Any, expected: Meaning | tuple[Choice, ...]) -> None:
    """Text, finish reason and counts are where each dialect has them."""
    found = read_meaning(dialect, whole(document))
    if isinstance(expected, tuple):
        assert found.choices == expected
        return
    assert (found.choices, found.prompt_tokens, found.completion_tokens, found.readable) == (
        expected.choices,
        expected.prompt_tokens,
        expected.completion_tokens,
        True,
    )


@pytest.mark.parametrize(
    ("dialect", "heard"),
    [
        (
            "openai-chat",
            events(
                delta(role="assistant", content=""),
                delta(content="Hi"),
                delta(content=" you"),
                {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
                {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
            ),
        ),
        (
            "openai-completions",
            events(
                {"choices": [{"index": 0, "text": "Hi"}]},
                {
                    "choices": [{"index": 0, "text": " you", "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
                },
            ),
        ),
        (
            "bedrock-completion",
            events(
                {"generation": "Hi", "prompt_token_count": 3},
                {"generation": " you", "stop_reason": "stop", "generation_token_count": 2},
            ),
        ),
        (
            "tgi",
            events(
                {"token": {"text": "Hi"}},
                {"token": {"text": " you"}},
                {
                    "token": {"text": "</s>", "special": True},
                    "generated_text": "Hi you",
                    "details": {"finish_reason": "stop", "generated_tokens": 2, "input_length": 3},
                },
            ),
        ),
        (
            "lmi",
            events(
                {"token": {"text": "Hi"}},
                {
                    "token": {"text": " you"},
                    "generated_text": "Hi you",
                    "details": {"finish_reason": "stop", "generated_tokens": 2, "prefill": [{}, {}, {}]},
                },
                kind=LINES,
            ),
        ),
    ],
)
def test_streams_are_put_together(dialect: str, heard: Heard) -> None:
    """Every dialect's stream says what its pieces say together."""
    found = read_meaning(dialect, heard)
    assert found.choices == (Choice("Hi you", finish="stop"),)
    assert (found.prompt_tokens, found.completion_tokens, found.readable) == (3, 2, True)


def test_frames_of_an_event_stream_are_opened() -> None:
    """A body that is still framed is read through its frames; a damaged one is not readable."""
    inner = events({"choices": [{"index": 0, "text": "Hi", "finish_reason": "stop"}]}).body
    body = payload_part(inner[:9]) + payload_part(inner[9:])
    kind = "application/vnd.amazon.eventstream"
    assert read_meaning("openai-completions", Heard(content_type=kind, body=body)).choices == (
        Choice("Hi", "", (), "stop"),
    )
    assert not read_meaning("openai-completions", Heard(content_type=kind, body=body[:20] + b"x" + body[21:])).readable
    lines = payload_part(b'{"token": {"text": "Hi"}}\n')
    assert read_meaning("lmi", Heard(content_type=kind, body=lines)).choices == (Choice("Hi"),)


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": "42", "reasoning_content": "six by seven"}, "42", "six by seven"),
        ({"content": "42", "reasoning": "six by seven"}, "42", "six by seven"),
        ({"content": "<think>six by seven</think>42"}, "42", "six by seven"),
        ({"content": "six by seven</think>42"}, "42", "six by seven"),
        ({"content": [{"type": "text", "text": "4"}, {"type": "text", "text": "2"}, "?"]}, "42", ""),
        ({"content": None, "refusal": "No."}, "No.", ""),
    ],
)
def test_the_final_answer_stands_apart_from_reasoning(message: dict[str, Any], text: str, reasoning: str) -> None:
    """However a server tells them, or leaves them in one text, reasoning is not the answer."""
    (choice,) = read_meaning("openai-chat", whole(chat(**message))).choices
    assert (choice.text, choice.reasoning) == (text, reasoning)


def test_tool_calls_are_put_together_and_parsed() -> None:
    """Pieces of a name and of arguments join by index; arguments that are no JSON stay text; the older form counts."""
    stream = events(
        delta(tool_calls=[{"index": 0, "function": {"name": "weather", "arguments": '{"ci'}}]),
        delta(tool_calls=[{"index": 1, "function": {"name": "time", "arguments": "now?"}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": 'ty": "Ulm"}'}}, "odd"]),
    )
    (choice,) = read_meaning("openai-chat", stream).choices
    assert choice.tools == (ToolCall("weather", {"city": "Ulm"}), ToolCall("time", "now?"))
    old = whole(chat(content=None, function_call={"name": "weather", "arguments": "{}"}))
    assert read_meaning("openai-chat", old).choices[0].tools == (ToolCall("weather", {}),)
    two = whole(chat(tool_calls=[{"function": {"name": "a"}}, {"function": {"name": "b"}}]))
    assert [call.name for call in read_meaning("openai-chat", two).choices[0].tools] == ["a", "b"]


def test_choices_are_ordered_by_their_index() -> None:
    """Several answers to one request are told apart, however they are interleaved."""
    one, other = {"index": 1, "text": "B"}, {"index": 0, "text": "A"}
    found = read_meaning("openai-completions", whole({"choices": [one, other]}))
    assert [choice.text for choice in found.choices] == ["A", "B"]


@pytest.mark.parametrize(
    ("dialect", "document"),
    [
        ("openai-chat", {"choices": "none"}),
        ("openai-chat", {"choices": ["odd"]}),
        ("openai-chat", {"error": {"message": "no"}}),
        ("openai-chat", []),
        ("openai-completions", {"choices": []}),
        ("bedrock-completion", {"text": "Hi"}),
        ("tgi", [{}, {}]),
        ("lmi", {"details": None}),
    ],
)
def test_what_is_not_of_the_dialect_is_not_readable(dialect: str, document: Any) -> None:
    """An answer of another form is told from one that is as declared."""
    assert not read_meaning(dialect, whole(document)).readable


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"data: x\n\n"])
@pytest.mark.parametrize("kind", [JSON, SSE, LINES, None])
def test_garbage_is_never_an_error(body: bytes, kind: str | None) -> None:
    """Bytes that are nothing are an unreadable answer."""
    assert not read_meaning("openai-chat", Heard(content_type=kind, body=body)).readable


@given(
    st.binary(max_size=200), st.sampled_from([*ALL, "opaque"]), st.sampled_from([JSON, SSE, LINES, "image/png", None])
)
def test_anything_can_be_read(body: bytes, dialect: str, kind: str | None) -> None:
    """No bytes, of whatever declared type, raise."""
    read_meaning(dialect, Heard(content_type=kind, body=body))


@pytest.mark.parametrize(
    ("heard", "text"),
    [
        (whole({"label": "cat", "scores": [0.5, None, True], "why": {"said": "whiskers"}}), "cat 0.5 True whiskers "),
        (Heard(content_type="text/csv", body=b"1,2\n"), "1,2\n"),
        (Heard(content_type=JSON, body=b'"just text"'), "just text "),
    ],
)
def test_opaque_bodies_have_their_texts_read(heard: Heard, text: str) -> None:
    """Of a body that nobody declared anything about, all values in order; of one that is no JSON, all of it."""
    assert read_meaning("opaque", heard).choices == (Choice(text),)


def test_shape_is_that_of_the_ends_of_a_stream() -> None:
    """The first and last documents show the structure; a thousand in between cost nothing."""
    first, last = {"choices": [], "first": 1}, {"choices": [], "last": 1}
    middle = [{"choices": [], "middle": 1}] * 50
    shape = read_meaning("openai-chat", events(first, *middle, last)).shape
    assert {(".first", "number"), (".last", "number")} <= shape


def test_a_long_stream_is_read_in_slices() -> None:
    """After so many documents whoever reads gets a turn for other things; what is read is the same."""
    long = events(*({"choices": [{"index": 0, "text": "a"}]} for _ in range(SLICE * 3)))
    assert len(list(reading("openai-completions", long))) >= 3
    assert read_meaning("openai-completions", long).choices == (Choice("a" * SLICE * 3),)


def test_one_bad_event_does_not_hide_the_others() -> None:
    """What can be read is; the answer is still not readable."""
    good = events({"choices": [{"index": 0, "text": "a"}]})
    found = read_meaning("openai-completions", Heard(content_type=SSE, body=b"data: {oops\n\n" + good.body))
    assert found.choices == (Choice("a"),)
    assert not found.readable


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_other_ends_of_lines_are_read(end: bytes) -> None:
    """Events end by any of the three ends of a line, and may have other fields and several lines of data."""
    body = b'event: x\ndata: {"choices": [{"index": 0,\ndata: "text": "a"}]}\n\n'.replace(b"\n", end)
    assert read_meaning("openai-completions", Heard(content_type=SSE, body=body)).choices == (Choice("a"),)
